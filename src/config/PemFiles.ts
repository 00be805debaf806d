/**
 * Reads the PEM files that settings name.
 */
import { Effect, FileSystem, Schema } from "effect"
import { readText, whyUnread } from "./Files.ts"

/** Certificates and keys as PEM texts. */
export interface Tls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/** A file that can't be used. `message` is the line to show. */
class PemError extends Schema.TaggedError<PemError>()("PemError", { message: Schema.String }) {}

/** A name in the settings and the path that it has there. */
interface NamedPath {
  readonly spelled: string
  readonly path: string | undefined
}

const pemIn = Effect.fnUntraced(function* ({ path, spelled }: NamedPath) {
  if (path === undefined) return undefined
  const wrong = (what: string) => new PemError({ message: `${spelled}=${JSON.stringify(path)}: ${what}` })
  const fs = yield* FileSystem.FileSystem
  const pem = yield* Effect.mapError(readText(fs, path), (error) => wrong(`the file ${whyUnread(error)}`))
  if (!/-----BEGIN [A-Z ]+-----/.test(pem)) return yield* wrong("expected a file in PEM form")
  return pem
})

/** A certificate and its key come together, or neither does. */
export const readPair = Effect.fnUntraced(function* (certFile: NamedPath, keyFile: NamedPath) {
  const cert = yield* pemIn(certFile)
  const key = yield* pemIn(keyFile)
  if (cert !== undefined && key !== undefined) return { cert, key }
  if (cert === undefined && key === undefined) return undefined
  return yield* new PemError({ message: `${certFile.spelled} and ${keyFile.spelled} must be set together` })
})

/** What an upstream's certificate is verified by, and the certificate that it is shown; undefined: no file is named. */
export const readTls = Effect.fnUntraced(function* (files: {
  readonly ca: NamedPath
  readonly cert: NamedPath
  readonly key: NamedPath
}) {
  const ca = yield* pemIn(files.ca)
  const pair = yield* readPair(files.cert, files.key)
  const tls: Tls | undefined =
    ca === undefined && pair === undefined ? undefined : { ...(ca === undefined ? {} : { ca }), ...pair }
  return tls
})
