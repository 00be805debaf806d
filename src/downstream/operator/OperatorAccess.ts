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
import { hash, timingSafeEqual } from "node:crypto"
import { isLoopback } from "../../config/Address.ts"
import { Settings, SettingsError } from "../../config/Settings.ts"
import { cameThroughProxy } from "../../wire/Hops.ts"
import { addressOf } from "../Admission.ts"
import type { ApiError } from "../ApiError.ts"
import * as Origins from "../http/Origins.ts"
import { invalidUrl } from "../http/PassThrough.ts"

type Request = HttpServerRequest.HttpServerRequest

/** A token as a header can carry it. */
const isToken = (text: string) => /^[!-~]+$/.test(text)

/** The token of the settings, or of the file that they name; undefined: there is none. */
const tokenOf = Effect.gen(function* () {
  const { operatorToken, operatorTokenFile: path } = yield* Settings
  if (operatorToken !== undefined || path === undefined) return operatorToken
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(path).pipe(
    Effect.map((text) => text.trim()),
    Effect.mapError(() => new SettingsError({ message: `RESPOOL_OPERATOR_TOKEN_FILE: ${path} can't be read` })),
  )
  if (isToken(text)) return Redacted.make(text)
  const message = `RESPOOL_OPERATOR_TOKEN_FILE: ${path} must hold one text of visible ASCII characters`
  return yield* new SettingsError({ message })
})

const digest = (text: string) => hash("sha256", text, "buffer")

const hostnameOf = (host: string) => host.replace(/:\d*$/, "")

/** Fails with the answer for everybody who may not look. */
type MayLook = (request: Request) => Effect.Effect<void, ApiError>

export const make = Effect.gen(function* () {
  const token = yield* tokenOf
  const expected = token === undefined ? undefined : digest(Redacted.value(token))
  const origins = yield* Origins.make

  const hasToken = ({ headers }: Request, expected: Uint8Array) => {
    const given = /^Bearer +(\S+)$/i.exec(headers["authorization"] ?? "")?.[1]
    return given !== undefined && timingSafeEqual(digest(given), expected)
  }

  const isHere = (request: Request) => {
    const address = addressOf(request)?.replace(/^::ffff:/i, "")
    const host = hostnameOf(request.headers["host"] ?? "")
    return address !== undefined && isLoopback(address) && isLoopback(host) && !cameThroughProxy(request.headers)
  }

  const mayLook: MayLook = (request) =>
    Effect.flatMap(
      Effect.mapError(origins.look(request), () => nothingThere(request)),
      ({ allowed, foreign, refusal }) => {
        // A page that may use the proxy may not look into it.
        const ofAPage = foreign !== undefined || allowed !== undefined
        const may = expected === undefined ? refusal === undefined && isHere(request) : hasToken(request, expected)
        return may && !ofAPage ? Effect.void : Effect.fail(nothingThere(request))
      },
    )
  return mayLook
})

const nothingThere = ({ method, url }: Request) => invalidUrl(method, url)
