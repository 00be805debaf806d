import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer } from "effect"
import { Settings } from "../../src/config/Settings.ts"
import * as Server from "../../src/Server.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"

interface Mistake {
  /** `respool.json`; a text as it is. `FOLDER` stands for the folder that it lies in. */
  readonly file?: object | string
  readonly env?: Readonly<Record<string, string>>
  /** The line; `FILE` stands for the file's path. */
  readonly says: string
}

const secret = "test-secret"

const upstream = (of: object, more: object = {}) => ({ upstreams: { main: of }, ...more })
/** One at OpenAI, and what is said of it. */
const main = (more: object, says: string): Mistake => ({
  file: upstream({ profile: "openai", ...more }),
  says: `FILE: upstreams.main${says}`,
})
const two = (second: object) => ({
  upstreams: { main: { profile: "openai", apiKey: secret }, second: { url: "https://second.test/v1", ...second } },
})

const address = "expected an http, https, ws or wss address without user, query or fragment"
const proxy =
  "expected an http or https address of a proxy, such as `http://user:password@proxy:3128`, or `direct` for none"

const mistakes: ReadonlyArray<Mistake> = [
  // The file itself.
  { file: '{ "port": 0, }', says: "FILE is not a JSON object: see line 1, column 14" },
  { file: '{ "port": 0, "port": 1 }', says: 'FILE: "port" appears twice' },
  {
    file: '{ "upstreams": { "main": { "profile": "openai" }, "main": { "profile": "xai" } } }',
    says: 'FILE: a name appears twice inside "upstreams"',
  },
  { file: { upstream: {} }, says: 'FILE: there is no setting "upstream"; the nearest is "upstreams"' },
  { file: { port: [1] }, says: 'FILE: "port" must be a text or a number' },
  // The upstreams as a whole.
  { file: { upstreams: [] }, says: 'FILE: "upstreams" must be an object of upstreams by their names' },
  { file: { upstreams: {} }, says: "FILE: upstreams names no upstream" },
  {
    file: { upstreams: { "a b": {} } },
    says: "FILE: upstreams.a b: a name is 1 to 64 letters, digits and ._- and begins with none of these signs",
  },
  { file: { upstreams: { main: "https://host.test" } }, says: "FILE: upstreams.main must be an object" },
  { file: { defaultUpstream: "main" }, says: 'FILE: "defaultUpstream" needs "upstreams"' },
  {
    file: upstream({ profile: "openai" }, { defaultUpstream: 1 }),
    says: 'FILE: "defaultUpstream" must be the name of an upstream',
  },
  {
    file: upstream({ profile: "openai" }, { defaultUpstream: "mian" }),
    says: 'FILE: defaultUpstream: there is no upstream "mian"; the nearest is "main"',
  },
  {
    file: upstream({ profile: "openai" }, { upstreamUrl: "https://host.test" }),
    says: "FILE: upstreamUrl and FILE: upstreams: say one of them",
  },
  {
    file: upstream({ profile: "openai" }),
    env: { RESPOOL_UPSTREAM_URL: "https://host.test" },
    says: "RESPOOL_UPSTREAM_URL and FILE: upstreams: say one of them",
  },
  {
    file: upstream({ profile: "openai" }),
    env: { RESPOOL_PROFILE: "xai" },
    says: "RESPOOL_PROFILE and FILE: upstreams: say one of them",
  },
  // One of them: where it is.
  {
    file: upstream({ modles: "m" }),
    says: 'FILE: upstreams.main: there is no setting "modles"; the nearest is "models"',
  },
  { file: upstream({}), says: 'FILE: upstreams.main needs a "url" or a "profile"' },
  {
    file: upstream({ profile: "azure" }),
    says: 'FILE: upstreams.main needs a "url": the profile azure knows none',
  },
  {
    file: upstream({ profile: "opanai" }),
    says: 'FILE: upstreams.main.profile="opanai": expected openai | azure | xai | vercel | codex | custom',
  },
  { file: upstream({ url: `https://me:${secret}@host.test` }), says: `FILE: upstreams.main.url: ${address}` },
  {
    file: upstream({ url: "wss://host.test/v1", transport: "http" }),
    says: "FILE: upstreams.main.url names a WebSocket, but its transport is http",
  },
  {
    file: upstream({ url: "wss://host.test/v1" }),
    env: { RESPOOL_TRANSPORT: "http" },
    says: "FILE: upstreams.main.url names a WebSocket, but its transport is http",
  },
  {
    file: upstream({ url: "https://host.test/v1", transport: "tcp" }),
    says: 'FILE: upstreams.main.transport="tcp": expected auto | websocket | http',
  },
  // What it serves, and its limits.
  main({ models: ["a b"] }, '.models="a b": expected names of models, in which * stands for anything'),
  main({ models: [1] }, ".models must be a text, a number or a list of texts"),
  {
    file: {
      upstreams: {
        main: { profile: "openai", models: ["m"] },
        second: { profile: "xai", apiKey: secret, models: ["m"] },
      },
    },
    says: 'FILE: upstreams.second.models: "m" is served by "main" already',
  },
  main({ maxAge: "soon" }, '.maxAge="soon": expected a duration such as `3 seconds` or `50 minutes`'),
  {
    file: upstream({ profile: "xai", maxAge: "25 minutes" }),
    says: "FILE: upstreams.main.maxAge must be below the 25 minutes that a connection lives there",
  },
  {
    file: upstream({ profile: "vercel", maxMessage: "5 MiB" }),
    says: "FILE: upstreams.main.maxMessage must be at most the 4194304 bytes that are taken there",
  },
  main({ idleTtl: 50 }, '.idleTtl="50": expected a duration such as `3 seconds` or `50 minutes`'),
  main(
    { forwardHeaders: ["cookie"] },
    '.forwardHeaders="cookie": expected header names, separated by commas, but none of the upgrade\'s own',
  ),
  // Its credential.
  main({ apiKey: `${secret} x` }, ".apiKey: expected a text of visible ASCII characters"),
  main({ apiKey: secret, tokenFile: "t" }, " names apiKey and tokenFile: say one"),
  main({ apiKeyFile: "/no/where" }, '.apiKeyFile="/no/where": the file can\'t be read'),
  main({ apiKeyFile: "FOLDER/respool.json" }, '.apiKeyFile="FILE": expected a file with a key in it and nothing else'),
  ...["640", "604", "620", "602", "660", "644"].map((mode) =>
    main(
      { apiKeyFile: `FOLDER/${mode}.key` },
      `.apiKeyFile="FOLDER/${mode}.key": the file is open to other users of this machine: run \`chmod 600\` on it`,
    ),
  ),
  main({ credential: secret }, ".credential: expected caller"),
  {
    file: upstream({ profile: "codex", codexAuth: "~/auth.json" }),
    says: "FILE: upstreams.main.codexAuth: ~/auth.json can't be read: `~` does not stand for the home folder here",
  },
  {
    file: upstream({ profile: "codex", codexAuth: "FOLDER/cert.pem" }),
    says: "FILE: upstreams.main.codexAuth: FOLDER/cert.pem is not the Codex CLI's auth.json: log in with `codex login`",
  },
  main({ tokenFile: "/no/where" }, ".tokenFile: /no/where can't be read"),
  main(
    { tokenFile: "FOLDER/cert.pem" },
    ".tokenFile: FOLDER/cert.pem is open to other users of this machine: run `chmod 600` on it",
  ),
  main({ codexAuth: "auth.json" }, ".codexAuth is for the profile codex, and this one is openai"),
  {
    file: two({}),
    says: 'FILE: upstreams.second does not say which credential it gets: apiKeyFile, apiKey, tokenFile or codexAuth, or "credential": "caller" to pass the caller\'s on',
  },
  {
    file: two({ credential: "caller" }),
    env: { RESPOOL_AUTH: "keys" },
    says: "RESPOOL_AUTH=keys needs a credential of its own for FILE: upstreams.second",
  },
  {
    env: { RESPOOL_PROFILE: "azure" },
    says: "RESPOOL_PROFILE=azure needs RESPOOL_UPSTREAM_URL: that profile knows no URL",
  },
  {
    file: upstream({ profile: "openai", apiKey: secret }),
    env: { RESPOOL_HOST: "0.0.0.0" },
    says: 'RESPOOL_HOST="0.0.0.0" lets anybody there use the credential of upstreams.main: set RESPOOL_AUTH to keys',
  },
  // TLS and proxies.
  main({ tlsCa: "/no/where" }, '.tlsCa="/no/where": the file can\'t be read'),
  main({ tlsCert: "FOLDER/cert.pem" }, ".tlsCert and FILE: upstreams.main.tlsKey must be set together"),
  main({ tlsVerify: "no" }, '.tlsVerify="no": expected on | off'),
  main({ proxy: `socks5://me:${secret}@proxy.test` }, `.proxy: ${proxy}`),
]

const layer = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, Simulator.layer())

it.layer(layer)("A mistake in the configuration", (it) => {
  it("has each a line of its own in this table, and there are at least 25", () => {
    // The same contradiction, met in two ways.
    const lines = new Set(mistakes.map(({ says }) => says))
    assert.isAtLeast(lines.size, 40)
    assert.isAtMost(mistakes.length - lines.size, 1)
  })

  for (const { env = {}, file = {}, says } of mistakes) {
    it.effect(`stops the start with one line: ${says}`, () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-mistake-" })
        const path = `${folder}/respool.json`
        yield* fs.writeFileString(`${folder}/cert.pem`, "-----BEGIN CERTIFICATE-----\n", { mode: 0o644 })
        const text = typeof file === "string" ? file : JSON.stringify(file, undefined, 2)
        yield* fs.writeFileString(path, text.replaceAll("FOLDER", folder), { mode: 0o600 })
        for (const mode of [0o640, 0o604, 0o620, 0o602, 0o660, 0o644]) {
          yield* fs.writeFileString(`${folder}/${mode.toString(8)}.key`, secret, { mode: 0o600 })
          yield* fs.chmod(`${folder}/${mode.toString(8)}.key`, mode)
        }
        // A start that came as far as to listen would say that the port is in use.
        const port = String((yield* Simulator).port)
        const provider = ConfigProvider.fromEnv({ env: { RESPOOL_PORT: port, ...env, RESPOOL_CONFIG: path } })
        const start = Layer.build(
          Server.layer.pipe(Layer.provide(Settings.layerConfig), Layer.provide(ConfigProvider.layer(provider))),
        )
        const { message } = yield* Effect.flip(start)
        assert.strictEqual(message.replaceAll(path, "FILE").replaceAll(folder, "FOLDER"), says)
        assert.notInclude(message, "\n")
        assert.notInclude(message, secret)
      }),
    )
  }

  it.effect("is found in a credential's file as well where code names it", () =>
    Effect.gen(function* () {
      const { port } = yield* Simulator
      const credential = { _tag: "TokenFile", path: "/no/where" } as const
      const upstreams = [{ name: "main", url: "https://host.test/v1", credential }]
      const start = Layer.build(Server.layer.pipe(Layer.provide(Settings.layer({ port, upstreams }))))
      const { message } = yield* Effect.flip(start)
      assert.strictEqual(message, "Settings.layer: upstreams.main.tokenFile: /no/where can't be read")
    }),
  )
})
