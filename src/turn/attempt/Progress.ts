/**
 * How far one attempt of a turn has come, by its events, and what a refusal means at that point; the same over every
 * transport.
 */
import type { ResponseEvent } from "../../wire/ResponseEvent.ts"
import { memberTextIn } from "../../wire/ResponseEvent.ts"
import { isLifecycle } from "../../wire/Event.ts"
import type { UpstreamError } from "../../wire/UpstreamError.ts"
import { refusedWith, TurnError } from "../TurnError.ts"

/** The upstream's own words, as an HTTP client would have got them. */
export type Refusal = Pick<UpstreamError, "body" | "code" | "headers" | "status">

/** The upstream works on the response. */
const begins: ReadonlySet<string> = new Set(["response.created", "response.queued", "response.in_progress"])

/** With these nothing ran, whatever the status and the events before. */
const neverRan: ReadonlySet<string> = new Set(["previous_response_not_found", "websocket_connection_limit_reached"])

export class Progress {
  /** The answer itself has begun, so the model has run. */
  content = false
  #begun = false

  /** An event came that does not end the turn. */
  saw(type: string) {
    if (this.content) return
    if (!isLifecycle(type)) this.content = true
    else if (begins.has(type)) this.#begun = true
  }

  /** The turn's error for a refusal in the words of `event`. */
  refused(event: string, { body, code, headers, status }: Refusal): TurnError {
    const failed = this.#begun && status >= 500 && !(code !== undefined && neverRan.has(code))
    return new TurnError({
      reason: "upstream_error",
      // After content the model has run, whatever the upstream calls its error.
      delivery: this.content || failed ? "Accepted" : "Rejected",
      message: refusedWith(code),
      event,
      ...(code === undefined ? {} : { code }),
      answer: { status, headers, body },
    })
  }
}

/** Some upstreams fail the response where others refuse the request: our anchor is not the client's matter. */
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
