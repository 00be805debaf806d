/**
 * The API as clients see it: the turn's route, everything else passed through, and errors in the API's shape.
 *
 * `layerNoDeps` adds the routes to any `HttpRouter`, so an app may serve them beside others. `layerNotFound` answers
 * requests that no route fits in the API's shape too.
 */
import { Clock, Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Settings } from "../../config/Settings.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import { Answers } from "../answer/Answers.ts"
import { ApiError } from "../ApiError.ts"
import { AuthScope } from "../auth/AuthScope.ts"
import { Intake } from "../Intake.ts"
import type { Place } from "./Admission.ts"
import { Admission } from "./Admission.ts"
import { answerEnds } from "./BunServer.ts"
import { toHttp } from "./HttpAnswer.ts"
import { PassThrough } from "./PassThrough.ts"
import { readRequestBytes } from "./RequestBytes.ts"

type Request = HttpServerRequest.HttpServerRequest

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const auth = yield* AuthScope
  const intake = yield* Intake
  const answers = yield* Answers
  const passThrough = yield* PassThrough
  const admission = yield* Admission
  const deadlines = yield* Deadlines.make

  const callerOf = Effect.fnUntraced(function* (request: Request) {
    const caller = yield* auth.resolve(request.headers)
    // Without a scope no id can be checked, so the request must not reach the shared account.
    if (caller.tenant && caller.scope === undefined) return yield* unknownTenant
    return caller
  })

  const turn = Effect.fnUntraced(function* (request: Request, { holds, release }: Place) {
    const { headers, url } = request
    const startedAt = yield* Clock.currentTimeMillis
    const caller = yield* callerOf(request)
    const bytes = yield* readRequestBytes(request, { maxBytes: settings.maxBody, holds, deadlines })
    const query = /\?.*$/.exec(url)?.[0] ?? ""
    const asked = yield* intake.read({ caller, headers, query, bytes, startedAt })
    return toHttp(yield* answers.answer(asked, { ended: () => answerEnds(request), released: release }))
  })

  // Once there is an answer the turn may go on; it gives up the place when it ends.
  const postTurn = (request: Request) =>
    Effect.acquireUseRelease(
      admission.enter,
      (place) => turn(request, place),
      ({ release }, exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.sync(release)),
    )

  const responses = (request: Request) => {
    if (request.method === "POST") return postTurn(request)
    return Effect.fail(asksForWebSocket(request) ? upgradeRequired : wrongMethod("POST"))
  }

  // Neither probe asks an upstream: where one is down, turns fail one by one, and a restart would not help. While the
  // server starts or drains, the listener answers every request with 503.
  const probe = (status: string) => (request: Request) =>
    request.method === "GET" || request.method === "HEAD"
      ? Effect.succeed(HttpServerResponse.text(`{"status":"${status}"}`, { contentType: "application/json" }))
      : Effect.fail(wrongMethod("GET"))

  const forwarded = (request: Request) => {
    if (asksForWebSocket(request)) return Effect.fail(upgradeRequired)
    if (!forwardable.has(request.method)) return Effect.fail(wrongMethod([...forwardable].join(", ")))
    return Effect.flatMap(callerOf(request), (caller) => passThrough.forward(request, caller))
  }

  const served = <E>(handler: (request: Request) => Effect.Effect<HttpServerResponse.HttpServerResponse, E>) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, handler)

  return Layer.mergeAll(
    HttpRouter.add("*", "/healthz", served(probe("ok"))),
    HttpRouter.add("*", "/readyz", served(probe("ready"))),
    HttpRouter.add("*", "/v1/responses", served(responses)),
    HttpRouter.add("*", "/responses", served(responses)),
    HttpRouter.add("*", "/v1/*", served(forwarded)),
    HttpRouter.add("*", "/responses/compact", served(forwarded)),
    HttpRouter.add("*", "/models", served(forwarded)),
  )
})

export const layerNoDeps = Layer.unwrap(make)

/** Answers a request that no route fits with 404 in the API's shape. */
export const layerNotFound = HttpRouter.add(
  "*",
  "/*",
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) =>
    Effect.fail(ApiError.notFound("unknown_url", `Invalid URL (${method} ${url.split("?")[0]})`)),
  ),
)

const unknownTenant = ApiError.unauthorized("invalid_api_key", "The caller has no scope on this account.")

/** Whether a request asks for a WebSocket. An offer to upgrade to anything else may be ignored (RFC 9110, 7.8). */
const asksForWebSocket = ({ headers, method }: Request) =>
  method === "GET" && /(^|,)\s*websocket\s*(,|$)/i.test(headers["upgrade"] ?? "")

/** The methods that are passed on; `fetch`, which sends them upstream, knows no other. */
const forwardable: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

const wrongMethod = (allowed: string) =>
  new ApiError({
    status: 405,
    message: `Not allowed to use this method here; use ${allowed}.`,
    type: "invalid_request_error",
    code: "method_not_allowed",
    param: null,
    headers: { allow: allowed },
  })

/** Status 426 makes clients that try a WebSocket first go on over HTTP at once (docs/protocol.md 3.7). */
const upgradeRequired = new ApiError({
  status: 426,
  message: "respool does not take WebSockets from clients: send the request over HTTP.",
  type: "invalid_request_error",
  code: "websocket_not_supported",
  param: null,
})
