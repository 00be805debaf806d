/**
 * The settings of each upstream: what it says of itself, then what its profile knows, then the settings of the same
 * names for all.
 *
 * A request goes to the upstream that serves its model, else to the default one, which is the first unless it is named.
 */
import type { Redacted } from "effect"
import { ConfigProvider, Effect } from "effect"
import type { Tls } from "./PemFiles.ts"
import type { Row, ValueOf } from "./SettingKinds.ts"
import { nearest } from "./SettingNames.ts"
import { upstreamRows } from "./SettingRows.ts"
import { SettingsError } from "./SettingsError.ts"
import type { CredentialSettings } from "./CredentialSettings.ts"
import type { ProfileName } from "./Profile.ts"
import { baseOf, profileOf, profiles } from "./Profile.ts"

/** One upstream, with all that it did not say filled in. Times in ms, sizes in bytes. */
export interface UpstreamSettings {
  /** For logs and for people. */
  readonly name: string
  readonly profile: ProfileName
  /** The base for HTTP, `https://…/v1`. */
  readonly url: string
  readonly transport: "auto" | "websocket" | "http"
  readonly credential: CredentialSettings
  /** Models that it serves, in which `*` stands for anything. The default upstream serves what no other does. */
  readonly models: ReadonlyArray<string>
  readonly maxAge: number
  readonly idleTtl: number
  readonly maxMessage: number
  /** Client headers that are sent on the upgrade as well, in lower case. */
  readonly forwardHeaders: ReadonlyArray<string>
  readonly tls: Tls | undefined
  readonly tlsVerify: "on" | "off"
  /** On the way there; undefined: what the environment says. */
  readonly proxy: Redacted.Redacted<string> | undefined
}

export type Rows = typeof upstreamRows
type Said = { -readonly [K in keyof Rows]?: ValueOf<Rows[K]> }

/** What holds for every upstream that says nothing else of itself. */
export type ForAll = Omit<UpstreamSettings, "name" | "profile" | "url" | "credential" | "models">

/** An upstream as code gives it: what is left out is filled in. */
export type UpstreamOptions = Partial<UpstreamSettings> & { readonly name: string }

/** How a field of an upstream is called in an error. */
export type Spell = (name: string, field?: string) => string

export const wrong = (message: string) => new SettingsError({ message })

export const readField = (field: keyof Rows, text: string, spelled: string) => {
  const { allowed, read, secret } = upstreamRows[field] as Row<unknown>
  return read(field)
    .parse(ConfigProvider.fromUnknown({ [field]: text }))
    .pipe(
      Effect.mapError(() =>
        wrong(`${spelled}${secret || field === "url" ? "" : `=${JSON.stringify(text)}`}: expected ${allowed}`),
      ),
    )
}

/** What one upstream says of itself, in the file or in code. */
export interface Written {
  readonly name: string
  readonly said: Said
  readonly credential: CredentialSettings | undefined
  readonly tls: Tls | undefined
}

const settingsOf = (
  name: string,
  profile: ProfileName,
  written: string,
  said: Said,
  credential: CredentialSettings | undefined,
  tls: Tls | undefined,
  all: ForAll,
): UpstreamSettings => {
  const known = profiles[profile]
  return {
    name,
    profile,
    url: baseOf(written, known),
    transport: said.transport ?? all.transport,
    credential: credential ?? { _tag: "Caller" },
    models: said.models ?? [],
    // What holds for all was not meant to pass what one of them can bear.
    maxAge: said.maxAge ?? (all.maxAge < known.cap ? all.maxAge : known.maxAge),
    idleTtl: said.idleTtl ?? all.idleTtl,
    maxMessage: said.maxMessage ?? Math.min(all.maxMessage, known.maxMessage),
    forwardHeaders: said.forwardHeaders ?? all.forwardHeaders,
    tls: tls ?? all.tls,
    tlsVerify: said.tlsVerify ?? all.tlsVerify,
    proxy: said.proxy ?? all.proxy,
  }
}

export const filledIn = Effect.fnUntraced(function* (
  { credential, name, said, tls }: Written,
  all: ForAll,
  spell: Spell,
) {
  const written = said.url ?? (said.profile === undefined ? undefined : profiles[said.profile].url)
  if (written === undefined) {
    return yield* wrong(
      said.profile === undefined
        ? `${spell(name)} needs a "url" or a "profile"`
        : `${spell(name)} needs a "url": the profile ${said.profile} knows none`,
    )
  }
  const profile = said.profile ?? profileOf(written)
  const known = profiles[profile]
  const transport = said.transport ?? all.transport
  if (transport === "http" && /^ws/i.test(written)) {
    return yield* wrong(`${spell(name, "url")} names a WebSocket, but its transport is http`)
  }
  if (said.maxAge !== undefined && said.maxAge >= known.cap) {
    return yield* wrong(
      `${spell(name, "maxAge")} must be below the ${known.cap / 60_000} minutes that a connection lives there`,
    )
  }
  if (said.maxMessage !== undefined && said.maxMessage > known.maxMessage) {
    return yield* wrong(
      `${spell(name, "maxMessage")} must be at most the ${known.maxMessage} bytes that are taken there`,
    )
  }
  if (credential?._tag === "CodexAuth" && profile !== "codex") {
    return yield* wrong(`${spell(name, "codexAuth")} is for the profile codex, and this one is ${profile}`)
  }
  return settingsOf(name, profile, written, said, credential, tls, all)
})

/** The one upstream there is where none is named: what the settings for all say. */
export const onlyUpstream = (
  upstreamUrl: string,
  profile: ProfileName | undefined,
  all: ForAll,
): readonly [UpstreamSettings] => [
  settingsOf("default", profile ?? profileOf(upstreamUrl), upstreamUrl, {}, undefined, undefined, all),
]

export type Upstreams = readonly [UpstreamSettings, ...ReadonlyArray<UpstreamSettings>]

/** Names of those that no request can reach: they are not the default one, and say no models. */
export const unreached = ([, ...others]: Upstreams): ReadonlyArray<string> =>
  others.filter(({ models }) => models.length === 0).map(({ name }) => name)

export const noModelLeadsThere = 'no model leads to these upstreams: they say no "models"'

/** For callers with keys of this proxy: in place of a credential of theirs, upstreams are shown the account's key. */
export const withAccountKey = ([first, ...others]: Upstreams, apiKey: Redacted.Redacted<string>): Upstreams => {
  const keyed = (upstream: UpstreamSettings): UpstreamSettings =>
    upstream.credential._tag === "Caller" ? { ...upstream, credential: { _tag: "Fixed", apiKey } } : upstream
  return [keyed(first), ...others.map(keyed)]
}

export const together = Effect.fnUntraced(function* (
  upstreams: ReadonlyArray<UpstreamSettings>,
  defaultUpstream: string | undefined,
  spell: { readonly upstream: Spell; readonly all: string; readonly chosen: string },
) {
  const names = upstreams.map(({ name }) => name)
  const stands = upstreams.find(({ name }, at) => names.indexOf(name) !== at)
  if (stands !== undefined) return yield* wrong(`${spell.all}: two are named "${stands.name}"`)
  if (defaultUpstream !== undefined && !names.includes(defaultUpstream)) {
    const none = `there is no upstream "${defaultUpstream}"; the nearest is "${nearest(defaultUpstream, names)}"`
    return yield* wrong(`${spell.chosen}: ${none}`)
  }
  const served = new Map<string, string>()
  for (const { models, name } of upstreams) {
    for (const model of models) {
      const other = served.get(model)
      if (other !== undefined) {
        return yield* wrong(`${spell.upstream(name, "models")}: "${model}" is served by "${other}" already`)
      }
      served.set(model, name)
    }
  }
  const first = upstreams.find(({ name }) => name === defaultUpstream) ?? upstreams[0]
  if (first === undefined) return yield* wrong(`${spell.all} names no upstream`)
  const result: Upstreams = [first, ...upstreams.filter((upstream) => upstream !== first)]
  return result
})

/** Upstreams that code gives; the same rules hold. */
export const upstreamsGiven = Effect.fnUntraced(function* (given: ReadonlyArray<UpstreamOptions>, all: ForAll) {
  const spell: Spell = (name, field) => `Settings.layer: upstreams.${name}${field === undefined ? "" : `.${field}`}`
  const upstreams = yield* Effect.forEach(
    given,
    Effect.fnUntraced(function* (options) {
      const said: Record<string, unknown> = {}
      for (const field of Object.keys(upstreamRows) as ReadonlyArray<keyof Rows>) {
        if (options[field] === undefined) continue
        const text = (upstreamRows[field] as Row<unknown>).written(options[field])
        if (text !== "") said[field] = yield* readField(field, text, spell(options.name, field))
      }
      return yield* filledIn({ name: options.name, said, credential: options.credential, tls: options.tls }, all, spell)
    }),
  )
  return yield* together(upstreams, undefined, { upstream: spell, all: "Settings.layer: upstreams", chosen: "" })
})
