/**
 * An answer as a response of HTTP. A stream's body goes out raw: the platform reads it itself, with no fiber between.
 */
import { HttpServerResponse } from "effect/http"
import type { Answer } from "../answer/Answer.ts"

export const toHttp = ({ body, headers, status }: Answer): HttpServerResponse.HttpServerResponse =>
  typeof body === "string"
    ? HttpServerResponse.text(body, { status, headers, contentType: headers["content-type"] ?? "application/json" })
    : HttpServerResponse.raw(body, { status, headers })
