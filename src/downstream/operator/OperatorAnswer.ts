/**
 * Answers those who may look, and asks for nothing but to be read.
 */
import { Effect } from "effect"
import type { HttpServerResponse } from "effect/http"
import { HttpServerRequest } from "effect/http"
import { ApiError } from "../ApiError.ts"
import type { OperatorAccess } from "./OperatorAccess.ts"

/** Nobody keeps what is shown, nor takes it for another kind of content. */
export const notKept = { "cache-control": "no-store", "x-content-type-options": "nosniff" }

export const toOperators = (
  may: OperatorAccess["mayLook"],
  answer: (
    request: HttpServerRequest.HttpServerRequest,
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError>,
) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    yield* may(request)
    if (request.method !== "GET" && request.method !== "HEAD") return yield* onlyGet
    return yield* answer(request)
  })

const onlyGet = new ApiError({
  status: 405,
  message: "Not allowed to use this method here; use GET.",
  type: "invalid_request_error",
  code: "method_not_allowed",
  param: null,
  headers: { allow: "GET" },
})
