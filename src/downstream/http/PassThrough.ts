/**
 * Passes requests on every path but the turn's to the upstream, and its answers back, unchanged and streaming.
 *
 * A body is bounded like a turn's, in size and time. A body of announced length is read whole and counts until the
 * upstream has answered; one in chunks streams, so that it may turn out to be too large after some of it has gone up.
 * An upstream has as long to answer as for a turn, since some calls run a model, and may be silent as long; a client that
 * takes nothing of the answer ends it as it would end a turn.
 *
 * Where many tenants share one upstream account, only some paths exist (`TenantPaths`), and a tenant may use only ids
 * that belong to it.
 */
import { Context, Effect, Layer, Result, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpServerResponse } from "effect/http"
import { randomUUID } from "node:crypto"
import { Settings } from "../../config/Settings.ts"
import type { ForwardAnswer, ForwardRequest } from "../../turn/Forwarder.ts"
import { Forwarder } from "../../turn/Forwarder.ts"
import { inSlices } from "../../turn/Slices.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { bodyInSteps, readMember, type RequestBody } from "../../wire/RequestBody.ts"
import type { Place } from "../Admission.ts"
import { Admission, entering } from "../Admission.ts"
import { ApiError, shortened } from "../ApiError.ts"
import type { Caller } from "../../turn/Caller.ts"
import { unsendable } from "../Sendable.ts"
import { tenantAnswer, tenantView } from "../tenants/Account.ts"
import { namespaced } from "../tenants/Namespace.ts"
import { Ownership } from "../tenants/Ownership.ts"
import { answerEnds } from "./BunServer.ts"
import { paced } from "./Paced.ts"
import { nextRound, readEncodedBytes, readRequestBytes, streamRequestBytes } from "./RequestBytes.ts"
import { requestId } from "../RequestId.ts"
import { recordAnswer, tenantHeaders } from "../tenants/Tenant.ts"
import { tenantPath } from "../tenants/TenantPaths.ts"
import { note } from "./RequestLog.ts"
import { failureAnswer } from "../answer/TurnFailure.ts"
import { toHttp } from "./HttpAnswer.ts"

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
  const admission = yield* Admission
  const { forward: send, needsModel } = yield* Forwarder

  /** Runs `use` with a place in `Admission`, if the request has a body. */
  const placed = <A, E>(
    request: Request,
    scope: string | undefined,
    use: (place: Place | undefined) => Effect.Effect<A, E>,
  ) =>
    hasBody(request)
      ? Effect.acquireUseRelease(admission.enter(entering(request, scope)), use, ({ release }) => Effect.sync(release))
      : use(undefined)

  const asItIs = Effect.fnUntraced(function* (request: Request, outgoing: Outgoing, id: string, place?: Place) {
    const limits = { maxBytes: settings.maxBody, ...(place === undefined ? {} : { holds: place.holds }) }
    const headers = request.headers
    if (place === undefined) return yield* relay(request, { ...outgoing, headers, body: undefined }, id)
    if (needsModel() && isJson(headers["content-type"])) {
      const bytes = yield* readRequestBytes(request, limits)
      const headersOfDecoded = { ...headers, "content-encoding": undefined }
      const body = yield* inSlices(bodyInSteps(bytes))
      const model = Result.isSuccess(body) ? modelOf(body.success) : undefined
      return yield* relay(request, { ...outgoing, headers: headersOfDecoded, body: bytes, model }, id)
    }
    if (headers["content-length"] !== undefined) {
      return yield* relay(request, { ...outgoing, headers, body: yield* readEncodedBytes(request, limits) }, id)
    }
    let refused: ApiError | undefined
    const noted = (error: ApiError) => Effect.sync(() => void (refused = error))
    const body = Stream.tapError(yield* streamRequestBytes(request, limits), noted)
    const answer = yield* relay(request, { ...outgoing, headers, body }, id)
    // The upstream saw a cut request, so its answer says nothing about the reason: the client gets that.
    return refused === undefined ? answer : yield* refused
  })

  const ofTenant = Effect.fnUntraced(function* (
    request: Request,
    outgoing: Outgoing,
    id: string,
    scope: string,
    place?: Place,
  ) {
    const { method, path } = outgoing
    const route = tenantPath(method, path.split("?")[0] ?? "")
    if (route === undefined) return yield* invalidUrl(method, path)
    if (route.responseId !== undefined) yield* ownership.checkResponseId(scope, route.responseId)
    const { headers: sent } = request
    const query = /\?.*$/.exec(path)?.[0] ?? ""
    yield* ownership.check(scope, { query, headers: sent })
    if (!route.compact) {
      const body = method === "POST" ? new Uint8Array() : undefined
      const owner = route.makesIds ? scope : undefined
      return yield* relayed(request, { ...outgoing, headers: tenantHeaders(sent), body }, id, owner)
    }
    const bytes = yield* readRequestBytes(request, {
      maxBytes: settings.maxBody,
      ...(place === undefined ? {} : { holds: place.holds }),
    })
    const body = yield* inSlices(bodyInSteps(bytes))
    if (Result.isFailure(body)) return yield* ApiError.badRequest(body.failure.reason, body.failure.message)
    yield* ownership.check(scope, { body: body.success })
    const headers = {
      ...tenantHeaders(sent),
      "content-type": sent["content-type"] ?? "application/json",
      "content-encoding": undefined,
    }
    const model = modelOf(body.success)
    const shown = settings.namespaceTenants === "on" ? (yield* inSlices(namespaced(scope, body.success))).bytes : bytes
    return yield* relayed(request, { ...outgoing, headers, body: shown, model }, id, scope)
  })

  const forward = Effect.fn("PassThrough.forward")((request: Request, caller: Caller) => {
    const id = requestId(request.headers) ?? `req_${randomUUID().replaceAll("-", "")}`
    const outgoing = { method: request.method, path: belowBase(request.url), caller }
    const { scope, tenant } = caller
    const refused = unsendable(request.headers, request.url)
    if (refused !== undefined) return Effect.fail(refused)
    return placed(request, scope, (place) =>
      tenant && scope !== undefined
        ? ofTenant(request, outgoing, id, scope, place)
        : asItIs(request, outgoing, id, place),
    )
  })

  /** Sends a request and answers the client. */
  const relay = (asked: Request, request: ForwardRequest, id: string) =>
    answered(asked, request, id, (answer) => Effect.succeed(streamed(asked, answer, id)))

  /** The answer as a tenant may read it; what it made, belongs to `owner` before it goes out. */
  const relayed = (asked: Request, request: ForwardRequest, id: string, owner: string | undefined) =>
    answered(asked, request, id, (answer) =>
      Effect.map(tenantAnswer(answer, owner === undefined ? undefined : recordAnswer(ownership, owner)), (shown) =>
        streamed(asked, shown, id),
      ),
    )

  const streamed = (asked: Request, answer: ForwardAnswer, id: string) => {
    const late = Effect.logWarning("a client did not take its answer in time").pipe(
      Effect.annotateLogs({
        request: id,
        path: shortened(belowBase(asked.url).split("?")[0] ?? ""),
        error: "slow_client",
      }),
      // The platform is behind too, and gives the connection up once it has a time-out.
      Effect.andThen(Effect.sync(() => answerEnds(asked))),
    )
    return HttpServerResponse.stream(paced(answer.body, settings.clientTimeout, late), options(answer, id))
  }

  const answered = (
    asked: Request,
    request: ForwardRequest,
    id: string,
    answer: (answer: ForwardAnswer) => Effect.Effect<HttpServerResponse.HttpServerResponse, TurnError>,
  ) =>
    Effect.andThen(nextRound, send(request)).pipe(
      Effect.map((answer) => {
        note(asked, { upstreamStatus: answer.status })
        return neverSilent(answer)
      }),
      Effect.flatMap(answer),
      Effect.timeoutOrElse({ duration: settings.turnTimeout, orElse: () => Effect.fail(unanswered) }),
      Effect.catchTag("TurnError", (error) => {
        note(asked, { code: error.reason })
        const reads = request.method === "GET" || request.method === "HEAD"
        const shown = request.caller.tenant ? tenantView.failure(error) : error
        return Effect.succeed(toHttp(failureAnswer(shown, { "x-request-id": id }, reads)))
      }),
    )

  /** The answer with a body that fails when the upstream is silent for too long while the client waits for more. */
  const neverSilent = (answer: ForwardAnswer): ForwardAnswer => ({
    ...answer,
    body: Stream.timeoutOrElse(answer.body, {
      duration: settings.eventTimeout,
      orElse: () => Stream.fail(silent),
    }),
  })

  return PassThrough.of({ forward })
})

type Request = HttpServerRequest.HttpServerRequest

type Outgoing = Pick<ForwardRequest, "method" | "path" | "caller">

/** Path and query below the base URL, which clients may leave out; empty for the base URL itself. */
export const belowBase = (url: string): string => url.replace(/^\/v1(?=[/?]|$)/, "")

/** There is nothing at this path, or not with this method. */
export const invalidUrl = (method: string, url: string) =>
  ApiError.notFound("unknown_url", `Invalid URL (${method} ${shortened(url.split("?")[0] ?? "")})`)

const hasBody = ({ headers, method }: Request): boolean =>
  method !== "GET" &&
  method !== "HEAD" &&
  (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined)

const options = ({ headers, status }: ForwardAnswer, id: string) => ({
  status,
  headers: { "x-request-id": id, ...headers },
  contentType: headers["content-type"] ?? "application/octet-stream",
})

const isJson = (contentType: string | undefined): boolean => /^application\/(.+\+)?json\b/i.test(contentType ?? "")

/**
 * The model that a body names; undefined where it names none or can't be read, so that the default upstream judges it.
 */
const modelOf = (body: RequestBody): string | undefined => {
  const model = readMember(body, "model")
  return typeof model === "string" ? model : undefined
}

const unanswered = new TurnError({
  reason: "turn_timeout",
  delivery: "Ambiguous",
  message: "the upstream did not answer in time",
})

const silent = new TurnError({
  reason: "event_timeout",
  delivery: "Accepted",
  message: "the upstream did not go on with its answer in time",
})
