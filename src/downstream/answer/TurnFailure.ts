/**
 * Tells a client of a `TurnError` in the API's words: by an answer with its status before the head has left, and by an
 * `error` event in the stream afterwards.
 *
 * An answer of the upstream goes to the client as it is. Where the turn may have run upstream, the answer says
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
  credential_missing: 401,
  message_too_big: 413,
  anchor_lost: 400,
  internal: 500,
  dial_timeout: 504,
  first_event_timeout: 504,
  event_timeout: 504,
  turn_timeout: 504,
}

const mayHaveRun = (error: TurnError) => error.delivery === "Ambiguous" || error.delivery === "Accepted"

/** Headers of an upstream's answer that hold for that message or connection only, and are not passed on. */
const ofMessage =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|sec-websocket-.*|content-(length|encoding|type)|set-cookie)$/

const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

const headerName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

/** The headers of a refusal that may be passed on. They may come from an event's JSON, and so be no valid headers. */
const passing = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).filter(
      ([name, value]) => headerName.test(name) && !ofMessage.test(name) && headerValue.test(value),
    ),
  )

/**
 * The answer, while nothing has been sent to the client. `headers` are the turn's; the headers that are set here about
 * a retry replace them. `reads`: the request only read something, so a client may always repeat it.
 */
export const failureAnswer = (error: TurnError, headers: Readonly<Record<string, string>>, reads = false): Answer => {
  const retry: Record<string, string> = mayHaveRun(error) && !reads ? { "x-should-retry": "false" } : {}
  const ofTurn = passing(headers)
  if (error.answer !== undefined) {
    const { body } = error.answer
    // The upstream's number may not be a status that an HTTP answer can have.
    const status = error.answer.status >= 200 && error.answer.status <= 599 ? error.answer.status : 502
    const type = error.answer.headers["content-type"] ?? ""
    const contentType = headerValue.test(type) && type !== "" ? type : "application/json"
    return {
      status,
      headers: { ...passing(error.answer.headers), ...ofTurn, ...retry, "content-type": contentType },
      body,
    }
  }
  const status = statuses[error.reason] ?? 502
  if (status === 503) retry["retry-after"] = "1"
  const { body } = apiError(error, status)
  return { status, headers: { ...ofTurn, ...retry, "content-type": "application/json" }, body }
}

/**
 * The `error` event, once the client reads a stream. `sequence` is the number that follows that of the last event.
 *
 * A refusal that did not come as an event becomes the envelope that the upstream's sockets use, which holds the status
 * and the headers as well (docs/protocol.md 1.7).
 */
export const failureEvent = ({ answer, event, message, reason }: TurnError, sequence: number): string => {
  // The event may be a `response.failed` that was treated as a refusal, so it keeps its type.
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
    type: status < 500 ? "invalid_request_error" : "server_error",
    code: reason,
    param: null,
  })
