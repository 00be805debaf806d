/**
 * Sends HTTP requests to the configured upstreams and to nowhere else.
 *
 * The client's headers pass, except those that are not meant for the upstream (`ClientHeaders.ts`). Redirects are answers and never followed, so a credential goes only where it was configured to go. The platform's time-outs are
 * off: the turn's clock knows how long an answer may be silent.
 *
 * No two callers share a connection, nor does a caller that is not known use one twice: what an upstream writes without
 * having been asked is taken for the answer to the next request on that connection.
 */
import { hash, randomBytes } from "node:crypto"
import { Context, Effect, Layer, Redacted, Scope, Stream } from "effect"
import type { HttpClientError } from "effect/http"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpMethod } from "effect/http"
import { profileOf } from "../../config/Profile.ts"
import { Settings } from "../../config/Settings.ts"
import type { Caller } from "../../turn/Caller.ts"
import type { ForwardAnswer, ForwardRequest } from "../../turn/Forwarder.ts"
import { redactionOf } from "../../turn/Redaction.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { isCertificateCode } from "../dialer/Dialer.ts"
import { hop, staysHere } from "./ClientHeaders.ts"
import { proxyFor, proxyOfFetch } from "../../config/ProxyRules.ts"
import { hopOf, withHop } from "../../wire/Hops.ts"
import type { Destination } from "../route/Routing.ts"
import { headersFor } from "../route/Routing.ts"
import type { Upstream } from "../route/Upstreams.ts"

const answerDrops = new Set([...hop, "content-length", "content-encoding", "set-cookie"])

/** Other headers that may hold a credential; where respool sets one, the client's is not sent. */
const credentialHeaders = ["api-key", "x-api-key"]

const passing = (headers: Readonly<Record<string, string | undefined>>, stays: (name: string) => boolean) => {
  // Headers that `connection` names concern one hop as well (RFC 9110, section 7.6.1).
  const named = new Set((headers["connection"] ?? "").split(",").map((name) => name.trim().toLowerCase()))
  const passed: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || stays(name) || named.has(name)) continue
    passed[name] = value
  }
  return passed
}

/** The codes with which `fetch` says that no peer was reached, in its error or in what caused it. */
const noPeer = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/

/** The code of `fetch` for a proxy that opened no tunnel. */
const refusedTunnel = "ERR_PROXY_TUNNEL"

/** The code that says that nothing was sent, and its message, from the error or from what caused it. */
const neverSent = (cause: unknown): { readonly code: string; readonly message: string } | undefined => {
  if (!(cause instanceof Error)) return undefined
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : ""
  // A certificate is refused before the request is written, so nothing was sent then either.
  return noPeer.test(code) || isCertificateCode(code) || code === refusedTunnel
    ? { code, message: cause.message }
    : neverSent(cause.cause)
}

/** The error in respool's words: what the transport said is left out, but for the code or status. */
const explained = ({ code, message }: { readonly code: string; readonly message: string }): string => {
  if (isCertificateCode(code)) return `the upstream's certificate was not accepted (${code})`
  if (code !== refusedTunnel) return "the upstream could not be reached"
  return `the proxy refused the tunnel with status ${/: (\d{3})\b/.exec(message)?.[1] ?? "unknown"}`
}

/** The error carries the request, which holds the credential, so only what the transport said becomes the cause. */
const causeOf = ({ reason }: HttpClientError.HttpClientError) =>
  reason._tag === "TransportError" || reason._tag === "DecodeError" ? reason.cause : reason._tag

/** Whether the peer ended the connection without an answer, as it may while the request is on its way. */
const wasClosed = (cause: unknown): boolean =>
  cause instanceof Error && (("code" in cause && cause.code === "ECONNRESET") || wasClosed(cause.cause))

const unanswered = (error: HttpClientError.HttpClientError) => {
  const cause = causeOf(error)
  if (wasClosed(cause)) {
    const message = "the upstream closed the connection without an answer"
    return new TurnError({ reason: "upstream_closed", delivery: "Ambiguous", message, cause })
  }
  const known = neverSent(cause)
  return new TurnError({
    reason: "upstream_unreachable",
    delivery: known === undefined ? "Ambiguous" : "NotSent",
    message: known === undefined ? "the upstream could not be reached" : explained(known),
    cause,
  })
}

const brokenOff = (error: HttpClientError.HttpClientError) =>
  new TurnError({
    reason: "upstream_closed",
    delivery: "Accepted",
    message: "the upstream broke off its answer",
    cause: causeOf(error),
  })

/** A request for which destination and credential are known. */
export type Outgoing = Omit<ForwardRequest, "model">

const noStatus = (status: number) =>
  new TurnError({
    reason: "upstream_protocol",
    delivery: "Accepted",
    message: `the upstream answered with the status ${status}`,
  })

export class HttpUpstream extends Context.Service<
  HttpUpstream,
  {
    /**
     * Succeeds with any status of HTTP, and fails when no answer came. Interrupting it, or its body, aborts the
     * request.
     */
    readonly send: (to: Destination, request: Outgoing) => Effect.Effect<ForwardAnswer, TurnError>
  }
>()("respool/upstream/HttpUpstream") {
  /** Needs an `HttpClient`. */
  static readonly layerNoDeps = Layer.effect(
    HttpUpstream,
    Effect.suspend(() => make),
  )

  /** Over the platform's `fetch`. */
  static readonly layer = HttpUpstream.layerNoDeps.pipe(Layer.provide(FetchHttpClient.layer))
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const client = yield* HttpClient.HttpClient
  const ownHop = hopOf(settings)
  const scopedClient = HttpClient.withScope(client)

  const inits = new WeakMap<Upstream, ReturnType<typeof makeInit>>()
  const makeInit = (upstream: Upstream) => {
    const proxy = proxyFor(settings.environmentProxies, upstream.url, upstream.proxy)
    return {
      redirect: "manual",
      timeout: false,
      tls: { ...upstream.tls, rejectUnauthorized: upstream.tlsVerify === "on" },
      proxy: proxyOfFetch(proxy),
    } as const
  }

  const salt = randomBytes(16).toString("base64url")

  /**
   * Bun keeps a connection for the next request to the same host with equal TLS options, also where there is no TLS. So
   * each caller has a `passphrase` of its own, which is used for nothing else, since no key here is encrypted. A request
   * costs as much as with one pool for all; without any pool it takes 1.4 times the CPU, over TLS 6 times (Bun 1.4.5).
   */
  const initFor = ({ shown, upstream }: Destination, { scope }: Caller): RequestInit => {
    let init = inits.get(upstream)
    if (init === undefined) inits.set(upstream, (init = makeInit(upstream)))
    if (scope === undefined) return { ...init, keepalive: false } as RequestInit
    const passphrase = hash("sha256", JSON.stringify([salt, scope, shown?.owner, shown?.identity]), "base64url")
    return { ...init, tls: { ...init.tls, passphrase } } as RequestInit
  }

  const headersTo = (to: Destination, headers: ForwardRequest["headers"]) => {
    const passed = passing(headersFor(to, headers), (name) => staysHere(name, to.upstream.forwardHeaders))
    if (to.shown !== undefined) {
      for (const name of credentialHeaders) delete passed[name]
      Object.assign(passed, Redacted.value(to.shown.headers))
    }
    passed["accept-encoding"] = "identity"
    // A host that is known can't be this proxy, so it is told nothing of the way.
    if (profileOf(to.upstream.url) === "custom") passed["cdn-loop"] = withHop(headers["cdn-loop"], ownHop)
    return passed
  }

  const asked = Effect.fnUntraced(
    function* (to: Destination, request: Outgoing) {
      const { body, method, path, scope } = request
      if (!HttpMethod.isHttpMethod(method)) {
        return yield* new TurnError({ reason: "internal", delivery: "NotSent", message: `no method ${method}` })
      }
      const made = HttpClientRequest.make(method)(`${to.upstream.url}${path}`).pipe(
        HttpClientRequest.setHeaders(headersTo(to, request.headers)),
      )
      const outgoing = withBody(made, body, request.headers["content-type"])
      const asked =
        scope === undefined ? client.execute(outgoing) : Scope.provide(scopedClient.execute(outgoing), scope)
      const response = yield* Effect.mapError(asked, unanswered)
      const { status } = response
      const answer = Stream.catch(response.stream, (error) =>
        error.reason._tag === "EmptyBodyError" ? Stream.empty : Stream.fail(brokenOff(error)),
      )
      if (status < 200 || status > 599) {
        // Interrupting the read of its body is what ends the request.
        yield* Effect.raceFirst(Effect.ignore(Stream.runDrain(answer)), Effect.yieldNow)
        return yield* noStatus(status)
      }
      return { status, headers: passing(response.headers, (name) => answerDrops.has(name)), body: answer }
    },
    (effect, to, { body, caller }) => {
      const init = initFor(to, caller)
      // A body in parts can't be sent again by the platform, as it does where an idle connection turns out to be closed.
      const mine = isLarge(body) ? { ...init, keepalive: false } : init
      return Effect.provideService(effect, FetchHttpClient.RequestInit, mine)
    },
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
  )

  const send = Effect.fn("HttpUpstream.send")(function* (to: Destination, request: Outgoing) {
    const redaction = redactionOf(to.shown)
    if (redaction === undefined) return yield* asked(to, request)
    return yield* redaction.answer(yield* Effect.mapError(asked(to, request), redaction.error))
  })

  return HttpUpstream.of({ send })
})

/** Where the client did not say of which type its body is, the upstream is not told one either. */
const withBody = (
  request: HttpClientRequest.HttpClientRequest,
  body: ForwardRequest["body"],
  contentType: string | undefined,
) => {
  if (body === undefined || (body instanceof Uint8Array && body.length === 0)) return request
  const type = contentType === undefined ? {} : { contentType }
  const given = !(body instanceof Uint8Array)
    ? HttpClientRequest.bodyStream(request, body, type)
    : isLarge(body)
      ? HttpClientRequest.bodyStream(request, inParts(body), { ...type, contentLength: body.length })
      : HttpClientRequest.bodyUint8Array(request, body, contentType)
  return contentType === undefined ? HttpClientRequest.removeHeader(given, "content-type") : given
}

/** The platform copies a body that is one piece before it sends it: a larger one, in bytes, goes part by part. */
const largest = 1 << 20

const partSize = 1 << 18

const isLarge = (body: ForwardRequest["body"]) => body instanceof Uint8Array && body.length > largest

const inParts = (body: Uint8Array) =>
  Stream.fromIterable(Array.from({ length: Math.ceil(body.length / partSize) }, (_, part) => part * partSize)).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((at) => Effect.as(nextRound, body.subarray(at, at + partSize))),
  )

const nextRound: Effect.Effect<void> = Effect.callback((resume) => {
  const next = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(next))
})
