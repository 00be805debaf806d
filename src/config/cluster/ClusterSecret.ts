/**
 * The secret that the nodes of a cluster share, and the keys that are made of it, each for one use (HKDF, RFC 5869). The
 * secret itself is never sent, shown or written.
 */
import { Effect, FileSystem, Redacted, Schema } from "effect"
import { hkdfSync } from "node:crypto"
import type { ClusterSettings } from "./ClusterSettings.ts"

/** The secret can't be used. `message` is the line to show. */
class SecretError extends Schema.TaggedError<SecretError>()("SecretError", { message: Schema.String }) {}

/** Makes the key of so many bytes for a use; the same on every node. `salt` tells keys of one use apart. */
export type DeriveKey = (use: string, length: number, salt?: string) => Buffer

/** As `SettingKinds.ts` has it for a secret in the environment. */
const isSecret = (text: string) => /^[!-~]{16,}$/.test(text)

export const deriving =
  (secret: string): DeriveKey =>
  (use, length, salt = "") =>
    Buffer.from(hkdfSync("sha256", secret, salt, `respool ${use}`, length))

/** Undefined: the settings make no cluster. */
export const clusterKeys = Effect.fnUntraced(function* (settings: ClusterSettings) {
  const { clusterAddress, clusterSecret, clusterSecretFile: path } = settings
  if (clusterAddress === undefined) return undefined
  if (clusterSecret !== undefined) return deriving(Redacted.value(clusterSecret))
  if (path === undefined) {
    return yield* new SecretError({ message: "RESPOOL_CLUSTER_ADDRESS needs RESPOOL_CLUSTER_SECRET" })
  }
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(
    fs.readFileString(path),
    () => new SecretError({ message: `RESPOOL_CLUSTER_SECRET_FILE: ${path} can't be read` }),
  )
  const secret = text.trim()
  if (isSecret(secret)) return deriving(secret)
  const message = `RESPOOL_CLUSTER_SECRET_FILE: ${path} must hold 16 or more visible ASCII characters`
  return yield* new SecretError({ message })
})
