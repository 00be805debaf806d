/**
 * The socket first, HTTP when nothing was delivered: with every WebSocket broken this is still a correct HTTP proxy.
 *
 * A turn goes over HTTP at once when it can't go over the socket, and after the socket only when its failure says
 * `NotSent`; 401, 403 and 429 on the upgrade are the client's answer, not a reason to ask again. An upstream that has no
 * WebSocket is remembered as such for a while (design.md 3.8).
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { Settings } from "../Settings.ts"
import type { TurnExecutor, TurnRequest, TurnSink } from "../turn/Executor.ts"
import { Executor, withReason } from "../turn/Executor.ts"
import type { TurnError } from "../turn/TurnError.ts"
import { readMember } from "../wire/RequestBody.ts"
import { HttpExecutor } from "./HttpExecutor.ts"
import { WebSocketExecutor } from "./WebSocketExecutor.ts"

export class FallbackExecutor extends Context.Service<FallbackExecutor, TurnExecutor>()(
  "respool/upstream/FallbackExecutor",
) {
  static readonly layerNoDeps = Layer.effect(
    FallbackExecutor,
    Effect.suspend(() => make),
  )

  /** The executor that the handlers call. */
  static readonly layerExecutor = Layer.effect(Executor, FallbackExecutor)
}

const httpOnlyFor = Duration.toMillis("5 minutes")

/** Answers to an upgrade that mean: there is no WebSocket here. */
const noSocket = new Set([404, 405, 426, 501])

/** Answers to an upgrade that the client would have got over HTTP as well. */
const clientsAnswer = new Set([401, 403, 429])

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const socket = yield* WebSocketExecutor
  const http = yield* HttpExecutor
  const clock = yield* Clock.Clock
  let httpOnlyUntil = 0

  const overHttp = (turn: TurnRequest, sink: TurnSink, reason: string) => http.execute(turn, withReason(sink, reason))

  /** Why this turn can't go over the socket at all. */
  const unfit = (turn: TurnRequest): string | undefined => {
    if (settings.transport === "http") return "transport_http"
    if (turn.scope === undefined) return "no_scope"
    const background = readMember(turn.body, "background")
    if (background === true) return "background"
    // Not booleans: the upstream must judge them, and on the socket both members are ours.
    const stream = readMember(turn.body, "stream")
    if (!isFlag(background) || !isFlag(stream)) return "unusual_member"
    if (settings.transport === "auto" && clock.currentTimeMillisUnsafe() < httpOnlyUntil) return "upstream_http_only"
    return undefined
  }

  const afterSocket = (turn: TurnRequest, sink: TurnSink, error: TurnError) => {
    const status = error.answer?.status
    if (error.delivery !== "NotSent" || (status !== undefined && clientsAnswer.has(status))) return Effect.fail(error)
    if (error.reason === "shutdown" || settings.transport === "websocket") return Effect.fail(error)
    if (status !== undefined && noSocket.has(status)) httpOnlyUntil = clock.currentTimeMillisUnsafe() + httpOnlyFor
    return overHttp(turn, sink, error.reason)
  }

  const execute = Effect.fn("FallbackExecutor.execute")((turn: TurnRequest, sink: TurnSink) => {
    const reason = unfit(turn)
    if (reason !== undefined) return overHttp(turn, sink, reason)
    return socket.execute(turn, sink).pipe(Effect.catchTag("TurnError", (error) => afterSocket(turn, sink, error)))
  })

  return FallbackExecutor.of({ execute })
})

const isFlag = (value: unknown) => value === undefined || value === null || typeof value === "boolean"
