/**
 * Notes by its events how far one attempt of a turn has come, and says what a refusal means at that point.
 *
 * The rules are the same over every transport.
 */
import type { ResponseEvent } from "../../wire/ResponseEvent.ts"
import { memberTextIn } from "../../wire/ResponseEvent.ts"
import { isLifecycle } from "../../wire/Event.ts"
import type { UpstreamError } from "../../wire/UpstreamError.ts"
import { refusedWith, TurnError } from "../TurnError.ts"

/** The upstream's refusal as an HTTP client would have got it. */
export type Refusal = Pick<UpstreamError, "body" | "code" | "headers" | "status">

/** Events after which the upstream works on the response. */
const begins: ReadonlySet<string> = new Set(["response.created", "response.queued", "response.in_progress"])

/** Codes of errors that say that the model has not run, even where their status or earlier events say otherwise. */
const neverRan: ReadonlySet<string> = new Set(["previous_response_not_found", "websocket_connection_limit_reached"])

export class Progress {
  /** True: the answer has begun, so the model has run. */
  content = false
  #begun = false

  /** Notes an event that does not end the turn. */
  saw(type: string) {
    if (this.content) return
    if (!isLifecycle(type)) this.content = true
    else if (begins.has(type)) this.#begun = true
  }

  /** The turn's error for a refusal that came as `event`. */
  refused(event: string, { body, code, headers, status }: Refusal): TurnError {
    const failed = this.#begun && status >= 500 && !(code !== undefined && neverRan.has(code))
    return new TurnError({
      reason: "upstream_error",
      // After content the model has run, even where the upstream calls its error a refusal.
      delivery: this.content || failed ? "Accepted" : "Rejected",
      message: refusedWith(code),
      event,
      ...(code === undefined ? {} : { code }),
      answer: { status, headers, body },
    })
  }
}

/**
 * The refusal of a `previous_response_id` in a failed response; undefined: it failed for another reason. Some upstreams
 * fail the response where others refuse the request, and the client must not see that respool's id was lost.
 */
export const lostAnchorOf = (event: ResponseEvent): Refusal | undefined => {
  const error = memberTextIn(event, "error")
  if (error === undefined || !error.includes("previous_response_not_found")) return undefined
  return {
    status: 400,
    code: "previous_response_not_found",
    headers: {},
    body: `{"error":${error}}`,
  }
}
