/**
 * What an operator may look at, for a proxy that has its port alone: the metrics, at `/metrics`.
 */
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Settings } from "../../config/Settings.ts"
import { ApiError } from "../ApiError.ts"
import * as OperatorAccess from "./OperatorAccess.ts"

const make = Effect.gen(function* () {
  const { metrics } = yield* Settings
  const mayLook = yield* OperatorAccess.make
  const context = yield* Effect.context<never>()

  const answer = Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    yield* mayLook(request)
    if (request.method !== "GET" && request.method !== "HEAD") return yield* onlyGet
    return HttpServerResponse.text(PrometheusMetrics.formatUnsafe(context), {
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      headers: { "cache-control": "no-store", "x-content-type-options": "nosniff" },
    })
  })

  return metrics === "on" ? HttpRouter.add("*", "/metrics", answer) : Layer.empty
})

/** Needs `Settings` and the server's address. */
export const layer = Layer.unwrap(make)

const onlyGet = new ApiError({
  status: 405,
  message: "Not allowed to use this method here; use GET.",
  type: "invalid_request_error",
  code: "method_not_allowed",
  param: null,
  headers: { allow: "GET" },
})
