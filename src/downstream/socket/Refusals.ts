/**
 * What a client's wish for a socket, or a message on one, is refused with, in the API's words where it has some.
 */
import { Effect } from "effect"
import { ApiError } from "../ApiError.ts"

export const tooMany = ApiError.unavailable("server_overloaded", "The server has as many sockets as it can take.", 1)

export const tooManyOfScope = ApiError.unavailable(
  "server_overloaded",
  "The caller has as many sockets as it may have.",
  1,
)

export const idle = ApiError.unavailable("idle", "The connection was idle for too long.", 1)

export const revoked = ApiError.unauthorized("invalid_api_key", "Incorrect API key provided.")

/** Status 426 makes clients that try a WebSocket first go on over HTTP at once (docs/protocol.md 3.7). */
export const noUpgrade = new ApiError({
  status: 426,
  message: "respool does not take WebSockets from clients here: send the request over HTTP.",
  type: "invalid_request_error",
  code: "websocket_not_supported",
  param: null,
})

export const badUpgrade = new ApiError({
  status: 400,
  message: "The upgrade to a WebSocket needs 'Sec-WebSocket-Version: 13' and a 'Sec-WebSocket-Key'.",
  type: "invalid_request_error",
  code: "invalid_upgrade",
  param: null,
  headers: { "sec-websocket-version": "13" },
})

export const notText = ApiError.badRequest("invalid_type", "Binary messages are not supported.")

/** For the log: the client is told by close code 1009. */
export const messageTooLarge = ApiError.tooLarge("The message is over RESPOOL_MAX_CLIENT_MESSAGE.")

export const tooManyLanes = ApiError.badRequest(
  "websocket_stream_limit_reached",
  "This connection has reached the maximum number of distinct stream IDs (32). Reuse a stream ID or open a new connection.",
  "stream_id",
)

export const tooManyWait = ApiError.unavailable("server_overloaded", "As many requests wait on this lane as can.", 1)

export const serverStops = ApiError.unavailable("server_shutdown", "The server is shutting down.", 1)

export const notFound = (id: string) =>
  ApiError.badRequest(
    "previous_response_not_found",
    `Previous response with id '${id}' not found.`,
    "previous_response_id",
  )

/** The line of a message on a client's socket that became no turn. */
export const refusedMessage = (fields: {
  readonly scope: string | undefined
  readonly client: string | undefined
  readonly status: number
  readonly code: string | null
}) => {
  const said = fields.status >= 500 ? Effect.logWarning("request") : Effect.logInfo("request")
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))
  return Effect.annotateLogs(said, { ...given, method: "response.create" })
}
