/**
 * Reads an upstream's `error` event as the HTTP answer that it stands for: status, headers and body.
 *
 * Two forms are legal: an envelope with a nested `error`, and the flat event of SSE (docs/protocol.md 1.7).
 */
import { eventType, textAt } from "./Event.ts"

export interface UpstreamError {
  /**
   * The status that the event names (400 to 599), or one by its code: rate limit 429, credential 401, invalid request
   * 400, server error 500, any other 502.
   */
  readonly status: number
  readonly type: string | undefined
  readonly code: string | undefined
  readonly message: string
  readonly param: string | undefined
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The event says everything at its top, as over SSE: it has neither a nested `error` nor a status. */
  readonly isFlat: boolean
  /** `{"error":{…}}`; a nested error is kept as the upstream wrote it. */
  readonly body: string
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const stringOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const isStatus = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 400 && value <= 599

const statusOf = (code: string | undefined, type: string | undefined): number => {
  for (const word of [code, type]) {
    if (word === undefined) continue
    if (/rate_limit|usage_limit|insufficient_quota|too_many_requests/.test(word)) return 429
    if (/^(invalid_api_key|authentication_error)$/.test(word)) return 401
    if (/^(server_error|internal_error|internal_server_error)$/.test(word)) return 500
    if (
      /^invalid_|image|policy|^previous_response_not_found$|^context_length_exceeded$|^websocket_.*_limit_reached$/.test(
        word,
      )
    )
      return 400
  }
  return 502
}

const headersOf = (...maps: ReadonlyArray<unknown>): Record<string, string> => {
  const headers: Record<string, string> = {}
  for (const map of maps) {
    if (!isRecord(map)) continue
    for (const [name, value] of Object.entries(map)) {
      if (typeof value === "string" || typeof value === "number") headers[name.toLowerCase()] = String(value)
    }
  }
  return headers
}

/** What an `error` event says; undefined for any other text. */
export const errorOf = (frame: string): UpstreamError | undefined => {
  if (eventType(frame) !== "error") return undefined
  let event: unknown
  try {
    event = JSON.parse(frame)
  } catch {
    return undefined
  }
  if (!isRecord(event) || event["type"] !== "error") return undefined
  const nested = isRecord(event["error"]) ? event["error"] : undefined
  const detail = nested ?? event
  const type = nested === undefined ? undefined : stringOf(nested["type"])
  const code = stringOf(detail["code"])
  const param = stringOf(detail["param"])
  const message =
    stringOf(detail["message"]) ??
    stringOf(event["error"]) ??
    stringOf(detail["detail"]) ??
    "The upstream reported an error without a message"
  // Some gateways put the status where others have the code, as a number.
  const numbers = [event["status"], event["status_code"], nested?.["status"], nested?.["code"]]
  const status = numbers.find(isStatus) ?? statusOf(code, type)
  const raw = nested === undefined ? undefined : textAt(frame, ["error"])
  const fallbackType = status === 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error"
  return {
    status,
    type,
    code,
    message,
    param,
    isFlat: nested === undefined && ![event["status"], event["status_code"]].some(isStatus),
    headers: headersOf(nested?.["headers"], event["headers"]),
    body: `{"error":${raw ?? JSON.stringify({ message, type: fallbackType, code: code ?? null, param: param ?? null })}}`,
  }
}

/**
 * The `error` event that an object without a type stands for: one with an `error` that is no response, or any object
 * that the stream itself called an error (`named`). Undefined: it stands for none. `value` is what the text parses to.
 */
export const errorFrameOf = (text: string, value: unknown, named: boolean): string | undefined => {
  if (!isRecord(value)) return undefined
  const error = value["error"] ?? undefined
  if (error === undefined) return named ? JSON.stringify({ ...value, type: "error" }) : undefined
  if (isResponse(value)) return undefined
  const status = [value["status"], value["status_code"], value["code"]].find(isStatus)
  const raw = isRecord(error) ? textAt(text, ["error"]) : JSON.stringify({ message: wordsOf(value, error) })
  return `{"type":"error",${status === undefined ? "" : `"status":${status},`}"error":${raw}}`
}

/** A response has an `error` as well, null or what made it fail. */
const isResponse = (value: Readonly<Record<string, unknown>>) =>
  value["object"] === "response" || (Array.isArray(value["output"]) && typeof value["status"] === "string")

/** An error that is a text is its message, unless there is another one: then it is a kind. */
const wordsOf = (value: Readonly<Record<string, unknown>>, error: unknown): string =>
  stringOf(value["message"]) ?? stringOf(value["detail"]) ?? (typeof error === "string" ? error : JSON.stringify(error))
