import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer, Redacted } from "effect"
import { environmentName, rows, Settings } from "../../src/config/Settings.ts"

type Environment = Readonly<Record<string, string>>

const read = (env: Environment) =>
  Settings.pipe(
    Effect.provide(Settings.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))),
  )

/** They exclude each other, or need one another. */
const ofClusters = {
  RESPOOL_CLUSTER_ADDRESS: "http://10.0.0.1:8090",
  RESPOOL_CLUSTER_SECRET: "0123456789abcdef",
  RESPOOL_CLUSTER_SECRET_FILE: "secret.txt",
  RESPOOL_CLUSTER_NODES: "http://10.0.0.1:8090, http://[fd00::2]:8090",
  RESPOOL_CLUSTER_DNS: "nodes.cluster.internal",
  RESPOOL_CLUSTER_DATABASE: "postgres://user:word@db.internal/respool",
}

const refusal = (env: Environment) =>
  Effect.flip(read(env)).pipe(
    Effect.map((error) => {
      assert.strictEqual(error._tag, "SettingsError")
      return error.message
    }),
  )

/** A file in a folder that the test's scope removes. */
const file = Effect.fnUntraced(function* (content: string, name = "respool.json") {
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped({ prefix: "respool-settings-" })}/${name}`
  yield* fs.writeFileString(path, content)
  return path
})

const minutes = 60_000

/** Name, default and one other value, as `respool.json` and the environment spell them, with what is read. */
const contract: ReadonlyArray<readonly [name: string, fallback: unknown, given: string, value: unknown]> = [
  ["RESPOOL_HOST", "127.0.0.1", "0.0.0.0", "0.0.0.0"],
  ["RESPOOL_PORT", 8080, "0", 0],
  [
    "RESPOOL_ALLOWED_ORIGINS",
    [],
    "https://App.example, chrome-extension://abc",
    ["https://app.example", "chrome-extension://abc"],
  ],
  ["RESPOOL_ALLOWED_HOSTS", [], "LLM.example, [::1]:9000", ["llm.example", "[::1]:9000"]],
  ["RESPOOL_DOWNSTREAM_WEBSOCKET", "on", "off", "off"],
  ["RESPOOL_DOWNSTREAM_ANCHORS", "socket", "scope", "scope"],
  ["RESPOOL_DOWNSTREAM_DEFLATE", "off", "on", "on"],
  ["RESPOOL_DOWNSTREAM_IDLE", 60 * minutes, "5 minutes", 5 * minutes],
  ["RESPOOL_MAX_CLIENT_SOCKETS", 8192, "9", 9],
  ["RESPOOL_MAX_CLIENT_SOCKETS_PER_SCOPE", 8192, "10", 10],
  ["RESPOOL_MAX_CLIENT_MESSAGE", 4 * 1024 * 1024, "16 MiB", 16 * 1024 * 1024],
  ["RESPOOL_UPSTREAM_URL", "https://api.openai.com/v1", "ws://127.0.0.1:9/v1", "ws://127.0.0.1:9/v1"],
  ["RESPOOL_PROFILE", undefined, "xai", "xai"],
  ["RESPOOL_TRANSPORT", "auto", "websocket", "websocket"],
  ["RESPOOL_AUTH", "passthrough", "keys", "keys"],
  ["RESPOOL_KEYS_FILE", "respool.keys.json", "keys/all.json", "keys/all.json"],
  ["RESPOOL_UPSTREAM_API_KEY", undefined, "test-key-upstream", "test-key-upstream"],
  ["RESPOOL_NAMESPACE_TENANTS", "on", "off", "off"],
  ["RESPOOL_SHARED_IDS", [], "vs_1, file-x*", ["vs_1", "file-x*"]],
  ["RESPOOL_SESSION_HEADER", undefined, "x-chat", "x-chat"],
  ["RESPOOL_FORWARD_HEADERS", [], "X-Team, x-zone", ["x-team", "x-zone"]],
  ["RESPOOL_TLS_VERIFY", "on", "off", "off"],
  ["RESPOOL_PROXY", undefined, "http://me:test-pass@proxy.test:3128", "http://me:test-pass@proxy.test:3128"],
  ["RESPOOL_IDLE_TTL", 50 * minutes, "3 minutes", 3 * minutes],
  ["RESPOOL_MAX_AGE", 50 * minutes, "25 minutes", 25 * minutes],
  ["RESPOOL_PING_INTERVAL", 25_000, "500 millis", 500],
  ["RESPOOL_HANDSHAKE_TIMEOUT", 15_000, "3 seconds", 3_000],
  ["RESPOOL_FIRST_EVENT_TIMEOUT", 300_000, "4 seconds", 4_000],
  ["RESPOOL_EVENT_TIMEOUT", 1_800_000, "1 hour", 60 * minutes],
  ["RESPOOL_TURN_TIMEOUT", 60 * minutes, "30 days", 30 * 24 * 60 * minutes],
  ["RESPOOL_DRAIN_TIMEOUT", 30_000, "1 second", 1_000],
  ["RESPOOL_MAX_CONNECTIONS", 1024, "7", 7],
  ["RESPOOL_MAX_CONNECTIONS_PER_SCOPE", 1024, "6", 6],
  ["RESPOOL_MAX_CONNECTIONS_PER_SESSION", 64, "5", 5],
  ["RESPOOL_MAX_BODY", 64 * 1024 * 1024, "1 MiB", 1024 * 1024],
  ["RESPOOL_MAX_MESSAGE", 15 * 1024 * 1024, "4 GiB", 4 * 1024 ** 3],
  ["RESPOOL_MAX_TURNS", 4096, "8", 8],
  ["RESPOOL_MAX_TURNS_PER_CALLER", 2048, "3", 3],
  ["RESPOOL_MAX_CLIENTS", 8192, "4", 4],
  ["RESPOOL_MAX_CLIENTS_PER_ADDRESS", 4096, "2", 2],
  ["RESPOOL_MAX_BODIES", 1024 * 1024 * 1024, "2 MiB", 2 * 1024 * 1024],
  ["RESPOOL_MAX_BODIES_PER_CALLER", 512 * 1024 * 1024, "1 MiB", 1024 * 1024],
  ["RESPOOL_MAX_WAITING", 1024, "9", 9],
  ["RESPOOL_MAX_BUFFERED", 8 * 1024 * 1024, "3 MiB", 3 * 1024 * 1024],
  ["RESPOOL_CLIENT_TIMEOUT", 60_000, "5 seconds", 5_000],
  ["RESPOOL_RETRY", "standard", "strict", "strict"],
  ["RESPOOL_REASONING", "lenient", "strict", "strict"],
  ["RESPOOL_BUSY", "dial", "wait", "wait"],
  ["RESPOOL_STREAM_ERROR", "error", "failed", "failed"],
  ["RESPOOL_DECISION_HEADERS", "on", "off", "off"],
  ["RESPOOL_METRICS", "on", "off", "off"],
  ["RESPOOL_OPERATOR_TOKEN", undefined, "test-token-operator", "test-token-operator"],
  ["RESPOOL_OPERATOR_TOKEN_FILE", undefined, "token.txt", "token.txt"],
  ["RESPOOL_LOG_LEVEL", "info", "debug", "debug"],
  ["RESPOOL_LOG_FORMAT", "text", "json", "json"],
]

const camel = (name: string) =>
  name
    .slice("RESPOOL_".length)
    .toLowerCase()
    .replace(/_./g, (part) => part.slice(1).toUpperCase())

/** By the name in the environment; a secret is opened. */
const valueOf = (values: Settings["Service"], name: string): unknown => {
  const found = Object.entries(values).find(([key]) => key === camel(name))?.[1]
  return Redacted.isRedacted(found) ? Redacted.value(found) : found
}

const pem = "-----BEGIN CERTIFICATE-----\ndGVzdA==\n-----END CERTIFICATE-----\n"

it.layer(NodeFileSystem.layer)("Settings", (it) => {
  it.effect("have the names and defaults that others rely on", () =>
    Effect.gen(function* () {
      const files = [
        "RESPOOL_TLS_CA",
        "RESPOOL_TLS_CERT",
        "RESPOOL_TLS_KEY",
        "RESPOOL_LISTEN_TLS_CERT",
        "RESPOOL_LISTEN_TLS_KEY",
      ]
      const names = [...contract.map(([name]) => name), ...files, ...Object.keys(ofClusters)]
      assert.sameMembers(Object.keys(rows).map(environmentName), names)
      const values = yield* read({})
      for (const [name, fallback] of contract) assert.deepStrictEqual(valueOf(values, name), fallback, name)
      assert.strictEqual(values.tls, undefined)
      assert.deepStrictEqual(values, Settings.defaults)
    }),
  )

  it.effect("of a cluster are read where they fit together, and name what is wrong with each", () =>
    Effect.gen(function* () {
      const { RESPOOL_CLUSTER_ADDRESS, RESPOOL_CLUSTER_SECRET, ...others } = ofClusters
      const base = { RESPOOL_CLUSTER_ADDRESS, RESPOOL_CLUSTER_SECRET }
      const nodes = { ...base, RESPOOL_CLUSTER_NODES: others.RESPOOL_CLUSTER_NODES }
      const values = yield* read(nodes)
      assert.strictEqual(values.clusterAddress, RESPOOL_CLUSTER_ADDRESS)
      assert.deepStrictEqual(values.clusterNodes, ["http://10.0.0.1:8090", "http://[fd00::2]:8090"])
      assert.isTrue(Redacted.isRedacted(values.clusterSecret))
      yield* read({ ...base, RESPOOL_CLUSTER_DNS: others.RESPOOL_CLUSTER_DNS })
      yield* read({ ...base, RESPOOL_CLUSTER_DATABASE: others.RESPOOL_CLUSTER_DATABASE })
      const wrong: ReadonlyArray<readonly [Environment, RegExp]> = [
        [{ ...nodes, RESPOOL_CLUSTER_ADDRESS: "10.0.0.1:8090" }, /^RESPOOL_CLUSTER_ADDRESS="10.0.0.1:8090": expected/],
        [{ ...nodes, RESPOOL_CLUSTER_ADDRESS: "https://10.0.0.1:8090" }, /^RESPOOL_CLUSTER_ADDRESS=.*: expected/],
        [{ ...nodes, RESPOOL_CLUSTER_ADDRESS: "http://10.0.0.1" }, /^RESPOOL_CLUSTER_ADDRESS=.*: expected/],
        [{ ...nodes, RESPOOL_CLUSTER_ADDRESS: "http://10.0.0.1:8080" }, /its port is where clients come/],
        [{ ...nodes, RESPOOL_CLUSTER_SECRET: "too-short" }, /^RESPOOL_CLUSTER_SECRET: expected a text of 16/],
        [{ ...nodes, RESPOOL_CLUSTER_NODES: "http://10.0.0.1:8090/v1" }, /^RESPOOL_CLUSTER_NODES=.*: expected/],
        [{ ...nodes, RESPOOL_CLUSTER_DNS: "nodes" }, /^RESPOOL_CLUSTER_NODES and RESPOOL_CLUSTER_DNS: say one/],
        [{ ...base, RESPOOL_CLUSTER_DNS: "http://nodes" }, /^RESPOOL_CLUSTER_DNS=.*: expected a name/],
        [{ ...base, RESPOOL_CLUSTER_DATABASE: "mysql://user:word@host/a" }, /^RESPOOL_CLUSTER_DATABASE: expected/],
        [{ RESPOOL_CLUSTER_SECRET }, /^RESPOOL_CLUSTER_SECRET needs RESPOOL_CLUSTER_ADDRESS/],
        [base, /^RESPOOL_CLUSTER_ADDRESS needs RESPOOL_CLUSTER_NODES, RESPOOL_CLUSTER_DNS or/],
      ]
      for (const [env, line] of wrong) assert.match(yield* refusal(env), line)
    }),
  )

  it.effect("are each read from the environment", () =>
    Effect.gen(function* () {
      const values = yield* read(Object.fromEntries(contract.map(([name, , given]) => [name, given])))
      for (const [name, , , value] of contract) assert.deepStrictEqual(valueOf(values, name), value, name)
    }),
  )

  it.effect("are each read from the file that RESPOOL_CONFIG names, in camelCase, numbers as numbers", () =>
    Effect.gen(function* () {
      const json = Object.fromEntries(
        contract.map(([name, , given, value]) => [
          camel(name),
          typeof value === "number" && `${value}` === given ? value : given,
        ]),
      )
      assert.strictEqual(json["port"], 0)
      const values = yield* read({ RESPOOL_CONFIG: yield* file(JSON.stringify(json), "other.json") })
      for (const [name, , , value] of contract) assert.deepStrictEqual(valueOf(values, name), value, name)
    }),
  )

  it.effect("of the environment win over the file, one by one", () =>
    Effect.gen(function* () {
      const path = yield* file('{"port":1234,"host":"from-file","idleTtl":"1 minute","maxBody":"1 KiB"}')
      const values = yield* read({ RESPOOL_CONFIG: path, RESPOOL_PORT: "4321", RESPOOL_MAX_BODY: "2 KiB" })
      assert.deepInclude(values, { port: 4321, host: "from-file", idleTtl: minutes, maxBody: 2048 })
    }),
  )

  it.effect("that are set to nothing count as not set", () =>
    Effect.gen(function* () {
      const values = yield* read(Object.fromEntries(contract.map(([name]) => [name, ""])))
      assert.deepStrictEqual(values, Settings.defaults)
    }),
  )

  it.effect("read the certificates that they name", () =>
    Effect.gen(function* () {
      const path = yield* file(pem, "all.pem")
      const { tls } = yield* read({ RESPOOL_TLS_CA: path, RESPOOL_TLS_CERT: path, RESPOOL_TLS_KEY: path })
      assert.deepStrictEqual(tls, { ca: pem, cert: pem, key: pem })
      assert.deepStrictEqual((yield* read({ RESPOOL_TLS_CA: path })).tls, { ca: pem })
      const { listenTls } = yield* read({ RESPOOL_LISTEN_TLS_CERT: path, RESPOOL_LISTEN_TLS_KEY: path })
      assert.deepStrictEqual(listenTls, { cert: pem, key: pem })
      for (const lone of ["RESPOOL_LISTEN_TLS_CERT", "RESPOOL_LISTEN_TLS_KEY"]) {
        const line = "RESPOOL_LISTEN_TLS_CERT and RESPOOL_LISTEN_TLS_KEY must be set together"
        assert.strictEqual(yield* refusal({ [lone]: path }), line)
      }
    }),
  )

  it.effect("take the environment's proxies along, and name a wrong one without its address", () =>
    Effect.gen(function* () {
      const { environmentProxies } = yield* read({
        HTTPS_PROXY: "proxy.test:3128",
        http_proxy: "http://me:test-pass@small.test/",
        HTTP_PROXY: "http://capitals.test",
        NO_PROXY: "localhost, .Internal.test",
      })
      const { http, https, no } = environmentProxies
      assert.strictEqual(https === undefined ? "" : Redacted.value(https), "http://proxy.test:3128")
      assert.strictEqual(http === undefined ? "" : Redacted.value(http), "http://me:test-pass@small.test/")
      assert.deepStrictEqual(no, ["localhost", ".internal.test"])
      const allowed = "expected an http or https address of a proxy, such as `http://user:password@proxy:3128`"
      for (const wrong of ["socks5://me:test-pass@proxy.test", "http://", "http://me:test-pass@proxy.test/path"]) {
        assert.strictEqual(yield* refusal({ HTTPS_PROXY: wrong }), `HTTPS_PROXY: ${allowed}`)
        assert.strictEqual(yield* refusal({ ALL_PROXY: wrong }), `ALL_PROXY: ${allowed}`)
        assert.strictEqual(
          yield* refusal({ RESPOOL_PROXY: wrong }),
          `RESPOOL_PROXY: ${allowed}, or \`direct\` for none`,
        )
      }
    }),
  )

  const all = "http://all.test:3128"
  const ways: ReadonlyArray<
    readonly [env: Readonly<Record<string, string>>, http: string | undefined, https: string | undefined]
  > = [
    [{ ALL_PROXY: all }, all, all],
    [{ all_proxy: "all.test:3128" }, all, all],
    [{ all_proxy: all, ALL_PROXY: "http://capitals.test" }, all, all],
    [{ ALL_PROXY: all, HTTPS_PROXY: "http://secure.test" }, all, "http://secure.test"],
    [{ ALL_PROXY: all, http_proxy: "http://plain.test" }, "http://plain.test", all],
    [{ ALL_PROXY: "", HTTPS_PROXY: "http://secure.test" }, undefined, "http://secure.test"],
    [
      { ALL_PROXY: "socks5://127.0.0.1:1080", HTTP_PROXY: "http://one.test", HTTPS_PROXY: "http://one.test" },
      "http://one.test",
      "http://one.test",
    ],
  ]
  it.effect.each(ways)("take ALL_PROXY where no other proxy is named for a scheme: %s", ([env, http, https]) =>
    Effect.gen(function* () {
      const { environmentProxies: found } = yield* read(env)
      const shown = [found.http, found.https].map((proxy) => (proxy === undefined ? undefined : Redacted.value(proxy)))
      assert.deepStrictEqual(shown, [http, https])
    }),
  )

  it.effect("refuse the SOCKS forms of ALL_PROXY where it would be used", () =>
    Effect.gen(function* () {
      for (const scheme of ["socks", "socks4", "socks4a", "socks5", "socks5h"]) {
        for (const name of ["ALL_PROXY", "all_proxy"]) {
          const env = { [name]: `${scheme}://me:test-pass@127.0.0.1:1080`, HTTPS_PROXY: "http://secure.test" }
          const message = yield* refusal(env)
          assert.match(message, new RegExp(`^${name}: expected an http or https address of a proxy`))
          assert.notInclude(message, "test-pass")
        }
      }
    }),
  )

  it.effect("keep the upstream's key closed when they are shown, without the line end it was read with", () =>
    Effect.gen(function* () {
      const values = yield* read({ RESPOOL_UPSTREAM_API_KEY: "test-key-upstream\n" })
      assert.strictEqual(valueOf(values, "RESPOOL_UPSTREAM_API_KEY"), "test-key-upstream")
      assert.notInclude(`${JSON.stringify(values)}${Bun.inspect(values)}`, "test-key-upstream")
    }),
  )
})

/** Each upstream by its name, with the credential that it is shown. */
const shownBy = ({ upstreams }: Settings["Service"]) =>
  Object.fromEntries(
    upstreams.map(({ credential, name }) => [
      name,
      credential._tag === "Fixed" ? Redacted.value(credential.apiKey) : credential._tag,
    ]),
  )

it.layer(NodeFileSystem.layer)("The account's key", (it) => {
  const account = "test-key-account"
  const upstreams = {
    theirs: { url: "https://host.test/v1", credential: "caller" },
    own: { profile: "xai", models: ["grok-*"], apiKey: "test-key-own" },
  }

  it.effect("is what upstreams are shown in keys mode, but for those with a credential of their own", () =>
    Effect.gen(function* () {
      const env = { RESPOOL_AUTH: "keys", RESPOOL_UPSTREAM_API_KEY: account }
      assert.deepStrictEqual(shownBy(yield* read(env)), { default: account })
      const path = yield* file(JSON.stringify({ upstreams }))
      const values = yield* read({ ...env, RESPOOL_CONFIG: path })
      assert.deepStrictEqual(shownBy(values), { theirs: account, own: "test-key-own" })
      assert.notInclude(`${JSON.stringify(values)}${Bun.inspect(values)}`, "test-key")
      const upstreamApiKey = Redacted.make(account)
      const code = yield* given({
        auth: "keys",
        upstreamApiKey,
        upstreams: [
          { name: "theirs", url: "https://host.test/v1" },
          { name: "token", profile: "xai", credential: { _tag: "TokenFile", path: "ours.token.json" } },
        ],
      })
      assert.deepStrictEqual(shownBy(code), { theirs: account, token: "TokenFile" })
      assert.deepStrictEqual(shownBy(yield* given({ auth: "keys", upstreamApiKey })), { default: account })
    }),
  )

  it.effect("is shown to no upstream where callers bring credentials of their own", () =>
    Effect.gen(function* () {
      const env = { RESPOOL_UPSTREAM_API_KEY: account }
      assert.deepStrictEqual(shownBy(yield* read(env)), { default: "Caller" })
      const path = yield* file(JSON.stringify({ upstreams }))
      assert.deepStrictEqual(shownBy(yield* read({ ...env, RESPOOL_CONFIG: path })), {
        theirs: "Caller",
        own: "test-key-own",
      })
      assert.deepStrictEqual(shownBy(yield* given({ upstreamApiKey: Redacted.make(account) })), { default: "Caller" })
    }),
  )
})

const duration = "expected a duration such as `3 seconds` or `50 minutes`"
const size = "expected a size such as `64 MiB`, at most 4 GiB"
const count = "expected a whole number from 1"
const port = "expected a whole number from 0 to 65535"
const address = "expected an http, https, ws or wss address without user, query or fragment"
const key = "expected a text of visible ASCII characters"
const ids = "expected ids, separated by commas; a `*` at the end stands for any rest"
const names = "expected header names, separated by commas, but none of the upgrade's own"

const given = (options: Parameters<typeof Settings.layer>[0]) => Settings.pipe(Effect.provide(Settings.layer(options)))

it.layer(NodeFileSystem.layer)("Settings given in code", (it) => {
  it.effect("are each the ones that the environment would have given", () =>
    Effect.gen(function* () {
      const values = yield* read(Object.fromEntries(contract.map(([name, , given]) => [name, given])))
      assert.deepStrictEqual(yield* given(values), values)
      for (const [name, , , value] of contract) assert.deepStrictEqual(valueOf(yield* given(values), name), value, name)
    }),
  )

  it.effect("are the defaults where none is given", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* given({}), Settings.defaults)
      assert.deepStrictEqual(yield* given({ forwardHeaders: [], tls: undefined }), Settings.defaults)
      assert.deepStrictEqual((yield* given({ tls: { ca: pem } })).tls, { ca: pem })
    }),
  )

  it.effect("are read as a text would be: header names in lower case, a key without its line end", () =>
    Effect.gen(function* () {
      const values = yield* given({ forwardHeaders: ["X-Team"], upstreamApiKey: Redacted.make("test-key-upstream\n") })
      assert.deepStrictEqual(values.forwardHeaders, ["x-team"])
      assert.strictEqual(valueOf(values, "RESPOOL_UPSTREAM_API_KEY"), "test-key-upstream")
    }),
  )

  it.effect("are refused where they are wrong, with one line and without what is secret in it", () =>
    Effect.gen(function* () {
      const refusals = [
        [{ upstreamUrl: "api.openai.com" }, `upstreamUrl="api.openai.com": ${address}`],
        [{ upstreamUrl: "https://me:test-secret@host/v1" }, `upstreamUrl="https://…@host/v1": ${address}`],
        [{ upstreamUrl: "https://host/v1?key=test-secret" }, `upstreamUrl="https://host/v1?…": ${address}`],
        [
          { upstreamApiKey: Redacted.make("test secret") },
          "upstreamApiKey: expected a text of visible ASCII characters",
        ],
        [{ port: 65_536 }, `port="65536": ${port}`],
        [{ idleTtl: Number.NaN }, `idleTtl="NaN millis": ${duration}`],
        [{ drainTimeout: 0 }, `drainTimeout="0 millis": ${duration}`],
        [{ maxConnections: 1.5 }, `maxConnections="1.5": ${count}`],
        [{ maxBody: 0 }, `maxBody="0 B": ${size}`],
        [{ forwardHeaders: ["x-a", "Cookie"] }, `forwardHeaders="x-a,Cookie": ${names}`],
      ] as const
      for (const [options, line] of refusals) {
        const error = yield* Effect.flip(given(options))
        assert.strictEqual(error._tag, "SettingsError")
        assert.strictEqual(error.message, `Settings.layer: ${line}`)
        assert.notInclude(Bun.inspect(error), "test-secret")
      }
    }),
  )
})

const origins = "expected origins such as `https://app.example`, separated by commas"
const hosts = "expected host names or addresses, each with or without a port, separated by commas"

const wrong: ReadonlyArray<readonly [name: string, value: string, allowed: string]> = [
  ["RESPOOL_PORT", "65536", port],
  ["RESPOOL_PORT", "-1", port],
  ["RESPOOL_PORT", "80a", port],
  ["RESPOOL_PORT", " ", port],
  ["RESPOOL_PORT", "0x10", port],
  ["RESPOOL_PORT", "1\n2", port],
  ["RESPOOL_UPSTREAM_URL", "api.openai.com", address],
  ["RESPOOL_UPSTREAM_URL", "ftp://host/v1", address],
  ["RESPOOL_UPSTREAM_URL", "https://host:port/v1", address],
  ["RESPOOL_UPSTREAM_URL", "https:///v1", address],
  ["RESPOOL_UPSTREAM_URL", "https://host/v 1", address],
  ["RESPOOL_TRANSPORT", "quic", "expected auto | websocket | http"],
  ["RESPOOL_AUTH", "Keys", "expected passthrough | keys"],
  ["RESPOOL_BUSY", "queue", "expected dial | wait | http | lane"],
  ["RESPOOL_STREAM_ERROR", "event", "expected error | failed"],
  ["RESPOOL_DECISION_HEADERS", "true", "expected on | off"],
  ["RESPOOL_LOG_LEVEL", "trace", "expected info | debug | warn | error | none"],
  ["RESPOOL_LOG_FORMAT", "logfmt", "expected text | json"],
  ["RESPOOL_SESSION_HEADER", "x chat", "expected a header name"],
  ["RESPOOL_FORWARD_HEADERS", "x-a,,x-b", names],
  ...["*", "null", "app.example", "https://*.app.example", "https://app.example/", "https://app.example:443"].map(
    (value) => ["RESPOOL_ALLOWED_ORIGINS", value, origins] as const,
  ),
  ...["*", "https://app.example", "app.example/v1", "app.example,", "::1", "app.example:http"].map(
    (value) => ["RESPOOL_ALLOWED_HOSTS", value, hosts] as const,
  ),
  ...["*", "vs_*1", "vs_1,,vs_2", "vs_1 vs_2"].map((value) => ["RESPOOL_SHARED_IDS", value, ids] as const),
  ["RESPOOL_FORWARD_HEADERS", "x-a b", names],
  ["RESPOOL_FORWARD_HEADERS", "x-a,Authorization", names],
  ["RESPOOL_FORWARD_HEADERS", "Sec-WebSocket-Key", names],
  ["RESPOOL_IDLE_TTL", "50", duration],
  ["RESPOOL_MAX_AGE", "0 seconds", duration],
  ["RESPOOL_PING_INTERVAL", "1 nano", duration],
  ["RESPOOL_HANDSHAKE_TIMEOUT", "-3 seconds", duration],
  ["RESPOOL_FIRST_EVENT_TIMEOUT", "Infinity", duration],
  ["RESPOOL_EVENT_TIMEOUT", "soon", duration],
  ["RESPOOL_TURN_TIMEOUT", "1h", duration],
  ["RESPOOL_DRAIN_TIMEOUT", "seconds", duration],
  ["RESPOOL_MAX_CONNECTIONS", "0", count],
  ["RESPOOL_MAX_CONNECTIONS_PER_SCOPE", "1.5", count],
  ["RESPOOL_MAX_CONNECTIONS_PER_SESSION", "1e3", count],
  ["RESPOOL_MAX_BODY", "0 B", size],
  ["RESPOOL_MAX_BODY", "5 GiB", size],
  ["RESPOOL_MAX_MESSAGE", "lots", size],
  ["RESPOOL_MAX_MESSAGE", "-1 MiB", size],
]

it.layer(NodeFileSystem.layer)("A wrong setting", (it) => {
  it.effect.each(wrong)("stops the start with one line: %s=%j", ([name, value, allowed]) =>
    Effect.gen(function* () {
      const message = yield* refusal({ [name]: value })
      assert.strictEqual(message, `${name}=${JSON.stringify(value)}: ${allowed}`)
      assert.notInclude(message, "\n")
    }),
  )

  const inFile = (content: string) =>
    Effect.gen(function* () {
      const path = yield* file(content)
      return (yield* refusal({ RESPOOL_CONFIG: path })).replace(path, "respool.json")
    })

  it.effect("of the file is named with the file and as it is spelled there, and whatever type it has", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* inFile('{"port":70000}'), `respool.json: port="70000": ${port}`)
      assert.strictEqual(yield* inFile('{"port":1.5}'), `respool.json: port="1.5": ${port}`)
      assert.strictEqual(yield* inFile('{"idleTtl":50}'), `respool.json: idleTtl="50": ${duration}`)
      assert.strictEqual(yield* inFile('{"upstreamApiKey":"a b"}'), `respool.json: upstreamApiKey: ${key}`)
      assert.strictEqual(
        yield* inFile('{"tlsCa":"/no/where"}'),
        'respool.json: tlsCa="/no/where": the file can\'t be read',
      )
      assert.strictEqual(
        yield* inFile('{"auth":"keys"}'),
        "respool.json: auth=keys needs RESPOOL_UPSTREAM_API_KEY, the upstream's own key",
      )
      for (const value of ["true", "null", "{}", '["x-a"]']) {
        assert.match(yield* inFile(`{"sessionHeader":${value}}`), /: "sessionHeader" must be a text or a number$/)
      }
      for (const [content, line, column] of [
        ["", 1, 1],
        ["[]", 1, 1],
        ['"x"', 1, 1],
        ["{port:1}", 1, 2],
        ['{"port":1', 1, 10],
        ['{\n  "port": 1,\n}', 3, 1],
        ['{\n  "host": "é", "port": 1\n  "auth": "keys"\n}', 3, 3],
        ['{"host":"é" 1}', 1, 13],
      ] as const) {
        const message = `respool.json is not a JSON object: see line ${line}, column ${column}`
        assert.strictEqual(yield* inFile(content), message)
      }
    }),
  )

  it.effect("of the environment is named as it is spelled there, though the file has the setting too", () =>
    Effect.gen(function* () {
      const path = yield* file('{"port":1234,"idleTtl":"soon"}')
      assert.strictEqual(yield* refusal({ RESPOOL_CONFIG: path, RESPOOL_PORT: "x" }), `RESPOOL_PORT="x": ${port}`)
      const fallsToFile = yield* refusal({ RESPOOL_CONFIG: path, RESPOOL_IDLE_TTL: "" })
      assert.strictEqual(fallsToFile, `${path}: idleTtl="soon": ${duration}`)
    }),
  )

  it.effect("that names a file says that it can't be used", () =>
    Effect.gen(function* () {
      const missing = "/nowhere/at/all"
      for (const name of ["RESPOOL_CONFIG", "RESPOOL_TLS_CA", "RESPOOL_TLS_CERT", "RESPOOL_TLS_KEY"]) {
        assert.strictEqual(yield* refusal({ [name]: missing }), `${name}="${missing}": the file can't be read`)
      }
      const text = yield* file("no certificate", "ca.pem")
      assert.strictEqual(
        yield* refusal({ RESPOOL_TLS_CA: text }),
        `RESPOOL_TLS_CA="${text}": expected a file in PEM form`,
      )
      const whole = yield* file(pem, "cert.pem")
      for (const name of ["RESPOOL_TLS_CERT", "RESPOOL_TLS_KEY"]) {
        assert.strictEqual(
          yield* refusal({ [name]: whole }),
          "RESPOOL_TLS_CERT and RESPOOL_TLS_KEY must be set together",
        )
      }
    }),
  )

  it.effect("of a profile is its place as well, where none is said", () =>
    Effect.gen(function* () {
      const xai = "https://api.x.ai/v1"
      for (const env of [{ RESPOOL_PROFILE: "xai" }, { RESPOOL_PROFILE: "xai", RESPOOL_UPSTREAM_URL: "" }]) {
        const { upstreams, upstreamUrl } = yield* read(env)
        assert.deepStrictEqual([upstreamUrl, upstreams[0].url, upstreams[0].profile], [xai, xai, "xai"])
      }
      const inCode = yield* Settings.pipe(Effect.provide(Settings.layer({ profile: "xai" })))
      assert.strictEqual(inCode.upstreams[0].url, xai)
      const elsewhere = yield* read({ RESPOOL_PROFILE: "xai", RESPOOL_UPSTREAM_URL: "http://127.0.0.1:1" })
      assert.strictEqual(elsewhere.upstreams[0].url, "http://127.0.0.1:1/v1")
      assert.strictEqual((yield* read({})).upstreamUrl, "https://api.openai.com/v1")
      assert.strictEqual(
        (yield* Effect.flip(Settings.pipe(Effect.provide(Settings.layer({ profile: "custom" }))))).message,
        "Settings.layer: profile=custom needs Settings.layer: upstreamUrl: that profile knows no URL",
      )
    }),
  )

  it.effect("that contradicts another names both", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* refusal({ RESPOOL_AUTH: "keys" }),
        "RESPOOL_AUTH=keys needs RESPOOL_UPSTREAM_API_KEY, the upstream's own key",
      )
      assert.strictEqual(
        yield* refusal({ RESPOOL_TRANSPORT: "http", RESPOOL_UPSTREAM_URL: "wss://host/v1" }),
        'RESPOOL_UPSTREAM_URL="wss://host/v1" names a WebSocket, but RESPOOL_TRANSPORT is http',
      )
    }),
  )

  it.effect("shows no secret: neither the upstream's key nor what an address holds beside host and path", () =>
    Effect.gen(function* () {
      const secret = "test-secret"
      for (const value of [` `, `${secret}\n${secret}`, `${secret} x`, `${secret}é`]) {
        const message = yield* refusal({ RESPOOL_UPSTREAM_API_KEY: value })
        assert.strictEqual(message, "RESPOOL_UPSTREAM_API_KEY: expected a text of visible ASCII characters")
      }
      const addresses = [
        [`https://me:${secret}@host/v1`, "https://…@host/v1"],
        [`me:${secret}@host/v1`, "…@host/v1"],
        [`https://me:${secret}@${secret}@host/v1`, "https://…@host/v1"],
        [`https://host/v1?key=${secret}`, "https://host/v1?…"],
        [`https://host/v1#${secret}`, "https://host/v1?…"],
      ] as const
      for (const [value, shown] of addresses) {
        const message = yield* refusal({ RESPOOL_UPSTREAM_URL: value })
        assert.strictEqual(message, `RESPOOL_UPSTREAM_URL="${shown}": ${address}`)
      }
      const path = yield* file(`{"upstreamApiKey":{"key":"${secret}"}}`)
      assert.notInclude(yield* refusal({ RESPOOL_CONFIG: path }), secret)
      const broken = yield* file(`{"upstreamApiKey":"${secret}`)
      assert.notInclude(yield* refusal({ RESPOOL_CONFIG: broken }), secret)
    }),
  )
})

it.layer(NodeFileSystem.layer)("A name that is none", (it) => {
  const inEnvironment = [
    ["RESPOOL_UPSTREM_URL", "RESPOOL_UPSTREAM_URL"],
    ["RESPOOL_UPSTREAM_KEY", "RESPOOL_UPSTREAM_API_KEY"],
    ["RESPOOL_IDLETTL", "RESPOOL_IDLE_TTL"],
    ["RESPOOL_MAX_BODY_", "RESPOOL_MAX_BODY"],
    ["RESPOOL_PORT_1", "RESPOOL_PORT"],
    ["RESPOOL__PORT", "RESPOOL_PORT"],
    ["RESPOOL_HTTP_PORT", "RESPOOL_PORT"],
    ["RESPOOL_CONFG", "RESPOOL_CONFIG"],
    ["RESPOOL_port", "RESPOOL_PORT"],
    ["RESPOOL", "RESPOOL_HOST"],
  ] as const

  it.effect.each(inEnvironment)("stops the start with one line and the nearest setting: %s", ([name, nearest]) =>
    Effect.gen(function* () {
      const message = yield* refusal({ RESPOOL_HOST: "127.0.0.1", [name]: "test-secret", PATH: "x", RESPOOLER: "y" })
      assert.strictEqual(message, `${name}: there is no such setting; the nearest is ${nearest}`)
    }),
  )

  it.effect("stops the start in the file as well", () =>
    Effect.gen(function* () {
      for (const [name, nearest] of [
        ["prot", "port"],
        ["RESPOOL_PORT", "port"],
        ["toString", "host"],
        ["__proto__", "auth"],
        ["maxConnection", "maxConnections"],
      ]) {
        const path = yield* file(`{"${name}":1}`)
        const message = yield* refusal({ RESPOOL_CONFIG: path })
        assert.match(message, new RegExp(`: there is no setting "${name}"; the nearest is "\\w+"$`))
        if (name === "prot" || name === "maxConnection") assert.include(message, `"${nearest}"`)
      }
    }),
  )

  it.effect("is let be where it is set to nothing, or is no name of ours", () =>
    Effect.gen(function* () {
      const values = yield* read({ RESPOOL_PROT: "", RESPOOLER: "x", MY_RESPOOL_PORT: "x", RESPOOL_PORT: "4321" })
      assert.deepStrictEqual(values, { ...Settings.defaults, port: 4321 })
    }),
  )
})

/** What Kubernetes sets in every pod beside a Service with one port. */
const serviceLinks = (name: string, address: string, protocol: string, port: number) => {
  const url = `${protocol.toLowerCase()}://${address.includes(":") ? `[${address}]` : address}:${port}`
  const ofPort = `${name}_PORT_${port}_${protocol}`
  return {
    [`${name}_SERVICE_HOST`]: address,
    [`${name}_SERVICE_PORT`]: String(port),
    [`${name}_SERVICE_PORT_HTTP`]: String(port),
    [`${name}_SERVICE_PORT_${port}`]: String(port),
    [`${name}_PORT`]: url,
    [ofPort]: url,
    [`${ofPort}_PROTO`]: protocol.toLowerCase(),
    [`${ofPort}_PORT`]: String(port),
    [`${ofPort}_ADDR`]: address,
  }
}

it.layer(NodeFileSystem.layer)("A Service of Kubernetes", (it) => {
  const services = [
    ["RESPOOL", "10.0.0.1", "TCP", 8080],
    ["RESPOOL", "fd00::1", "TCP", 8080],
    ["RESPOOL", "10.0.0.1", "UDP", 53],
    ["RESPOOL", "10.0.0.1", "SCTP", 1],
    ["RESPOOL_METRICS", "10.0.0.1", "TCP", 9090],
    ["RESPOOL_CONFIG", "10.0.0.1", "TCP", 9090],
    ["RESPOOL_PROXY", "10.0.0.1", "TCP", 3128],
    ["RESPOOL_UPSTREAM", "::ffff:10.0.0.1", "TCP", 443],
  ] as const
  for (const [name, address, protocol, port] of services) {
    it.effect(`sets no setting: ${name} at ${protocol} ${address} ${port}`, () =>
      Effect.gen(function* () {
        const links = serviceLinks(name, address, protocol, port)
        const { remarks, ...values } = yield* read(links)
        const { remarks: _, ...defaults } = Settings.defaults
        assert.deepStrictEqual(values, defaults)
        assert.lengthOf(remarks, 1)
        assert.include(remarks[0], "ignored")
        for (const set of Object.keys(links)) assert.match(remarks[0] ?? "", new RegExp(`[ ]${set}[, ]`))
      }),
    )
  }

  it.effect("leaves the file's setting of that name in force", () =>
    Effect.gen(function* () {
      const path = yield* file('{"port":4321}')
      const { port } = yield* read({ RESPOOL_CONFIG: path, ...serviceLinks("RESPOOL", "10.0.0.1", "TCP", 8080) })
      assert.strictEqual(port, 4321)
    }),
  )

  it.effect("is not meant by what has another form", () =>
    Effect.gen(function* () {
      for (const port of ["tcp://", "tcp://8080", "http://10.0.0.1:8080", "tcp://10.0.0.1", "10.0.0.1:8080"]) {
        const message = yield* refusal({ RESPOOL_PORT: port })
        assert.match(message, /^RESPOOL_PORT="[^"]+": expected a whole number from 0 to 65535$/)
      }
    }),
  )
})

describe("environmentName", () => {
  it("spells a setting's name as the environment does", () => {
    assert.strictEqual(environmentName("maxConnectionsPerSession"), "RESPOOL_MAX_CONNECTIONS_PER_SESSION")
  })
})
