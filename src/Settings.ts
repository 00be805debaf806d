/**
 * The settings: one table with name, default, what is allowed and what it is for.
 *
 * They are read through Effect's `Config`, from the environment (`RESPOOL_UPSTREAM_URL`) and, below it, `respool.json`
 * (`upstreamUrl`). Durations are milliseconds and sizes bytes once read. A wrong one stops the start with one line that
 * names it, its value and what is allowed. `Settings.layer(partial)` is for apps that configure in code.
 */
import { Config, ConfigProvider, Context, Effect, FileSystem, Layer, Option, Redacted, Schema } from "effect"
import type { Row } from "./SettingKinds.ts"
import type { Tls } from "./SettingFiles.ts"
import { readTls } from "./SettingFiles.ts"
import { nearest, strayName } from "./SettingNames.ts"
import {
  count,
  duration,
  headerName,
  headerNames,
  isUpstream,
  oneOf,
  optional,
  path,
  proxyAddress,
  row,
  size,
  whole,
} from "./SettingKinds.ts"
import type { EnvironmentProxies } from "./upstream/ProxyRules.ts"
import { environmentProxies, noProxies } from "./upstream/ProxyRules.ts"

/** A refused address may hold a password or a key: what is none of host and path is not shown. */
const masked = (value: string) => value.replace(/^([a-z]+:\/\/)?.*@/is, "$1…@").replace(/[?#].*$/s, "?…")

/** Every setting, in the order of `respool serve --help`. */
export const rows = {
  host: row(Config.NonEmptyString, "127.0.0.1", "127.0.0.1", "a host name or address", "where the proxy listens"),
  port: row(
    (name) => Config.schema(whole(0, 65535), name),
    8080,
    "8080",
    "a whole number from 0 to 65535",
    "0 takes any free port, which the banner shows",
  ),
  listenTlsCert: path("file of the certificate (PEM) to listen with, over TLS"),
  listenTlsKey: path("file of that certificate's key (PEM)"),
  upstreamUrl: row(
    (name) => Config.schema(Schema.String.check(Schema.makeFilter(isUpstream)), name),
    "https://api.openai.com/v1",
    "https://api.openai.com/v1",
    "an http, https, ws or wss address without user, query or fragment",
    "base URL of the Responses API",
  ),
  transport: oneOf(["auto", "websocket", "http"], "auto", "auto falls back to HTTP when no socket can be had"),
  auth: oneOf(["passthrough", "keys"], "passthrough", "whose credential goes upstream: the caller's, or the proxy's"),
  keysFile: row(Config.NonEmptyString, "respool.keys.json", "respool.keys.json", "a path", "the keys of `auth: keys`"),
  upstreamApiKey: row(
    (name) =>
      Config.map(
        // What can't stand in a header would fail every request, with the key in the error.
        Config.schema(Schema.String.check(Schema.isPattern(/^\s*[!-~]+\s*$/)), name),
        (value): Redacted.Redacted<string> | undefined => Redacted.make(value.trim()),
      ),
    undefined,
    "",
    "a text of visible ASCII characters",
    "the upstream's key, for `auth: keys`",
    true,
  ),
  sessionHeader: optional(
    Schema.String.check(Schema.isPattern(headerName)),
    "a header name",
    "one more header that names a session",
  ),
  forwardHeaders: headerNames("client headers to send on the upgrade as well; they split the pool"),
  tlsCa: path("file of CA certificates (PEM) to trust for the upstream"),
  tlsCert: path("file of the client certificate (PEM) for the upstream"),
  tlsKey: path("file of the client certificate's key (PEM)"),
  tlsVerify: oneOf(
    ["on", "off"],
    "on",
    "`off` believes any upstream, whatever its certificate: for trying things out only",
  ),
  proxy: proxyAddress(
    "on the way to the upstream; else `HTTPS_PROXY` or `HTTP_PROXY` says which, and `NO_PROXY` what is reached directly",
  ),
  idleTtl: duration("50 minutes", "an unused connection is closed after this"),
  maxAge: duration("50 minutes", "no turn starts on a connection older than this; the API caps at 60 minutes"),
  pingInterval: duration("25 seconds", "two and a half of these without a sign of life end a connection"),
  handshakeTimeout: duration("15 seconds", "for the upgrade to be answered"),
  firstEventTimeout: duration(
    "300 seconds",
    "for the first event of a turn; not where JSON comes over HTTP, which has the whole turn's time",
  ),
  eventTimeout: duration(
    "1800 seconds",
    "for silence between events, or parts of any other answer; deep reasoning is silent; not where JSON comes over HTTP",
  ),
  turnTimeout: duration("60 minutes", "for a whole turn, and for any other request to be answered"),
  drainTimeout: duration("30 seconds", "for turns in flight when the proxy stops"),
  maxConnections: count(1024, "upstream connections in all"),
  maxConnectionsPerScope: count(1024, "upstream connections of one credential or key"),
  maxConnectionsPerSession: count(64, "upstream connections of one session"),
  maxBody: size("64 MiB", "request body, after decoding"),
  maxMessage: size("15 MiB", "message on the socket; a larger one goes over HTTP"),
  maxTurns: count(4096, "turns and other requests with a body at a time; further ones are answered 503"),
  maxBodies: size("1 GiB", "request bodies in memory at a time; further ones are answered 503"),
  maxWaiting: count(1024, "turns that wait for a connection at a time"),
  maxBuffered: size("8 MiB", "of one answer, what may wait for a slow client; then the upstream is made to wait"),
  clientTimeout: duration("60 seconds", "for a slow client to take some of what waits; then its turn is cancelled"),
  retry: oneOf(
    ["standard", "strict"],
    "standard",
    "`standard` sends a turn again when the upstream hung up before its answer began; `strict` never risks a second run",
  ),
  reasoning: oneOf(["lenient", "strict"], "lenient", "whether a client that leaves reasoning out is continued"),
  busy: oneOf(
    ["dial", "wait", "http"],
    "dial",
    "`dial` opens connections and goes over HTTP at a cap, `wait` waits 5 seconds first, `http` keeps one a session",
  ),
  decisionHeaders: oneOf(["on", "off"], "on", "the `x-respool-*` and `server-timing` response headers"),
  logLevel: oneOf(["info", "debug", "warn", "error", "none"], "info", "the least level that is logged"),
  logFormat: oneOf(["text", "json"], "text", "how a log line is written"),
} as const

type Rows = typeof rows
type Value<R> = R extends Row<infer A> ? A : never
type Loaded = { readonly [K in keyof Rows]: Value<Rows[K]> }

export type { Tls } from "./SettingFiles.ts"

export interface SettingsValues extends Loaded {
  /** What the `tls*` files hold; undefined: none was named. */
  readonly tls: Tls | undefined
  /** What the `listenTls*` files hold. */
  readonly listenTls: { readonly cert: string; readonly key: string } | undefined
  /** `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; of settings given in code only what they say. */
  readonly environmentProxies: EnvironmentProxies
}

/** A setting that can't be used. `message` is the one line to show. */
export class SettingsError extends Schema.TaggedError<SettingsError>()("SettingsError", { message: Schema.String }) {}

/** `upstreamUrl` as the environment spells it. */
export const environmentName = (name: string) =>
  `${prefix}_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

const prefix = "RESPOOL"

const names = Object.keys(rows) as ReadonlyArray<keyof Rows>

export class Settings extends Context.Service<Settings, SettingsValues>()("respool/Settings") {
  static readonly defaults: SettingsValues = {
    ...(Object.fromEntries(names.map((name) => [name, rows[name].fallback])) as unknown as Loaded),
    tls: undefined,
    listenTls: undefined,
    environmentProxies: noProxies,
  }

  /** The defaults with some settings of your own, which are held to the same rules. */
  static readonly layer = (options: Partial<SettingsValues> = {}): Layer.Layer<Settings, SettingsError> =>
    Layer.effect(
      Settings,
      Effect.suspend(() => given(options)),
    )

  /** From the environment, and below it from `respool.json`, or the file that `RESPOOL_CONFIG` names. */
  static readonly layerConfig = Layer.effect(
    Settings,
    Effect.suspend(() => Effect.flatMap(load, checkTogether)),
  )

  /** The same for commands that serve nothing, so that settings which only fit together when serving don't matter. */
  static readonly layerConfigUnchecked = Layer.effect(
    Settings,
    Effect.suspend(() => Effect.map(load, ({ settings }) => settings)),
  )
}

/** Says how whoever set a setting spelled its name, and where. */
type Spell = (name: keyof Rows) => string

const refused = (name: keyof Rows, spell: Spell, value: string | undefined) => {
  const shown = rows[name].secret ? "" : `=${JSON.stringify(masked(value ?? ""))}`
  return new SettingsError({ message: `${spell(name)}${shown}: expected ${rows[name].allowed}` })
}

/** Values are written as texts and read again, so that code can set no more, and nothing else, than a file can. */
const given = Effect.fnUntraced(function* (options: Partial<SettingsValues>) {
  const { environmentProxies = noProxies, listenTls, tls } = options
  const values: Record<string, unknown> = { ...Settings.defaults, tls, listenTls, environmentProxies }
  for (const name of names) {
    if (options[name] === undefined) continue
    const { read, written } = rows[name] as Row<unknown>
    const text = written(options[name])
    // As the environment has it: what is set to nothing is not set.
    if (text === "") continue
    values[name] = yield* read(name)
      .parse(ConfigProvider.fromUnknown({ [name]: text }))
      .pipe(Effect.mapError(() => refused(name, (name) => `Settings.layer: ${name}`, text)))
  }
  return values as unknown as SettingsValues
})

const jsonFile = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const named = yield* Config.option(Config.NonEmptyString(`${prefix}_CONFIG`))
  const path = named._tag === "Some" ? named.value : "respool.json"
  if (named._tag === "None" && !(yield* fs.exists(path))) return { path, json: {} }
  const content = yield* fs.readFileString(path).pipe(
    Effect.mapError(() => {
      const shown = named._tag === "Some" ? `${prefix}_CONFIG=${JSON.stringify(path)}` : path
      return new SettingsError({ message: `${shown}: the file can't be read` })
    }),
  )
  const json = yield* Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)))(
    content,
  ).pipe(Effect.mapError(() => new SettingsError({ message: `${path} is not a JSON object` })))
  for (const [name, value] of Object.entries(json)) {
    if (!Object.hasOwn(rows, name)) {
      const message = `${path}: there is no setting "${name}"; the nearest is "${nearest(name, names)}"`
      return yield* new SettingsError({ message })
    }
    if (typeof value !== "string" && typeof value !== "number") {
      return yield* new SettingsError({ message: `${path}: "${name}" must be a text or a number` })
    }
  }
  return { path, json }
}).pipe(
  Effect.catchTags({
    ConfigError: (error) => Effect.fail(new SettingsError({ message: `${prefix}_CONFIG: ${error.message}` })),
    PlatformError: (error) => Effect.fail(new SettingsError({ message: `${prefix}_CONFIG: ${error.message}` })),
  }),
)

/** A name that begins as ours do and is none would leave its setting at the default without a word. */
const checkNames = Effect.fnUntraced(function* (environment: ConfigProvider.ConfigProvider) {
  const known = [...names.map(environmentName), `${prefix}_CONFIG`]
  const stray = yield* strayName(environment, prefix, known)
  if (stray === undefined) return
  return yield* new SettingsError({
    message: `${stray}: there is no such setting; the nearest is ${nearest(stray, known)}`,
  })
})

const load = Effect.gen(function* () {
  const environment = yield* ConfigProvider.ConfigProvider
  yield* checkNames(environment)
  const { json, path } = yield* jsonFile
  const upper = environment.pipe(ConfigProvider.mapInput(([name]) => [environmentName(String(name))]))
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
  const loaded = values as unknown as Loaded
  const files = Effect.all([readTls(loaded, spell), environmentProxies])
  const [tls, proxies] = yield* Effect.mapError(files, ({ message }) => new SettingsError({ message }))
  const settings: SettingsValues = { ...loaded, ...tls, environmentProxies: proxies }
  return { settings, spell }
})

/** Settings that contradict each other. */
const checkTogether = Effect.fnUntraced(function* ({ settings, spell }: Effect.Success<typeof load>) {
  if (settings.auth === "keys" && settings.upstreamApiKey === undefined) {
    return yield* new SettingsError({
      message: `${spell("auth")}=keys needs ${environmentName("upstreamApiKey")}, the upstream's own key`,
    })
  }
  if (settings.transport === "http" && /^ws/i.test(settings.upstreamUrl)) {
    const url = `${spell("upstreamUrl")}=${JSON.stringify(settings.upstreamUrl)}`
    return yield* new SettingsError({ message: `${url} names a WebSocket, but ${spell("transport")} is http` })
  }
  return settings
})
