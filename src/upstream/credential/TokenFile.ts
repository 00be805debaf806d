/**
 * Keeps a token in a file, and refreshes it: once for all upstreams that name the file.
 *
 *     {
 *       "accessToken": "…",           what upstreams are shown
 *       "expiresAt": 1767225600,      seconds since 1970, or a date such as "2026-01-01T00:00:00Z"; else it never expires
 *       "refreshToken": "…",          with the next two: how to get another one (RFC 6749, section 6)
 *       "tokenUrl": "https://…",      https, or http on this machine
 *       "clientId": "…",
 *       "clientSecret": "…",          if the client has one
 *       "scope": "…",                 if it must be asked for
 *       "account": "…"                sent as chatgpt-account-id
 *     }
 *
 * - A token is refreshed five minutes before it expires, while turns go on with it. Only an expired one makes them
 *   wait.
 * - A new token is written back at once, whole or not at all, so that a restart finds it.
 * - A token that another program writes into the file during a refresh is used, and not overwritten.
 * - A refresh that fails is tried again after a second, then twice as long each time, at most a minute.
 * - The identity stays the same, so a refresh ends no connection.
 */
import type { FileSystem, Scope } from "effect"
import { Clock, Deferred, Duration, Effect, Exit, Option, Redacted, Result, Schema } from "effect"
import type { HttpClient } from "effect/http"
import { FetchHttpClient, HttpClientRequest } from "effect/http"
import { isLoopback } from "../../config/Address.ts"
import { replaceFile } from "../../config/Files.ts"
import { proxyOfFetch } from "../../config/ProxyRules.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import type { Resolved, Source } from "./Credential.ts"
import { followFile, SecretFileError, unavailable } from "./SecretFile.ts"

const Held = Schema.Struct({
  accessToken: Schema.NonEmptyString,
  expiresAt: Schema.optionalKey(Schema.Union([Schema.Number, Schema.String])),
  refreshToken: Schema.optionalKey(Schema.NonEmptyString),
  tokenUrl: Schema.optionalKey(Schema.String),
  clientId: Schema.optionalKey(Schema.String),
  clientSecret: Schema.optionalKey(Schema.String),
  scope: Schema.optionalKey(Schema.String),
  account: Schema.optionalKey(Schema.String),
})
type Held = typeof Held.Type

const decodeHeld = Schema.decodeUnknownOption(Schema.fromJsonString(Held))

/** What a token endpoint answers; `expires_in` is in seconds. */
const decodeGranted = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      access_token: Schema.NonEmptyString,
      refresh_token: Schema.optional(Schema.NonEmptyString),
      expires_in: Schema.optional(Schema.Number),
    }),
  ),
)

const refreshBefore = Duration.toMillis("5 minutes")
const refreshWithin = Duration.seconds(30)
const firstPause = Duration.toMillis("1 second")
const longestPause = Duration.toMillis("1 minute")

/** When the token expires, in milliseconds since 1970; infinite where the file does not say. */
const expiryOf = ({ expiresAt }: Held): number => {
  if (expiresAt === undefined) return Number.POSITIVE_INFINITY
  return typeof expiresAt === "number" ? expiresAt * 1000 : Date.parse(expiresAt)
}

const isSafe = (tokenUrl: string): boolean => {
  if (!URL.canParse(tokenUrl)) return false
  const { hostname, protocol } = new URL(tokenUrl)
  return protocol === "https:" || (protocol === "http:" && isLoopback(hostname))
}

const heldIn = (text: string): Held | undefined => {
  const held = Option.getOrUndefined(decodeHeld(text))
  if (held === undefined || Number.isNaN(expiryOf(held))) return undefined
  return held.tokenUrl === undefined || isSafe(held.tokenUrl) ? held : undefined
}

const expected =
  'a token file: JSON with "accessToken" and, to have it refreshed, "expiresAt", "refreshToken", "tokenUrl" (https) and "clientId"'

export const followToken = (fs: FileSystem.FileSystem, path: string) =>
  followFile(fs, path, { parse: heldIn, expected, mayBeOpen: false })

export interface TokenFileServices {
  readonly fs: FileSystem.FileSystem
  readonly client: HttpClient.HttpClient
  /** The proxy on the way to a URL; undefined: none. */
  readonly proxy: (url: string) => Redacted.Redacted<string> | undefined
  /** A refresh is interrupted when this scope closes, and by nothing else. */
  readonly scope: Scope.Scope
}

/** `identityOf` makes a text of a secret that stands for it. */
export const tokenFile = (
  { client, fs, proxy, scope }: TokenFileServices,
  path: string,
  identityOf: (secret: string) => string,
): Source => {
  const file = followToken(fs, path)

  let refreshing: Deferred.Deferred<Held, SecretFileError> | undefined
  let pause = 0
  let notBefore = Number.NEGATIVE_INFINITY
  /** A token that an upstream refused before it expired. */
  let refused: string | undefined
  let refusedAt = Number.NEGATIVE_INFINITY

  const failed = (what: string) =>
    new SecretFileError({ message: `the token in ${path} can't be refreshed: ${what}`, isAbsent: false })

  const ask = Effect.fnUntraced(function* (held: Held) {
    const { clientId, clientSecret, refreshToken, scope, tokenUrl } = held
    if (refreshToken === undefined || tokenUrl === undefined || clientId === undefined) {
      return yield* failed('it has no "refreshToken", "tokenUrl" and "clientId"')
    }
    const asked = HttpClientRequest.post(tokenUrl).pipe(
      HttpClientRequest.acceptJson,
      HttpClientRequest.bodyUrlParams({
        grant_type: "refresh_token",
        refresh_token: refreshToken,
        client_id: clientId,
        ...(clientSecret === undefined ? {} : { client_secret: clientSecret }),
        ...(scope === undefined ? {} : { scope }),
      }),
    )
    const answer = yield* client.execute(asked).pipe(
      // A refresh token goes to the address in its file, and never on to one that an answer names. Its connection is
      // not used again, since what comes on it later could be taken for the answer to another file's refresh.
      Effect.provideService(FetchHttpClient.RequestInit, {
        redirect: "manual",
        keepalive: false,
        proxy: proxyOfFetch(proxy(tokenUrl)),
      } as RequestInit),
      Effect.flatMap((response) => Effect.map(response.text, (text) => ({ status: response.status, text }))),
      // The cause is left out: what the endpoint says may repeat the token that it was sent.
      Effect.mapError(() => failed("its endpoint could not be reached")),
      Effect.timeoutOrElse({
        duration: refreshWithin,
        orElse: () => Effect.fail(failed("its endpoint did not answer in time")),
      }),
    )
    const granted = Option.getOrUndefined(decodeGranted(answer.text))
    if (answer.status !== 200 || granted === undefined) {
      return yield* failed(`its endpoint answered ${answer.status}${granted === undefined ? " without a token" : ""}`)
    }
    const { expiresAt: _, ...kept } = held
    const now = yield* Clock.currentTimeMillis
    const got: Held = {
      ...kept,
      accessToken: granted.access_token,
      refreshToken: granted.refresh_token ?? refreshToken,
      ...(granted.expires_in === undefined ? {} : { expiresAt: Math.floor(now / 1000) + granted.expires_in }),
    }
    return got
  })

  const write = Effect.fnUntraced(function* (held: Held) {
    yield* replaceFile(fs, path, `${JSON.stringify(held, undefined, 2)}\n`).pipe(
      Effect.catch(() =>
        Effect.logWarning(`${path} can't be written: the token that was got is lost with this process`),
      ),
    )
    yield* file.wrote(held)
  })

  const refresh = (held: Held) =>
    Effect.gen(function* () {
      const answer = yield* Effect.result(ask(held))
      // A token that a person or another process has put there meanwhile is used instead.
      file.lookAgain()
      const now = yield* file.current
      if (now.refreshToken !== held.refreshToken) return now
      if (Result.isFailure(answer)) return yield* answer.failure
      yield* write(answer.success)
      pause = 0
      return answer.success
    }).pipe(
      Effect.tapError(({ message }) =>
        Effect.gen(function* () {
          pause = pause === 0 ? firstPause : Math.min(pause * 2, longestPause)
          notBefore = (yield* monotonicMillis) + pause
          yield* Effect.logWarning(message)
        }),
      ),
    )

  /** The refresh that is under way, or a new one. It goes on when the turn that waits for it is interrupted. */
  const refreshed = (held: Held, passed: number) => {
    if (refreshing !== undefined) return Deferred.await(refreshing)
    if (passed < notBefore) return Effect.fail(failed("the last try failed just now"))
    const done = Deferred.makeUnsafe<Held, SecretFileError>()
    refreshing = done
    return refresh(held).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          refreshing = undefined
          Deferred.doneUnsafe(done, Exit.isSuccess(exit) ? Exit.succeed(exit.value) : exit)
        }),
      ),
      Effect.forkIn(scope),
      Effect.andThen(Deferred.await(done)),
    )
  }

  const resolvedOf = ({ accessToken, account, clientId, tokenUrl }: Held): Resolved => ({
    headers: Redacted.make({
      authorization: `Bearer ${accessToken}`,
      ...(account === undefined ? {} : { "chatgpt-account-id": account }),
    }),
    identity: identityOf(`token ${path} ${clientId ?? ""} ${tokenUrl ?? ""} ${account ?? ""}`),
  })

  const held = Effect.gen(function* () {
    const held = yield* file.current
    const now = yield* Clock.currentTimeMillis
    const passed = yield* monotonicMillis
    const expiresAt = expiryOf(held)
    if (held.accessToken === refused || expiresAt <= now) return yield* refreshed(held, passed)
    if (expiresAt - now < refreshBefore && refreshing === undefined && passed >= notBefore) {
      yield* Effect.forkIn(Effect.ignore(refreshed(held, passed)), scope)
    }
    return held
  })

  return {
    current: held.pipe(
      Effect.map(resolvedOf),
      Effect.mapError(({ message }) => unavailable(message)),
    ),
    refused: (shown) =>
      Effect.gen(function* () {
        file.lookAgain()
        const { accessToken, refreshToken } = yield* file.current
        const now = yield* monotonicMillis
        // Another token may be in force by now. A token that can't be refreshed is still better than none. And an
        // upstream that refuses a new token too must not cause a refresh with every turn.
        if (shown !== `Bearer ${accessToken}` || refreshToken === undefined || now - refusedAt < longestPause) return
        refusedAt = now
        refused = accessToken
      }).pipe(Effect.ignore),
  }
}
