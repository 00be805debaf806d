/**
 * Makes an HTTP response of an answer. Its body goes out raw: a stream so that the platform reads it without a fiber
 * between, a text so that its length is counted and its headers are copied once, by the platform.
 */
import { HttpServerResponse } from "effect/http"
import type { Answer } from "../answer/Answer.ts"

export const toHttp = ({ body, headers, status }: Answer): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.raw(body, { status, headers })
