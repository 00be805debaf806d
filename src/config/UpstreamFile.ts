/**
 * Reads the upstreams of `respool.json`, with the files that they name.
 *
 *     "upstreams": {
 *       "openai": { "apiKeyFile": "openai.key" },
 *       "xai": { "profile": "xai", "models": ["grok-*"], "apiKeyFile": "xai.key" }
 *     },
 *     "defaultUpstream": "openai"
 *
 * Each mistake is one line that names the file, the upstream and the field.
 */
import { Effect, FileSystem, Redacted } from "effect"
import { isOpenToOthers, lookAt, readText, whyUnread } from "./Files.ts"
import { readTls } from "./PemFiles.ts"
import { isApiKey } from "./SettingKinds.ts"
import { nearest } from "./SettingNames.ts"
import { tlsFiles, upstreamRows } from "./SettingRows.ts"
import type { SettingsError } from "./SettingsError.ts"
import type { CredentialSettings } from "./CredentialSettings.ts"
import type { ForAll, Rows, Spell } from "./UpstreamSettings.ts"
import { filledIn, readField, together, wrong } from "./UpstreamSettings.ts"

const ofCredential = ["apiKey", "apiKeyFile", "codexAuth", "tokenFile", "credential"] as const

const fields = [...Object.keys(upstreamRows), ...ofCredential, ...tlsFiles]

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A text, a number, or a list of texts, as a row reads it; undefined: it is something else. */
const asText = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  if (typeof value === "number") return String(value)
  return Array.isArray(value) && value.every((part) => typeof part === "string") ? value.join(",") : undefined
}

const keyIn = Effect.fnUntraced(function* (path: string, spelled: string) {
  const fs = yield* FileSystem.FileSystem
  const named = `${spelled}=${JSON.stringify(path)}`
  const text = yield* Effect.mapError(readText(fs, path), (error) => wrong(`${named}: the file ${whyUnread(error)}`))
  const { mode } = yield* lookAt(fs, path)
  if (isOpenToOthers(mode)) {
    return yield* wrong(`${named}: the file is open to other users of this machine: run \`chmod 600\` on it`)
  }
  if (!isApiKey(text)) return yield* wrong(`${named}: expected a file with a key in it and nothing else`)
  return Redacted.make(text.trim())
})

/** Which of the ways to a credential an upstream names; it may name one. */
const credentialIn = Effect.fnUntraced(function* (
  texts: Readonly<Record<string, string | undefined>>,
  name: string,
  spell: Spell,
): Effect.fn.Return<CredentialSettings | undefined, SettingsError, FileSystem.FileSystem> {
  const { apiKey, apiKeyFile, codexAuth, credential, tokenFile } = texts
  const said = Object.entries({ apiKey, apiKeyFile, codexAuth, credential, tokenFile }).flatMap(([field, value]) =>
    value === undefined ? [] : [field],
  )
  if (said.length > 1) return yield* wrong(`${spell(name)} names ${said.join(" and ")}: say one`)
  if (apiKey !== undefined) {
    if (!isApiKey(apiKey)) return yield* wrong(`${spell(name, "apiKey")}: expected a text of visible ASCII characters`)
    return { _tag: "Fixed", apiKey: Redacted.make(apiKey.trim()) }
  }
  if (apiKeyFile !== undefined) return { _tag: "Fixed", apiKey: yield* keyIn(apiKeyFile, spell(name, "apiKeyFile")) }
  if (codexAuth !== undefined) return { _tag: "CodexAuth", path: codexAuth }
  if (tokenFile !== undefined) return { _tag: "TokenFile", path: tokenFile }
  if (credential === undefined) return undefined
  if (credential === "caller") return { _tag: "Caller" }
  return yield* wrong(`${spell(name, "credential")}: expected caller`)
})

/** What one upstream says of itself. */
const writtenIn = Effect.fnUntraced(function* (name: string, value: unknown, spell: Spell) {
  if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
    return yield* wrong(`${spell(name)}: a name is 1 to 64 letters, digits and ._- and begins with none of these signs`)
  }
  if (!isRecord(value)) return yield* wrong(`${spell(name)} must be an object`)
  const texts: Record<string, string | undefined> = {}
  for (const [field, given] of Object.entries(value)) {
    if (!fields.includes(field)) {
      return yield* wrong(`${spell(name)}: there is no setting "${field}"; the nearest is "${nearest(field, fields)}"`)
    }
    const text = asText(given)
    if (text === undefined) return yield* wrong(`${spell(name, field)} must be a text, a number or a list of texts`)
    if (text !== "") texts[field] = text
  }
  const said: Record<string, unknown> = {}
  for (const field of Object.keys(upstreamRows) as ReadonlyArray<keyof Rows>) {
    const text = texts[field]
    if (text !== undefined) said[field] = yield* readField(field, text, spell(name, field))
  }
  const file = (field: string) => ({ spelled: spell(name, field), path: texts[field] })
  const tls = yield* readTls({ ca: file("tlsCa"), cert: file("tlsCert"), key: file("tlsKey") }).pipe(
    Effect.mapError(({ message }) => wrong(message)),
  )
  return { name, said, credential: yield* credentialIn(texts, name, spell), tls }
})

/** What `respool.json` says: `upstreams`, and the name of the default one. `path` is the file's, for errors. */
export const upstreamsIn = Effect.fnUntraced(function* (
  json: Readonly<Record<string, unknown>>,
  all: ForAll,
  path: string,
) {
  const { defaultUpstream, upstreams } = json
  if (defaultUpstream !== undefined && typeof defaultUpstream !== "string") {
    return yield* wrong(`${path}: "defaultUpstream" must be the name of an upstream`)
  }
  if (upstreams === undefined) {
    if (defaultUpstream === undefined) return undefined
    return yield* wrong(`${path}: "defaultUpstream" needs "upstreams"`)
  }
  if (!isRecord(upstreams)) return yield* wrong(`${path}: "upstreams" must be an object of upstreams by their names`)
  const spell: Spell = (name, field) => `${path}: upstreams.${name}${field === undefined ? "" : `.${field}`}`
  const each = yield* Effect.forEach(
    Object.entries(upstreams),
    Effect.fnUntraced(function* ([name, value]) {
      const written = yield* writtenIn(name, value, spell)
      return { settings: yield* filledIn(written, all, spell), saysCredential: written.credential !== undefined }
    }),
  )
  const settings = each.map((upstream) => upstream.settings)
  const result = yield* together(settings, defaultUpstream, {
    upstream: spell,
    all: `${path}: upstreams`,
    chosen: `${path}: defaultUpstream`,
  })
  // A caller's key is for one upstream: that another gets it as well must be said.
  const silent = each.find(({ saysCredential, settings }) => settings !== result[0] && !saysCredential)
  if (silent !== undefined) {
    const { name } = silent.settings
    const ways = `apiKeyFile, apiKey, tokenFile or codexAuth, or "credential": "caller" to pass the caller's on`
    return yield* wrong(`${spell(name)} does not say which credential it gets: ${ways}`)
  }
  return result
})
