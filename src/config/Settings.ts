/**
 * Reads the settings of the table in `SettingRows.ts`, and holds them against each other.
 *
 * They are read through Effect's `Config`, from the environment (`RESPOOL_UPSTREAM_URL`) and, below it, `respool.json`
 * (`upstreamUrl`). Durations are milliseconds and sizes bytes once read. A wrong one stops the start with one line that
 * names it, its value and what is allowed. `Settings.layer(partial)` is for apps that configure in code.
 */
import { Config, ConfigProvider, Context, Effect, Layer, Option } from "effect"
import { isLoopback, leadsTo } from "./Address.ts"
import type { Row, ValueOf } from "./SettingKinds.ts"
import type { Tls } from "./PemFiles.ts"
import { readPair, readTls } from "./PemFiles.ts"
import { nearest, strayNames, withoutNames } from "./SettingNames.ts"
import { rows } from "./SettingRows.ts"
import { SettingsError } from "./SettingsError.ts"
import { readSettingsFile, settingsPath } from "./SettingsFile.ts"
import { upstreamsIn } from "./UpstreamFile.ts"
import type { UpstreamOptions, Upstreams } from "./UpstreamSettings.ts"
import { onlyUpstream, upstreamsGiven, withAccountKey } from "./UpstreamSettings.ts"
import { clusterProblem } from "./cluster/ClusterSettings.ts"
import { profiles } from "./Profile.ts"
import type { EnvironmentProxies } from "./ProxyRules.ts"
import { environmentProxies, noProxies, proxyFor } from "./ProxyRules.ts"

/** A refused address may hold a password or a key: what is none of host and path is not shown. */
const masked = (value: string) => value.replace(/^([a-z]+:\/\/)?.*@/is, "$1…@").replace(/[?#].*$/s, "?…")

type Rows = typeof rows
type Loaded = { readonly [K in keyof Rows]: ValueOf<Rows[K]> }

export { rows } from "./SettingRows.ts"
export { SettingsError } from "./SettingsError.ts"

export interface SettingsValues extends Loaded {
  /** What the `tls*` files hold; undefined: none was named. */
  readonly tls: Tls | undefined
  /** What the `listenTls*` files hold. */
  readonly listenTls: { readonly cert: string; readonly key: string } | undefined
  /** Where requests go, the default upstream first. Only they are used, not the settings above that they are made of. */
  readonly upstreams: Upstreams
  /** The file that names them; undefined: code does, or none is named and the settings above describe the only one. */
  readonly upstreamsFile: string | undefined
  /** `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; of settings given in code only what they say. */
  readonly environmentProxies: EnvironmentProxies
  /** Lines for the log of the start: what was found that is no mistake, but may not be meant. */
  readonly remarks: ReadonlyArray<string>
}

/** What code may set: any of them, and several upstreams, the default one first. */
export type SettingsOptions = Partial<Omit<SettingsValues, "upstreams" | "upstreamsFile" | "remarks">> & {
  readonly upstreams?: ReadonlyArray<UpstreamOptions>
}

/** `upstreamUrl` as the environment spells it. */
export const environmentName = (name: string) =>
  `${prefix}_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

const prefix = "RESPOOL"

const names = Object.keys(rows) as ReadonlyArray<keyof Rows>

/** With the one upstream that they describe. */
export const withOnlyUpstream = (settings: Omit<SettingsValues, "upstreams" | "upstreamsFile">): SettingsValues => ({
  ...settings,
  upstreamsFile: undefined,
  upstreams: onlyUpstream(settings.upstreamUrl, settings.profile, settings),
})

export class Settings extends Context.Service<Settings, SettingsValues>()("respool/Settings") {
  static readonly defaults: SettingsValues = withOnlyUpstream({
    ...(Object.fromEntries(names.map((name) => [name, rows[name].fallback])) as unknown as Loaded),
    tls: undefined,
    listenTls: undefined,
    environmentProxies: noProxies,
    remarks: [],
  })

  /** The defaults, but for the settings that an app gives; those are held to the same rules. */
  static readonly layer = (options: SettingsOptions = {}): Layer.Layer<Settings, SettingsError> =>
    Layer.effect(
      Settings,
      Effect.suspend(() => given(options)),
    )

  /** From the environment, and below it from `respool.json`, or the file that `RESPOOL_CONFIG` names. */
  static readonly read = Effect.gen(function* () {
    const loaded = yield* load
    yield* checkTogether(loaded)
    return keyed(loaded.settings)
  })

  /** The same for a proxy that runs: what it started with decides, until the next start, who gets at its upstreams. */
  static readonly readWhile = ({ auth, host, upstreamApiKey }: SettingsValues) =>
    Effect.gen(function* () {
      const loaded = yield* load
      yield* checkTogether(loaded)
      const { settings } = loaded
      yield* Effect.mapError(
        checkTogether({ ...loaded, settings: { ...settings, auth, host, upstreamApiKey } }),
        ({ message }) => new SettingsError({ message: `until the next start, ${message}` }),
      )
      return keyed(settings, { auth, upstreamApiKey })
    })

  /** Where that file is, or would be. */
  static readonly path = Effect.suspend(() => Effect.map(settingsPath, ({ path }) => path))

  static readonly layerConfig = Layer.effect(Settings, Settings.read)

  /** The same for commands that serve nothing, so that settings which only fit together when serving don't matter. */
  static readonly layerConfigUnchecked = Layer.effect(
    Settings,
    Effect.suspend(() => Effect.map(load, ({ settings }) => keyed(settings))),
  )
}

/** How a setting is called in an error: its name as it is spelled where it is set, and which file that is. */
type Spell = (name: keyof Rows) => string

const refused = (name: keyof Rows, spell: Spell, value: string | undefined) => {
  const shown = rows[name].secret ? "" : `=${JSON.stringify(masked(value ?? ""))}`
  return new SettingsError({ message: `${spell(name)}${shown}: expected ${rows[name].allowed}` })
}

/** A profile stands for its URL, too: a key for that upstream must not go to the default one where no URL is set. */
const atItsUrl = (values: Loaded, isSaid: boolean, spell: Spell): Effect.Effect<Loaded, SettingsError> => {
  const { profile } = values
  if (profile === undefined || isSaid) return Effect.succeed(values)
  const { url } = profiles[profile]
  if (url !== undefined) return Effect.succeed({ ...values, upstreamUrl: url })
  const message = `${spell("profile")}=${profile} needs ${spell("upstreamUrl")}: that profile knows no URL`
  return Effect.fail(new SettingsError({ message }))
}

/** Values are written as texts and read again, so that code can set no more, and nothing else, than a file can. */
const given = Effect.fnUntraced(function* (options: SettingsOptions) {
  const { environmentProxies = noProxies, listenTls, tls, upstreams } = options
  const values: Record<string, unknown> = { ...Settings.defaults, tls, listenTls, environmentProxies }
  const spell: Spell = (name) => `Settings.layer: ${name}`
  for (const name of names) {
    if (options[name] === undefined) continue
    const { read, written } = rows[name] as Row<unknown>
    const text = written(options[name])
    // As the environment has it: what is set to nothing is not set.
    if (text === "") continue
    values[name] = yield* read(name)
      .parse(ConfigProvider.fromUnknown({ [name]: text }))
      .pipe(Effect.mapError(() => refused(name, spell, text)))
  }
  const isSaid = options.upstreamUrl !== undefined || upstreams !== undefined
  const placed = yield* atItsUrl(values as unknown as Loaded, isSaid, spell)
  const problem = clusterProblem(placed, placed.port, spell)
  if (problem !== undefined) return yield* new SettingsError({ message: problem })
  const settings = withOnlyUpstream({ ...placed, tls, listenTls, environmentProxies, remarks: [] })
  if (upstreams === undefined) return keyed(settings)
  return keyed({ ...settings, upstreams: yield* upstreamsGiven(upstreams, settings) })
})

/** In `keys` mode no upstream is shown what a caller brings. */
const keyed = (
  settings: SettingsValues,
  { auth, upstreamApiKey }: Pick<SettingsValues, "auth" | "upstreamApiKey"> = settings,
): SettingsValues =>
  auth === "keys" && upstreamApiKey !== undefined
    ? { ...settings, upstreams: withAccountKey(settings.upstreams, upstreamApiKey) }
    : settings

/** What only the file can say. */
const ofUpstreams: ReadonlySet<string> = new Set(["upstreams", "defaultUpstream"])

const jsonFile = Effect.gen(function* () {
  const { json, path } = yield* readSettingsFile
  for (const [name, value] of Object.entries(json)) {
    if (ofUpstreams.has(name)) continue
    if (!Object.hasOwn(rows, name)) {
      const message = `${path}: there is no setting "${name}"; the nearest is "${nearest(name, [...names, ...ofUpstreams])}"`
      return yield* new SettingsError({ message })
    }
    if (typeof value !== "string" && typeof value !== "number") {
      return yield* new SettingsError({ message: `${path}: "${name}" must be a text or a number` })
    }
  }
  return { path, json }
})

/** A name that begins as ours do and is none would leave its setting at the default without a word. */
const checkNames = Effect.fnUntraced(function* (environment: ConfigProvider.ConfigProvider) {
  const known = [...names.map(environmentName), `${prefix}_CONFIG`]
  const { ofKubernetes, stray } = yield* strayNames(environment, prefix, known)
  if (stray === undefined) return ofKubernetes
  return yield* new SettingsError({
    message: `${stray}: there is no such setting; the nearest is ${nearest(stray, known)}`,
  })
})

/** A line for the log, where there is anything to say. */
const ignored = (ofKubernetes: ReadonlyArray<string>) =>
  ofKubernetes.length === 0
    ? []
    : [
        `Kubernetes set ${ofKubernetes.join(", ")} for a Service: they are no settings of this proxy, and are ignored (\`enableServiceLinks: false\` in the pod leaves them out)`,
      ]

const load = Effect.gen(function* () {
  const environment = yield* ConfigProvider.ConfigProvider
  const ofKubernetes = yield* checkNames(environment)
  const { json, path } = yield* jsonFile
  const upper = withoutNames(environment, ofKubernetes).pipe(
    ConfigProvider.mapInput(([name]) => [environmentName(String(name))]),
  )
  const lower = ConfigProvider.fromUnknown(Object.fromEntries(Object.entries(json).map(([k, v]) => [k, String(v)])))
  const provider = ConfigProvider.orElse(upper, lower)
  const text = (from: ConfigProvider.ConfigProvider, name: string) =>
    Effect.map(Effect.option(Config.String(name).parse(from)), Option.getOrUndefined)
  const inFile = new Set<string>()
  const spell: Spell = (name) => (inFile.has(name) ? `${path}: ${name}` : environmentName(name))
  const values: Record<string, unknown> = {}
  for (const name of names) {
    const { fallback, read } = rows[name] as Row<unknown>
    if (Object.hasOwn(json, name) && (yield* text(upper, name)) === undefined) inFile.add(name)
    values[name] = yield* read(name)
      .pipe(Config.withDefault(fallback))
      .parse(provider)
      .pipe(
        Effect.catch(() => Effect.flatMap(text(provider, name), (value) => Effect.fail(refused(name, spell, value)))),
      )
  }
  const isSaid = ((yield* text(provider, "upstreamUrl")) ?? "") !== ""
  const loaded = yield* atItsUrl(values as unknown as Loaded, isSaid, spell)
  const file = (name: keyof Rows) => ({ spelled: spell(name), path: loaded[name] as string | undefined })
  const files = Effect.all({
    tls: readTls({ ca: file("tlsCa"), cert: file("tlsCert"), key: file("tlsKey") }),
    listenTls: readPair(file("listenTlsCert"), file("listenTlsKey")),
    environmentProxies,
  })
  const settings = withOnlyUpstream({
    ...loaded,
    remarks: ignored(ofKubernetes),
    ...(yield* Effect.mapError(files, ({ message }) => new SettingsError({ message }))),
  })
  const upstreams = yield* upstreamsIn(json, settings, path)
  if (upstreams === undefined) return { settings, spell }
  for (const name of ["upstreamUrl", "profile"] as const) {
    if ((yield* text(provider, name)) === undefined) continue
    return yield* new SettingsError({ message: `${spell(name)} and ${path}: upstreams: say one of them` })
  }
  return { settings: { ...settings, upstreams, upstreamsFile: path }, spell }
})

/** Settings that contradict each other. */
const checkTogether = Effect.fnUntraced(function* ({ settings, spell }: Effect.Success<typeof load>) {
  const { auth, environmentProxies, host, port, transport, upstreamApiKey, upstreamUrl, upstreams, upstreamsFile } =
    settings
  const problem = clusterProblem(settings, port, spell)
  if (problem !== undefined) return yield* new SettingsError({ message: problem })
  const callers = upstreams.filter(({ credential }) => credential._tag === "Caller")
  if (auth === "keys" && upstreamApiKey === undefined && callers.length > 0) {
    const [{ name }] = callers as unknown as Upstreams
    const needs =
      upstreamsFile === undefined ? `${environmentName("upstreamApiKey")}, the upstream's own key` : undefined
    return yield* new SettingsError({
      message: `${spell("auth")}=keys needs ${needs ?? `a credential of its own for ${upstreamsFile}: upstreams.${name}`}`,
    })
  }
  if (auth === "passthrough" && callers.length < upstreams.length && !isLoopback(host)) {
    const open = upstreams.find(({ credential }) => credential._tag !== "Caller")?.name
    return yield* new SettingsError({
      message: `${spell("host")}=${JSON.stringify(host)} lets anybody there use the credential of upstreams.${open}: set ${spell("auth")} to keys`,
    })
  }
  const itself = upstreams.find(
    ({ proxy, url }) => leadsTo(url, host, port) && proxyFor(environmentProxies, url, proxy) === undefined,
  )
  if (itself !== undefined) {
    const said = upstreamsFile === undefined ? spell("upstreamUrl") : `${upstreamsFile}: upstreams.${itself.name}.url`
    return yield* new SettingsError({
      message: `${said}=${JSON.stringify(itself.url)} leads to this proxy itself, which listens there: name the API`,
    })
  }
  if (upstreamsFile === undefined && transport === "http" && /^ws/i.test(upstreamUrl)) {
    const url = `${spell("upstreamUrl")}=${JSON.stringify(upstreamUrl)}`
    return yield* new SettingsError({ message: `${url} names a WebSocket, but ${spell("transport")} is http` })
  }
})
