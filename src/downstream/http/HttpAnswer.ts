/**
 * Makes an HTTP response of an answer. A stream goes out raw, so that the platform reads it without a fiber between.
 */
import { HttpServerResponse } from "effect/http"
import type { Answer } from "../answer/Answer.ts"

export const toHttp = ({ body, headers, status }: Answer): HttpServerResponse.HttpServerResponse =>
  typeof body === "string"
    ? HttpServerResponse.text(body, { status, headers, contentType: headers["content-type"] ?? "application/json" })
    : HttpServerResponse.raw(body, { status, headers })
