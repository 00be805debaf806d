/**
 * Says who may look into the proxy: read its metrics, and whatever else shows what goes on in it.
 *
 * Without a token that is whoever is on this machine: the caller's address and the `Host` that it asks for are of
 * loopback, it is no page of another origin (`Origins`), and nothing says that a proxy stands between. With a token it is
 * whoever has that, from anywhere, but no page of another origin. Everybody else is told that there is nothing at that
 * URL, as for any other that does not exist.
 */
import { Effect, FileSystem, Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import { hash, randomBytes, timingSafeEqual } from "node:crypto"
import { isLoopback } from "../../config/Address.ts"
import { Settings, SettingsError } from "../../config/Settings.ts"
import { cameThroughProxy } from "../../wire/Hops.ts"
import { addressOf } from "../Admission.ts"
import type { ApiError } from "../ApiError.ts"
import * as Origins from "../http/Origins.ts"
import { invalidUrl } from "../http/PassThrough.ts"

type Request = HttpServerRequest.HttpServerRequest

/** A token as a header can carry it. */
const isSendable = (text: string) => /^[!-~]+$/.test(text)

/** The token of the settings, or of the file that they name; undefined: there is none. */
export const tokenOf = Effect.gen(function* () {
  const { operatorToken, operatorTokenFile: path } = yield* Settings
  if (operatorToken !== undefined || path === undefined) return operatorToken
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(path).pipe(
    Effect.map((text) => text.trim()),
    Effect.mapError(() => new SettingsError({ message: `RESPOOL_OPERATOR_TOKEN_FILE: ${path} can't be read` })),
  )
  if (isSendable(text)) return Redacted.make(text)
  const message = `RESPOOL_OPERATOR_TOKEN_FILE: ${path} must hold one text of visible ASCII characters`
  return yield* new SettingsError({ message })
})

const digest = (text: string) => hash("sha256", text, "buffer")

const hostnameOf = (host: string) => host.replace(/:\d*$/, "")

/** Fails with the answer for everybody who may not look. */
type MayLook = (request: Request) => Effect.Effect<void, ApiError>

export interface OperatorAccess {
  /** By the token, or without one from this machine. */
  readonly mayLook: MayLook
  /** The same, and by the cookie that `signIn` gave. */
  readonly mayLookAtPage: MayLook
  /** Whether a person may be asked for the token: there is one, and the page is asked for under a name of the proxy. */
  readonly mayBeAsked: (request: Request) => Effect.Effect<boolean, ApiError>
  /** The cookie for whoever has the token; undefined: it is another one. */
  readonly signIn: (token: string) => string | undefined
}

/** The cookie's name; it holds until the proxy ends, since its value is drawn at the start. */
export const cookieName = "respool_operator"

export const make: Effect.Effect<OperatorAccess, SettingsError, FileSystem.FileSystem | Settings> = Effect.gen(
  function* () {
    const token = yield* tokenOf
    const expected = token === undefined ? undefined : digest(Redacted.value(token))
    const origins = yield* Origins.make
    const cookie = randomBytes(32).toString("base64url")
    const expectedCookie = digest(cookie)

    const isToken = (given: string | undefined) =>
      given !== undefined && expected !== undefined && timingSafeEqual(digest(given), expected)

    const hasToken = ({ headers }: Request) => isToken(/^Bearer +(\S+)$/i.exec(headers["authorization"] ?? "")?.[1])

    const hasCookie = ({ cookies }: Request) => {
      const given = cookies[cookieName]
      return expected !== undefined && given !== undefined && timingSafeEqual(digest(given), expectedCookie)
    }

    const isHere = (request: Request) => {
      const address = addressOf(request)?.replace(/^::ffff:/i, "")
      const host = hostnameOf(request.headers["host"] ?? "")
      return address !== undefined && isLoopback(address) && isLoopback(host) && !cameThroughProxy(request.headers)
    }

    /** A page that may use the proxy may not look into it. */
    const isOfAPage = ({ allowed, foreign }: Origins.Seen) => foreign !== undefined || allowed !== undefined

    const look = (request: Request) => Effect.mapError(origins.look(request), () => nothingThere(request))

    const checked =
      (may: (request: Request, refusal: ApiError | undefined) => boolean): MayLook =>
      (request) =>
        Effect.flatMap(look(request), (seen) =>
          may(request, seen.refusal) && !isOfAPage(seen) ? Effect.void : Effect.fail(nothingThere(request)),
        )

    const may = (request: Request, refusal: ApiError | undefined) =>
      expected === undefined ? refusal === undefined && isHere(request) : hasToken(request)

    return {
      mayLook: checked(may),
      // A name that somebody made lead here gets no cookie from a browser, and is told nothing with one either.
      mayLookAtPage: checked(
        (request, refusal) => may(request, refusal) || (refusal === undefined && hasCookie(request)),
      ),
      mayBeAsked: (request) =>
        Effect.map(look(request), (seen) => expected !== undefined && seen.refusal === undefined && !isOfAPage(seen)),
      signIn: (given) => (isToken(given) ? cookie : undefined),
    }
  },
)

export const nothingThere = ({ method, url }: Pick<Request, "method" | "url">) => invalidUrl(method, url)
