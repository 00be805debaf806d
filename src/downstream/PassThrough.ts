/**
 * Every path but the turn's: the request goes to the upstream and its answer comes back, unchanged and streaming.
 *
 * Where many tenants share one upstream account only some paths exist, and only the caller's own ids (`TenantPaths`).
 */
import { Context, Effect, Layer, Result, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpServerResponse } from "effect/http"
import { Settings } from "../Settings.ts"
import type { ForwardAnswer, ForwardRequest } from "../turn/Forwarder.ts"
import { Forwarder } from "../turn/Forwarder.ts"
import { parseRequestBody } from "../wire/RequestBody.ts"
import { ApiError } from "./ApiError.ts"
import type { Caller } from "./AuthScope.ts"
import { idsOf } from "./OwnedIds.ts"
import { Ownership } from "./Ownership.ts"
import { readRequestBytes } from "./RequestBytes.ts"
import { requestId } from "./RequestId.ts"
import { checkTenantBody, tenantHeaders } from "./Tenant.ts"
import { tenantPath } from "./TenantPaths.ts"
import { failureResponse } from "./TurnFailure.ts"

export class PassThrough extends Context.Service<
  PassThrough,
  {
    readonly forward: (
      request: HttpServerRequest.HttpServerRequest,
      caller: Caller,
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError>
  }
>()("respool/downstream/PassThrough") {
  static readonly layerNoDeps = Layer.effect(
    PassThrough,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const ownership = yield* Ownership
  const { forward: send } = yield* Forwarder

  /** A body whose length is known and fits is sent with that length; any other streams, as it is and unread. */
  const rawBody = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
    if (request.method === "GET" || request.method === "HEAD") return undefined
    const length = request.headers["content-length"]
    if (length === undefined && request.headers["transfer-encoding"] === undefined) return undefined
    if (length === undefined || Number(length) > settings.maxBody) return request.stream
    return new Uint8Array(yield* Effect.mapError(request.arrayBuffer, () => incomplete))
  })

  const forward = Effect.fn("PassThrough.forward")(function* (
    request: HttpServerRequest.HttpServerRequest,
    caller: Caller,
  ) {
    const id = requestId(request.headers)
    const path = request.url.replace(/^\/v1(?=\/)/, "")
    const outgoing = { method: request.method, path, credential: caller.credential }
    if (!caller.tenant || caller.scope === undefined) {
      return yield* relay({ ...outgoing, headers: request.headers, body: yield* rawBody(request) }, id)
    }

    const owner = caller.scope
    const route = tenantPath(request.method, path.split("?")[0] ?? "")
    if (route === undefined) return yield* ApiError.notFound("unknown_url", `Invalid URL (${request.method} ${path})`)
    const refused = route.responseId === undefined ? undefined : ownership.checkResponseId(owner, route.responseId)
    if (refused !== undefined) return yield* refused
    if (!route.compact) {
      const body = request.method === "POST" ? new Uint8Array() : undefined
      return yield* relay({ ...outgoing, headers: tenantHeaders(request.headers), body }, id)
    }
    const bytes = yield* readRequestBytes(request, { maxBytes: settings.maxBody })
    const body = parseRequestBody(bytes)
    if (Result.isFailure(body)) return yield* ApiError.badRequest(body.failure.reason, body.failure.message)
    yield* checkTenantBody(ownership, owner, body.success)
    const headers = { ...tenantHeaders(request.headers), "content-encoding": undefined }
    return yield* relay({ ...outgoing, headers, body: bytes }, id, (text) => record(owner, text))
  })

  const record = (owner: string, text: string) =>
    Effect.ignore(Effect.try(() => ownership.record(owner, idsOf(JSON.parse(text)))))

  /** `seen` gets the whole answer before it goes out. */
  const relay = (request: ForwardRequest, id: string, seen?: (text: string) => Effect.Effect<void>) =>
    send(request).pipe(
      Effect.flatMap((answer) => (seen === undefined ? Effect.succeed(streamed(answer, id)) : whole(answer, id, seen))),
      Effect.catchTag("TurnError", (error) => Effect.succeed(failureResponse(error, { "x-request-id": id }))),
    )

  return PassThrough.of({ forward })
})

const options = ({ headers, status }: ForwardAnswer, id: string) => ({
  status,
  headers: { "x-request-id": id, ...headers },
  contentType: headers["content-type"] ?? "application/octet-stream",
})

const streamed = (answer: ForwardAnswer, id: string) => HttpServerResponse.stream(answer.body, options(answer, id))

const whole = (answer: ForwardAnswer, id: string, seen: (text: string) => Effect.Effect<void>) =>
  answer.body.pipe(
    Stream.decodeText(),
    Stream.mkString,
    Effect.tap(seen),
    Effect.map((text) => HttpServerResponse.text(text, options(answer, id))),
  )

const incomplete = ApiError.badRequest("incomplete_body", "The request body ended too early.")
