/**
 * Reads `respool.json`, or the file that `RESPOOL_CONFIG` names, as a JSON object, and says where it is none.
 */
import type { PlatformError } from "effect"
import { Config, Effect, FileSystem, Option, Result } from "effect"
import { CanonicalWriter } from "../wire/Canonical.ts"
import { scanObject } from "../wire/Json.ts"
import { readText, whyUnread } from "./Files.ts"
import { SettingsError } from "./SettingsError.ts"

const named = "RESPOOL_CONFIG"

/** Where the file is, or would be. */
export const settingsPath = Effect.gen(function* () {
  const set = Option.getOrUndefined(yield* Config.option(Config.NonEmptyString(named)))
  return { path: set ?? "respool.json", isNamed: set !== undefined }
}).pipe(Effect.mapError((error) => new SettingsError({ message: `${named}: ${error.message}` })))

/** Where a byte stands, counted from 1, the column in characters. */
const lineAndColumn = (bytes: Uint8Array, position: number): string => {
  const before = new TextDecoder().decode(bytes.subarray(0, position)).split("\n")
  return `line ${before.length}, column ${(before.at(-1) ?? "").length + 1}`
}

/**
 * Names and values; none where no file was named and there is none. A name that appears twice anywhere is refused, since
 * it can't be known which of the two was meant.
 */
export const readSettingsFile = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const { isNamed, path } = yield* settingsPath
  const json: Readonly<Record<string, unknown>> = {}
  const unread = (error: PlatformError.PlatformError) => {
    const shown = isNamed ? `${named}=${JSON.stringify(path)}` : path
    return new SettingsError({ message: `${shown}: the file ${whyUnread(error)}` })
  }
  if (!isNamed && !(yield* Effect.mapError(fs.exists(path), unread))) return { path, json }
  const text = yield* Effect.mapError(readText(fs, path), unread)
  const bytes = new TextEncoder().encode(text)
  const scanned = scanObject(bytes)
  if (Result.isFailure(scanned)) {
    const message = `${path} is not a JSON object: see ${lineAndColumn(bytes, scanned.failure.position)}`
    return yield* new SettingsError({ message })
  }
  const names = new Set<string>()
  const writer = new CanonicalWriter()
  for (const { end, key, start } of scanned.success) {
    if (names.has(key)) return yield* new SettingsError({ message: `${path}: "${key}" appears twice` })
    names.add(key)
    writer.reset()
    writer.value(bytes, { start, end })
    if (writer.hasDuplicateMember) {
      return yield* new SettingsError({ message: `${path}: a name appears twice inside "${key}"` })
    }
  }
  return { path, json: JSON.parse(text.replace(/^\ufeff/, "")) as typeof json }
})
