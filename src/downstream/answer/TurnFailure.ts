/**
 * Puts a `TurnError` into the words of the API: an answer with its status before the head has left, an in-stream `error` event after.
 *
 * What the upstream itself answered goes to the client as it is. A failure that may have run upstream says
 * `x-should-retry: false`, which the OpenAI SDKs obey, so that no client doubles a turn (docs/protocol.md 4).
 */
import type { TurnError } from "../../turn/TurnError.ts"
import { eventType, textAt, toSse } from "../../wire/Event.ts"
import { ApiError } from "../ApiError.ts"
import type { Answer } from "./Answer.ts"

const statuses: Partial<Record<TurnError["reason"], number>> = {
  pool_full: 503,
  session_busy: 503,
  dial_backoff: 503,
  shutdown: 503,
  no_scope: 503,
  credential_unavailable: 503,
  message_too_big: 413,
  internal: 500,
  dial_timeout: 504,
  first_event_timeout: 504,
  event_timeout: 504,
  turn_timeout: 504,
}

const mayHaveRun = (error: TurnError) => error.delivery === "Ambiguous" || error.delivery === "Accepted"

/** An answer's own framing, its hop's headers and the upgrade's are not those of the answer that is made of it. */
const ofMessage =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|sec-websocket-.*|content-(length|encoding|type)|set-cookie)$/

const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

const headerName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

/** Of an upstream's refusal, whose headers may come from an event's JSON and so be anything. */
const passing = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).filter(
      ([name, value]) => headerName.test(name) && !ofMessage.test(name) && headerValue.test(value),
    ),
  )

/**
 * The answer, while nothing has been sent to the client. `headers` are the turn's; what is said here of another try
 * wins over them. `reads`: the request only read something, so it may be repeated whatever became of it.
 */
export const failureAnswer = (error: TurnError, headers: Readonly<Record<string, string>>, reads = false): Answer => {
  const retry: Record<string, string> = mayHaveRun(error) && !reads ? { "x-should-retry": "false" } : {}
  const ours = passing(headers)
  if (error.answer !== undefined) {
    const { body } = error.answer
    // What is no status of an answer can't be passed on as one.
    const status = error.answer.status >= 200 && error.answer.status <= 599 ? error.answer.status : 502
    const type = error.answer.headers["content-type"] ?? ""
    const contentType = headerValue.test(type) && type !== "" ? type : "application/json"
    return {
      status,
      headers: { ...passing(error.answer.headers), ...ours, ...retry, "content-type": contentType },
      body,
    }
  }
  const status = statuses[error.reason] ?? 502
  if (status === 503) retry["retry-after"] = "1"
  const { body } = apiError(error, status)
  return { status, headers: { ...ours, ...retry, "content-type": "application/json" }, body }
}

/**
 * The in-stream event, once the client reads a stream. `sequence` is the number that follows the last event's.
 *
 * What the upstream answered without an event of its own becomes the envelope of the socket, which says its status and
 * headers as well (docs/protocol.md 1.7).
 */
export const failureEvent = ({ answer, event, message, reason }: TurnError, sequence: number): string => {
  // A failed response may have been told as a refusal, and is shown as what it is.
  if (event !== undefined) return toSse(eventType(event) ?? "error", event)
  const error = answer === undefined ? undefined : textAt(answer.body, ["error"])
  if (answer !== undefined && error?.startsWith("{") === true) {
    const headers = JSON.stringify(passing(answer.headers))
    const envelope = `{"type":"error","status":${answer.status},"error":${error},"headers":${headers},"sequence_number":${sequence}}`
    return toSse("error", envelope)
  }
  const said = { code: reason, message, param: null, sequence_number: sequence }
  return toSse("error", JSON.stringify({ type: "error", ...said }))
}

const apiError = ({ message, reason }: TurnError, status: number) =>
  new ApiError({
    status,
    message: `respool: ${message}`,
    type: status === 413 ? "invalid_request_error" : "server_error",
    code: reason,
    param: null,
  })
