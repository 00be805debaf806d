/**
 * The API as clients see it: the turn's route, everything else passed through, and errors in the API's shape.
 *
 * `layerNoDeps` adds the routes to any `HttpRouter`, so an app may serve them beside others. `layerNotFound` answers
 * requests that no route fits in the API's shape too.
 */
import { Clock, Effect, Exit, Layer } from "effect"
import { Headers, HttpRouter, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { Settings } from "../../config/Settings.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import type { Caller } from "../../turn/Caller.ts"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import { Forwarder } from "../../turn/Forwarder.ts"
import { Answers } from "../answer/Answers.ts"
import { ApiError } from "../ApiError.ts"
import { AuthScope } from "../auth/AuthScope.ts"
import { Intake } from "../Intake.ts"
import type { RequestHeaders } from "../Session.ts"
import type { Place } from "../Admission.ts"
import { addressOf, Admission, entering } from "../Admission.ts"
import { answerEnds } from "./BunServer.ts"
import { toHttp } from "./HttpAnswer.ts"
import type { Seen } from "./Origins.ts"
import * as Origins from "./Origins.ts"
import { belowBase, invalidUrl, PassThrough } from "./PassThrough.ts"
import { note } from "./RequestLog.ts"
import { readRequestBytes } from "./RequestBytes.ts"
import { comesBack, hopOf } from "../../wire/Hops.ts"
import { ClientSockets } from "../socket/ClientSockets.ts"
import { noUpgrade } from "../socket/Refusals.ts"
import { tenantPath } from "../tenants/TenantPaths.ts"

type Request = HttpServerRequest.HttpServerRequest

type Answer = Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError>

/** What is served at a path. */
interface Served {
  readonly answer: (request: Request, seen: Seen) => Answer
  /** The methods that are there, as a browser is told that asks for a page. */
  readonly methods: (request: Request) => ReadonlyArray<string>
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const auth = yield* AuthScope
  const intake = yield* Intake
  const answers = yield* Answers
  const sockets = yield* ClientSockets
  const passThrough = yield* PassThrough
  const admission = yield* Admission
  const origins = yield* Origins.make
  const { addsCredential } = yield* Forwarder
  const clock = yield* Clock.Clock
  const deadlines = yield* Deadlines.make
  const ownHop = hopOf(settings)

  const callerOf = ({ headers }: Pick<Request, "headers">, { foreign, refusal }: Seen) =>
    Effect.flatMap(auth.resolve(headers), (caller): Effect.Effect<Caller, ApiError> => {
      // Without a scope no id can be checked, so the request must not reach the shared account.
      if (caller.tenant && caller.scope === undefined) return Effect.fail(unknownTenant)
      const isOwn = caller.credential?.owner === "caller"
      if (refusal !== undefined && caller.credential !== undefined && !isOwn) return Effect.fail(refusal)
      if (foreign !== undefined && !isOwn) return Effect.fail(foreign)
      return Effect.succeed(caller)
    })

  const turn = Effect.fnUntraced(function* (
    request: Request,
    caller: Caller,
    startedAt: number,
    { holds, release }: Place,
  ) {
    const { headers, url } = request
    const bytes = yield* readRequestBytes(request, { maxBytes: settings.maxBody, holds, deadlines, settled: true })
    const query = /\?.*$/.exec(url)?.[0] ?? ""
    const asked = yield* intake.read({ caller, headers, query, bytes, startedAt, holds, client: addressOf(request) })
    note(request, { turn: true })
    return toHttp(yield* answers.answer(asked, { ended: () => answerEnds(request), released: release }))
  })

  // A caller that is not let in takes no place. Once there is an answer the turn may go on; it gives up its place when
  // it ends.
  const postTurn = (request: Request, seen: Seen) => {
    const startedAt = monotonicMillisOf(clock)
    return Effect.flatMap(callerOf(request, seen), (caller) =>
      Effect.acquireUseRelease(
        admission.enter(entering(request, caller.scope)),
        (place) => turn(request, caller, startedAt, place),
        ({ release }, exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.sync(release)),
      ),
    )
  }

  // Apart from where the request is known: it lives as long as the socket, and would keep the request as long.
  const callerWith = (seen: Seen) => (headers: RequestHeaders) =>
    callerOf({ headers: Headers.fromInput(headers) }, seen)

  const responses: Served = {
    answer: (request, seen) => {
      if (request.method === "POST") return postTurn(request, seen)
      if (!asksForWebSocket(request)) return Effect.fail(wrongMethod("POST"))
      if (settings.downstreamWebsocket === "off") return Effect.fail(noUpgrade)
      return Effect.tap(sockets.accept({ request, callerOf: callerWith(seen) }), () =>
        Effect.sync(() => note(request, { status: 101 })),
      )
    },
    methods: () => ["POST"],
  }

  // Neither probe asks an upstream: where one is down, turns fail one by one, and a restart would not help. While the
  // server starts or drains, the listener answers every request with 503.
  const probe = (status: string) => (request: Request) =>
    request.method === "GET" || request.method === "HEAD"
      ? Effect.succeed(HttpServerResponse.text(`{"status":"${status}"}`, { contentType: "application/json" }))
      : Effect.fail(wrongMethod("GET"))

  const forwarded: Served = {
    answer: (request, seen) => {
      if (asksForWebSocket(request)) return Effect.fail(noUpgrade)
      if (!forwardable.has(request.method)) return Effect.fail(wrongMethod([...forwardable].join(", ")))
      return Effect.flatMap(callerOf(request, seen), (caller) => {
        note(request, { scope: caller.label })
        return passThrough.forward(request, caller)
      })
    },
    methods: (request) => {
      const path = belowBase(request.url).split("?")[0] ?? ""
      const all = [...forwardable].filter((method) => method !== "OPTIONS")
      return settings.auth === "keys" ? all.filter((method) => tenantPath(method, path) !== undefined) : all
    },
  }

  const preflight = (request: Request, { methods }: Served, { foreign, refusal }: Seen): Answer => {
    if (foreign !== undefined || refusal !== undefined) return Effect.fail(refusal ?? foreign ?? unknownUrl(request))
    const there = methods(request)
    if (there.length === 0) return Effect.fail(unknownUrl(request))
    return there.includes(request.headers["access-control-request-method"] ?? "")
      ? Effect.succeed(Origins.preflightAnswer(request, there))
      : Effect.fail(wrongMethod(there.join(", ")))
  }

  /** The answer of a path, unless it is none that a web page may have: then before anything else is done. */
  const served = (path: Served) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      comesBack(request.headers["cdn-loop"], ownHop)
        ? Effect.fail(upstreamIsThisProxy)
        : Effect.flatMap(origins.look(request), (seen) =>
            Effect.matchEffect(answerOf(path, request, seen), {
              onSuccess: (response) => Effect.succeed(origins.marked(response, seen.allowed)),
              onFailure: (error) => {
                note(request, { code: error.code ?? undefined })
                const told = HttpServerRespondable.toResponse(error)
                return Effect.map(told, (response) => origins.marked(response, seen.allowed))
              },
            }),
          ),
    )

  const answerOf = (path: Served, request: Request, seen: Seen): Answer => {
    if (Origins.isPreflight(request)) return preflight(request, path, seen)
    const { refusal } = seen
    const answered = Effect.suspend(() => Effect.map(path.answer(request, seen), Origins.withoutCors))
    return refusal === undefined
      ? answered
      : Effect.flatMap(addsCredential, (adds) => (adds ? Effect.fail(refusal) : answered))
  }

  const probed = (status: string) => Effect.flatMap(HttpServerRequest.HttpServerRequest, probe(status))

  return Layer.mergeAll(
    HttpRouter.add("*", "/healthz", probed("ok")),
    HttpRouter.add("*", "/readyz", probed("ready")),
    HttpRouter.add("*", "/v1/responses", served(responses)),
    HttpRouter.add("*", "/responses", served(responses)),
    HttpRouter.add("*", "/v1/*", served(forwarded)),
    HttpRouter.add("*", "/responses/compact", served(forwarded)),
    HttpRouter.add("*", "/models", served(forwarded)),
  )
})

export const layerNoDeps = Layer.unwrap(make)

/** Tells a person who opens the proxy's address what is there, and what to set. For a proxy that has its port alone. */
export const layerRoot = HttpRouter.add(
  "*",
  "/",
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, method, protocol = "http" }) => {
    if (method !== "GET" && method !== "HEAD") return Effect.fail(wrongMethod("GET"))
    const host = headers["host"] ?? ""
    const base = /^[\w.:[\]-]+$/.test(host) ? `${protocol}://${host}/v1` : "this address with /v1 behind it"
    return Effect.succeed(
      HttpServerResponse.text(
        `respool, a proxy for the OpenAI Responses API. Clients are told its base URL:\n\nOPENAI_BASE_URL=${base}\n\nGET /readyz says whether it takes turns.\n`,
        { contentType: "text/plain; charset=utf-8", headers: { "x-content-type-options": "nosniff" } },
      ),
    )
  }),
)

/** Answers a request that no route fits with 404 in the API's shape. */
export const layerNotFound = HttpRouter.add(
  "*",
  "/*",
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    note(request, { code: "unknown_url" })
    return Effect.fail(unknownUrl(request))
  }),
)

const unknownUrl = ({ method, url }: Request) => invalidUrl(method, url)

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

/** A turn that went round would be sent again by each proxy on its way, until there is no socket left. */
const upstreamIsThisProxy = new ApiError({
  status: 508,
  message:
    "The request came back to this proxy: an upstream in its settings is the proxy itself, or leads to it (RESPOOL_UPSTREAM_URL).",
  type: "invalid_request_error",
  code: "upstream_is_this_proxy",
  param: null,
  headers: { "x-should-retry": "false" },
})
