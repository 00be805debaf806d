/**
 * Identifies the caller of a request: the scope that shares connections and memory, and the upstream credential.
 *
 * A scope, a label and a credential's identity never contain a secret. Where they are made from one, they are its
 * HMAC-SHA-256 under a key that is drawn when the layer is built and never leaves the process (or that is made of a
 * cluster's secret), so they can be neither reversed nor guessed and mean nothing to whoever does not have it. `api-key`, which SDKs for Azure send, is a credential like
 * `Authorization`. The `Authorization` scheme's case and blanks around its
 * parts do not change them. Credentials are `Redacted` from the first line (docs/life-of-a-turn.md, Caller and
 * session).
 */
import type { Headers } from "effect/http"
import { Context, Effect, Layer, Option } from "effect"
import { createHmac, randomBytes } from "node:crypto"
import type { Caller } from "../../turn/Caller.ts"
import { anonymous, callerCredential } from "../../turn/Caller.ts"
import { ApiError } from "../ApiError.ts"
import { Keys, labelOf, scopeOf } from "./Keys.ts"

interface Authorization {
  /** In lower case. */
  readonly scheme: string
  readonly parameter: string
  /** The header's value as the caller wrote it, without the blanks around it. */
  readonly value: string
}

/**
 * Splits a header as RFC 9110 11.4 says: a token, blanks, the rest. Undefined where it is absent, blank, or one word.
 */
const parseAuthorization = (header: string | undefined): Authorization | undefined => {
  const parts = header === undefined ? null : /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+(\S.*)$/.exec(header.trim())
  if (parts?.[1] === undefined || parts[2] === undefined) return undefined
  const scheme = parts[1].toLowerCase()
  // Two `authorization` headers arrive joined with ", ", and it is not known which of them the upstream would take.
  if (scheme === "bearer" && /[\s,]/.test(parts[2])) return undefined
  return { scheme, parameter: parts[2], value: parts[0] }
}

type Digest = (scheme: string, parameter: string) => string

const digestUnder =
  (key: Uint8Array): Digest =>
  // A scheme holds no blank, so one blank keeps the two parts apart.
  (scheme, parameter) =>
    createHmac("sha256", key).update(`${scheme} ${parameter}`).digest("base64url")

const passedThrough = (digest: Digest, headers: Headers.Headers): Caller => {
  const header = present(headers["authorization"])
  const key = present(headers["api-key"])
  if (header === undefined && key === undefined) return anonymous
  const authorization = parseAuthorization(header)
  const shown = {
    ...(header === undefined ? {} : { authorization: authorization?.value ?? header }),
    ...(key === undefined ? {} : { "api-key": key }),
  }
  // Two headers of one name arrive joined, as above. No scheme has a colon.
  const isReadable = (header === undefined || authorization !== undefined) && !/[\s,]/.test(key ?? "")
  if (!isReadable) {
    return { ...anonymous, credential: callerCredential(shown, digest("", JSON.stringify([header, key]))) }
  }
  const ofHeader = authorization === undefined ? [] : [digest(authorization.scheme, authorization.parameter)]
  const ofKey = key === undefined ? [] : [digest("api-key:", key)]
  const both = [...ofHeader, ...ofKey]
  const identity = both.length === 1 ? (both[0] ?? "") : digest("both:", both.join(" "))
  return {
    scope: `caller:${identity}`,
    label: `caller-${identity.slice(0, 8)}`,
    credential: callerCredential(shown, identity),
    tenant: false,
  }
}

/** So many callers are known by the header they came with. */
const maxKnown = 256

/**
 * The caller of a header that came before is the same object again, so that what others derive from it is made once. Only
 * what came whole and readable in `authorization` alone is remembered, and the oldest is forgotten first.
 */
const remembering = (digest: Digest): ((headers: Headers.Headers) => Caller) => {
  const known = new Map<string, Caller>()
  return (headers) => {
    const header = headers["authorization"]
    if (header === undefined || headers["api-key"] !== undefined) return passedThrough(digest, headers)
    const before = known.get(header)
    if (before !== undefined) return before
    const caller = passedThrough(digest, headers)
    if (caller.scope === undefined) return caller
    known.set(header, caller)
    const [oldest] = known.keys()
    if (oldest !== undefined && known.size > maxKnown) known.delete(oldest)
    return caller
  }
}

const present = (header: string | undefined): string | undefined => {
  const value = header?.trim()
  return value === "" ? undefined : value
}

const invalidKey = (message: string) =>
  new ApiError({
    status: 401,
    message,
    type: "invalid_request_error",
    code: "invalid_api_key",
    param: null,
    headers: { "www-authenticate": "Bearer" },
  })

export class AuthScope extends Context.Service<
  AuthScope,
  {
    /** Fails with the answer for a caller that is not let in. */
    readonly resolve: (headers: Headers.Headers) => Effect.Effect<Caller, ApiError>
  }
>()("respool/downstream/AuthScope") {
  /** A rule of the app that embeds respool. Its scopes must be strings that no caller can choose freely. */
  static readonly layer = (
    resolve: (headers: Headers.Headers) => Effect.Effect<Caller, ApiError>,
  ): Layer.Layer<AuthScope> => Layer.succeed(AuthScope, { resolve })

  /**
   * The upstream credential that the caller brings is forwarded, and callers with the same one have the same scope. No
   * caller is refused here: without a credential, or with one that cannot be read, it has no scope, and the upstream
   * judges.
   */
  static readonly layerPassthrough: Layer.Layer<AuthScope> = Layer.suspend(() =>
    AuthScope.layerPassthroughUnder(randomBytes(32)),
  )

  /** The same with scopes under a given key, so that all who have it compute the same ones. It must stay a secret. */
  static readonly layerPassthroughUnder = (key: Uint8Array): Layer.Layer<AuthScope> =>
    Layer.sync(AuthScope, () => {
      const callerOf = remembering(digestUnder(key))
      return { resolve: (headers) => Effect.sync(() => callerOf(headers)) }
    })

  /**
   * Callers bring a key of this proxy (`Authorization: Bearer respool_…`, or `api-key: respool_…`) and no upstream credential: they share the
   * account of the upstream's credential in the settings. A key that was made for a user stands for the user, so that
   * the user's keys share sessions. A missing and a wrong key fail with 401 `invalid_api_key`.
   */
  static readonly layerKeys: Layer.Layer<AuthScope, never, Keys> = Layer.effect(
    AuthScope,
    Effect.map(Keys, (keys) => {
      const resolve = Effect.fn("AuthScope.resolve")(function* (
        headers: Headers.Headers,
      ): Effect.fn.Return<Caller, ApiError> {
        const header = present(headers["authorization"])
        const authorization = parseAuthorization(header)
        const bearer = authorization?.scheme === "bearer" ? authorization.parameter : undefined
        const key = header === undefined ? present(headers["api-key"]) : bearer
        if (key === undefined) {
          return yield* invalidKey("You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`.")
        }
        const record = yield* keys.verify(key)
        if (Option.isNone(record)) return yield* invalidKey("Incorrect API key provided.")
        return {
          scope: scopeOf(record.value),
          label: labelOf(record.value),
          credential: undefined,
          tenant: true,
        }
      })
      return AuthScope.of({ resolve })
    }),
  )
}
