/**
 * An error in the shape that the API gives its errors, which every client of the Responses API can read.
 *
 * It is an `HttpServerRespondable`, so a handler fails with it and the server answers it as
 * `{"error":{"message","type","code","param"}}` with its status and headers (docs/protocol.md 1.7).
 */
import { Effect, Schema } from "effect"
import { HttpServerRespondable, HttpServerResponse } from "effect/http"

/** As much of what was sent as an error repeats, in UTF-16 units: an answer must not grow with its request. */
const longest = 256

/** No message is longer, however it was put together. */
const longestMessage = 2048

/** A text as an error may repeat it. */
export const shortened = (text: string, atMost = longest): string =>
  text.length <= atMost ? text : `${text.slice(0, atMost)}…`.toWellFormed()

export class ApiError extends Schema.TaggedError<ApiError>()("ApiError", {
  status: Schema.Number,
  message: Schema.String,
  type: Schema.String,
  code: Schema.NullOr(Schema.String),
  param: Schema.NullOr(Schema.String),
  headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
}) {
  /** The error as the JSON text of the body, bounded whatever it repeats. */
  get body(): string {
    const { type, code } = this
    const message = shortened(this.message, longestMessage)
    const param = this.param === null ? null : shortened(this.param)
    return JSON.stringify({ error: { message, type, code, param } })
  }

  [HttpServerRespondable.symbol]() {
    return Effect.succeed(
      HttpServerResponse.text(this.body, {
        status: this.status,
        contentType: "application/json",
        ...(this.headers === undefined ? {} : { headers: this.headers }),
      }),
    )
  }

  /** 400 `invalid_request_error`: the request can't be carried as it is. */
  static readonly badRequest = (code: string, message: string, param: string | null = null) =>
    new ApiError({ status: 400, message, type: "invalid_request_error", code, param })

  /** 404 in the API's words for an id that does not exist, so that another tenant's id and no id look alike. */
  static readonly notFound = (code: string, message: string, param: string | null = null) =>
    new ApiError({ status: 404, message, type: "invalid_request_error", code, param })

  static readonly unauthorized = (code: string, message: string) =>
    new ApiError({ status: 401, message, type: "invalid_request_error", code, param: null })

  static readonly tooLarge = (message: string) =>
    new ApiError({ status: 413, message, type: "invalid_request_error", code: "request_too_large", param: null })

  /** 503: the proxy can't serve the request now, and the client may try again later. */
  static readonly unavailable = (code: string, message: string, retryAfterSeconds: number) =>
    new ApiError({
      status: 503,
      message,
      type: "server_error",
      code,
      param: null,
      headers: { "retry-after": String(retryAfterSeconds) },
    })
}
