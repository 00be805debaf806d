/**
 * Puts events that the public API does not know among those of a turn; they have no sequence number, and do not change
 * those of the others.
 *
 * Source: docs/protocol.md 2.1. It is not documented which of them come over HTTP; here those do that do not concern a
 * socket.
 */
import type { Transport } from "../request/CreateRequest.ts"
import type { Step } from "../Faults.ts"

export const modelsEtag = 'W/"models-1"'

const extra = (event: string, fields: object): Step => ({
  _tag: "Extra",
  frame: { event, data: JSON.stringify({ type: event, ...fields }), token: false },
})

const keepalive = extra("keepalive", {})
const rateLimits = extra("codex.rate_limits", {
  plan_type: "pro",
  rate_limits: {
    allowed: true,
    limit_reached: false,
    primary: { used_percent: 4, window_minutes: 300, reset_after_seconds: 9000 },
    secondary: null,
  },
})
const timing = extra("responsesapi.websocket_timing", { timing_metrics: { engine_service_total_ms: 12 } })
const metadata = (model: string, turnState: string | undefined): Step =>
  extra("response.metadata", {
    headers: { "x-codex-turn-state": turnState, "x-models-etag": modelsEtag, "openai-model": model },
  })

/** The steps of a turn with the extra events, none after the terminal frame. */
export const withExtraEvents = (
  steps: ReadonlyArray<Step>,
  transport: Transport,
  model: string,
  turnState: string | undefined,
): ReadonlyArray<Step> => {
  const socket = transport === "websocket"
  let sent = 0
  return steps.flatMap((step) => {
    if (step._tag === "End") return socket ? [timing, step] : [step]
    if (step._tag !== "Send") return [step]
    sent++
    if (sent === 1) return socket ? [rateLimits, step, metadata(model, turnState)] : [step, rateLimits]
    return sent === 2 ? [step, keepalive] : [step]
  })
}
