/**
 * Writes errors as frames of a socket, in the envelope that every client of the API reads (docs/protocol.md 1.7).
 *
 * Each has an integer `status` and an `error` with texts for `type`, `code` and `message`, whatever the upstream left
 * out: some clients ignore one without a status and wait for ever. It names the lane of the turn that it ends.
 */
import type { TurnError } from "../../turn/TurnError.ts"
import { failureAnswer } from "../answer/TurnFailure.ts"
import type { ApiError } from "../ApiError.ts"
import type { Addressed } from "./ClientEvent.ts"

type Members = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const errorIn = (body: string): Members | undefined => {
  try {
    const value: unknown = JSON.parse(body)
    const error = isObject(value) ? value["error"] : undefined
    return isObject(error) ? error : undefined
  } catch {
    return undefined
  }
}

const typeFor = (status: number) =>
  status === 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error"

const isText = (value: unknown): value is string => typeof value === "string" && value !== ""

const frame = (
  status: number,
  error: Members,
  headers: Readonly<Record<string, string>>,
  { eventId, streamId }: Addressed,
): string => {
  const { code: _code, message: _message, type: _type, ...rest } = error
  const type = isText(error["type"]) ? error["type"] : typeFor(status)
  return JSON.stringify({
    type: "error",
    status,
    ...(streamId === undefined ? {} : { stream_id: streamId }),
    error: {
      type,
      code: isText(error["code"]) ? error["code"] : type,
      message: isText(error["message"]) ? error["message"] : `The upstream answered with status ${status}.`,
      param: null,
      ...rest,
      ...(eventId === undefined ? {} : { event_id: eventId }),
    },
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
  })
}

/** The frame for an error of respool's own. */
export const refusalFrame = (error: ApiError, to: Addressed): string =>
  frame(error.status, errorIn(error.body) ?? {}, error.headers ?? {}, to)

/** The frame for a turn that failed, and its status: the upstream's own error, where it gave one. */
export const failureFrame = (error: TurnError, to: Addressed): { readonly status: number; readonly text: string } => {
  const { body, headers, status: given } = failureAnswer(error, {})
  const { "content-type": _, ...passed } = headers
  const status = Math.max(400, given)
  return { status, text: frame(status, errorIn(typeof body === "string" ? body : "") ?? {}, passed, to) }
}
