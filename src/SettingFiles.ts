/**
 * Reads the PEM files that settings name.
 */
import { Effect, FileSystem, Schema } from "effect"

/** Certificates and keys as PEM texts. */
export interface Tls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/** A file that can't be used. `message` is the one line to show. */
export class PemError extends Schema.TaggedError<PemError>()("PemError", { message: Schema.String }) {}

type Name = "tlsCa" | "tlsCert" | "tlsKey" | "listenTlsCert" | "listenTlsKey"

/** A certificate and its key come together, or neither does. `spell` says how a setting's name was spelled. */
export const readTls = Effect.fnUntraced(function* (
  paths: Readonly<Record<Name, string | undefined>>,
  spell: (name: Name) => string,
) {
  const fs = yield* FileSystem.FileSystem
  const read = Effect.fnUntraced(function* (name: Name) {
    const path = paths[name]
    if (path === undefined) return undefined
    const wrong = (what: string) => new PemError({ message: `${spell(name)}=${JSON.stringify(path)}: ${what}` })
    const pem = yield* Effect.mapError(fs.readFileString(path), () => wrong("the file can't be read"))
    if (!/-----BEGIN [A-Z ]+-----/.test(pem)) return yield* wrong("expected a file in PEM form")
    return pem
  })
  const pair = Effect.fnUntraced(function* (certName: Name, keyName: Name, spelled: string) {
    const cert = yield* read(certName)
    const key = yield* read(keyName)
    if (cert !== undefined && key !== undefined) return { cert, key }
    if (cert === undefined && key === undefined) return undefined
    return yield* new PemError({ message: `${spelled}_CERT and ${spelled}_KEY must be set together` })
  })
  const ca = yield* read("tlsCa")
  const own = yield* pair("tlsCert", "tlsKey", "RESPOOL_TLS")
  const tls: Tls | undefined =
    ca === undefined && own === undefined ? undefined : { ...(ca === undefined ? {} : { ca }), ...own }
  return { tls, listenTls: yield* pair("listenTlsCert", "listenTlsKey", "RESPOOL_LISTEN_TLS") }
})
