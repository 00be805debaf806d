/**
 * Keeps web pages of other origins away from respool's credentials, and says by CORS what the allowed ones may do.
 *
 * A browser lets every page send requests to this machine, and a page can give its own name this machine's address (DNS
 * rebinding). Where respool adds a credential, such a request would spend it. So there a request must be of no page, of
 * one that the listener itself served, or of an allowed origin, and it must be addressed to a name of the listener. A
 * page that brings its own credential spends its own, but a browser lets only those of allowed origins bring one.
 *
 * The listener's names are its address and what the settings call it, each with its port, and on loopback all names of
 * loopback. One that other machines reach may have any name in DNS, so it takes every `Host` until the settings name
 * some; what rebinding needs is a name, so an address is taken anyway. Of an app's server that is not known it is the same.
 */
import { Effect, Option } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpServer, HttpServerResponse } from "effect/http"
import { addressOf, hostAndPort, isLoopback } from "../../config/Address.ts"
import { Settings } from "../../config/Settings.ts"
import { ApiError } from "../ApiError.ts"

type Request = Pick<HttpServerRequest.HttpServerRequest, "headers" | "method" | "protocol">
type Response = HttpServerResponse.HttpServerResponse

/** What the head of a request says of where it comes from and goes to. */
export interface Seen {
  /** The answer wherever respool adds a credential; undefined: it may. */
  readonly refusal: ApiError | undefined
  /** The answer to a page of another origin that brings no credential; undefined: it is of no such page. */
  readonly foreign: ApiError | undefined
  /** The allowed origin that asks; undefined: none does. */
  readonly allowed: string | undefined
}

/** Where the server listens; undefined: no port of the network, or it is not known. */
const listenedAt = Effect.map(Effect.serviceOption(HttpServer.HttpServer), (server) => {
  const address = Option.getOrUndefined(server)?.address
  if (address === undefined || address._tag === "UnixPathAddress") return undefined
  return addressOf(new URL(HttpServer.formatAddress(address)))
})

export const make = Effect.gen(function* () {
  const { allowedHosts, allowedOrigins, host: configured } = yield* Settings
  const listener = yield* listenedAt
  const onLoopback = listener !== undefined && isLoopback(listener.hostname)
  const names = new Set(allowedHosts)
  if (listener !== undefined) {
    const { hostname, port } = listener
    const own = [hostname, configured, ...(onLoopback ? ["127.0.0.1", "localhost", "::1"] : [])]
    for (const name of own) names.add(hostAndPort({ hostname: name.toLowerCase(), port }))
  }
  const takesEveryHost = !onLoopback && allowedHosts.length === 0
  const origins = new Set(allowedOrigins)

  /** Not by any name in DNS, but one that is known to lead here. */
  const isKnown = (host: string, defaultPort: number): boolean =>
    names.has(/:\d+$/.test(host) ? host : `${host.replace(/:$/, "")}:${defaultPort}`) ||
    names.has(host.replace(/:\d*$/, "")) ||
    (takesEveryHost && anAddress.test(host))

  /** Fails with 400 where the request does not name one host. */
  const look = ({ headers, protocol = "http" }: Request): Effect.Effect<Seen, ApiError> => {
    const host = (headers["host"] ?? "").toLowerCase()
    if (!oneHost.test(host)) return Effect.fail(notOneHost)
    const known = isKnown(host, protocol === "https" ? 443 : 80)
    const origin = headers["origin"]?.toLowerCase()
    const allowed = origin !== undefined && origins.has(origin) ? headers["origin"] : undefined
    const isOwn =
      (origin === undefined || (known && origin === `${protocol}://${host}`)) &&
      ownSites.has(headers["sec-fetch-site"] ?? "none")
    const foreign = isOwn || allowed !== undefined ? undefined : notFromThere
    return Effect.succeed({ refusal: known || takesEveryHost ? foreign : notToThere, foreign, allowed })
  }

  /** The answer, with the headers that let an allowed origin read it. */
  const marked = (response: Response, allowed: string | undefined): Response => {
    if (origins.size === 0) return response
    const { vary } = response.headers
    const varying = { vary: vary === undefined ? "Origin" : `${vary}, Origin` }
    const leave = { "access-control-allow-origin": allowed, "access-control-expose-headers": "*" }
    return HttpServerResponse.setHeaders(response, allowed === undefined ? varying : { ...varying, ...leave })
  }

  return { look, marked }
})

/** A browser asks whether a page may send a request. */
export const isPreflight = ({ headers, method }: Request): boolean =>
  method === "OPTIONS" && headers["origin"] !== undefined && headers["access-control-request-method"] !== undefined

/** What a preflight is told, but for the origin, which `marked` tells. */
export const preflightAnswer = ({ headers }: Request, methods: ReadonlyArray<string>): Response => {
  const asked = headers["access-control-request-headers"] ?? ""
  return HttpServerResponse.empty({
    status: 204,
    headers: {
      "access-control-allow-methods": methods.join(", "),
      ...(headerNames.test(asked) ? { "access-control-allow-headers": asked } : {}),
      ...(headers["access-control-request-private-network"] === "true"
        ? { "access-control-allow-private-network": "true" }
        : {}),
      "access-control-max-age": "600",
    },
  })
}

/** `Host` as RFC 9110, 7.2 has it, but without a comma: two of them arrive joined by one. */
const oneHost = /^(\[[0-9a-f:.]+\]|[\w.~!$&'()*+;=%-]*)(:\d*)?$/

const anAddress = /^(\[.*\]|\d+\.\d+\.\d+\.\d+)(:\d*)?$/

const headerNames = /^[\w!#$%&'*+.^`|~-]+( *, *[\w!#$%&'*+.^`|~-]+)*$/

/** The answer without the upstream's headers of CORS, which were not said of this origin. */
export const withoutCors = (response: Response): Response => {
  let answer = response
  for (const name of Object.keys(response.headers)) {
    if (ofCors.test(name)) answer = HttpServerResponse.removeHeader(answer, name)
  }
  return answer
}

/** Also those by which a page may embed an answer, or time it. */
const ofCors = /^(access-control-.*|cross-origin-resource-policy|timing-allow-origin)$/

/** Of `Sec-Fetch-Site`, which no page can set: a page of the listener's own, or no page. */
const ownSites: ReadonlySet<string> = new Set(["none", "same-origin"])

const forbidden = (code: string, message: string) =>
  new ApiError({ status: 403, message, type: "invalid_request_error", code, param: null })

const notFromThere = forbidden(
  "origin_not_allowed",
  "Not allowed from a web page of this origin; RESPOOL_ALLOWED_ORIGINS says which are.",
)

const notToThere = forbidden(
  "host_not_allowed",
  "Not allowed under this name of the server (Host); RESPOOL_ALLOWED_HOSTS says which are.",
)

const notOneHost = ApiError.badRequest("invalid_host", "The request must name one host, in one Host header.")
