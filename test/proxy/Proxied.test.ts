/**
 * The whole proxy behind a real HTTP proxy process, in front of an upstream whose certificate a private CA signed.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import type { Layer } from "effect"
import { Effect, FileSystem, Redacted } from "effect"
import { OpenAI } from "openai"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Dialer } from "../../src/upstream/dialer/Dialer.ts"
import { layerBun } from "../../src/upstream/dialer/DialerBun.ts"
import { layerWs } from "../../src/upstream/dialer/DialerWs.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Pair } from "../support/Certificate.ts"
import { authority, loopback } from "../support/Certificate.ts"
import { connectProxy, tlsFront } from "../support/ConnectProxy.ts"
import { tokenEndpoint } from "../support/TokenEndpoint.ts"

/** The simulator behind TLS. */
const upstream = Effect.fnUntraced(function* (clients?: string) {
  const ca = authority()
  const simulator = yield* Simulator
  const port = yield* tlsFront(Number(new URL(simulator.url).port), ca.leaf(loopback), clients)
  return { ca: ca.cert, port, url: `https://127.0.0.1:${port}/v1`, simulator }
})

/** Asks once more with all that was said; the status, or what an error says, comes with how the turn went. */
const ask = (client: OpenAI, input: ReadonlyArray<OpenAI.Responses.ResponseInputItem>) =>
  Effect.promise(() =>
    client.responses
      .create({ model: "m", input: [...input], store: false })
      .withResponse()
      .then(({ data, response }) => ({
        data,
        input: response.headers.get("x-respool-input"),
        transport: response.headers.get("x-respool-transport"),
      })),
  )

const converse = Effect.fnUntraced(function* (client: OpenAI) {
  const said: Array<OpenAI.Responses.ResponseInputItem> = [{ role: "user", content: "hello" }]
  const first = yield* ask(client, said)
  assert.strictEqual(first.data.status, "completed")
  said.push(...first.data.output.filter((item) => item.type === "message"), { role: "user", content: "again" })
  const second = yield* ask(client, said)
  assert.strictEqual(second.data.status, "completed")
  return [first, second].map(({ input, transport }) => `${transport} ${input}`)
})

const proxied = <A, E, R>(
  settings: Partial<SettingsValues>,
  dialer: Layer.Layer<Dialer>,
  use: Effect.Effect<A, E, R | TestProxy>,
) => use.pipe(Effect.provide(TestProxy.layerProxy(settings, dialer)))

const conversation = Effect.flatMap(TestProxy, ({ client }) => converse(client()))

/** The one error that a client gets, and what was logged meanwhile. */
const complaint = Effect.gen(function* () {
  const { client, logged } = yield* TestProxy
  const error = yield* Effect.promise(() =>
    client()
      .responses.create({ model: "m", input: "hello", store: false })
      .then(() => undefined)
      .catch((error: unknown) => error),
  )
  if (!(error instanceof OpenAI.APIError)) return yield* Effect.die(error)
  const all = `${error.message}${JSON.stringify(error.error)}${logged.join("\n")}`
  assert.notMatch(all, /test-pass|test-key|bWU6/)
  return { status: error.status, message: error.message }
})

const transports: ReadonlyArray<
  readonly [name: string, dialer: Layer.Layer<Dialer>, transport: "websocket" | "http", turns: ReadonlyArray<string>]
> = [
  ["Bun's sockets", layerBun, "websocket", ["websocket full", "websocket suffix"]],
  ["sockets of ws", layerWs, "websocket", ["websocket full", "websocket suffix"]],
  ["HTTP", layerBun, "http", ["http full", "http full"]],
]

for (const [name, dialer, transport, turns] of transports) {
  const test = <E>(title: string, body: Effect.Effect<void, E, Effect.Services<ReturnType<typeof upstream>>>) =>
    it.effect(title, () => body.pipe(Effect.provide(Simulator.layer())))

  describe(`The proxy behind a proxy, over ${name}`, () => {
    test(
      "carries a conversation through a tunnel, with a password and a private CA",
      Effect.gen(function* () {
        const { ca, port, simulator, url } = yield* upstream()
        const proxy = yield* connectProxy({ user: "me:test-pass" })
        const settings = { upstreamUrl: url, transport, tls: { ca }, proxy: proxy.with("me:test-pass") }
        assert.deepStrictEqual(yield* proxied(settings, dialer, conversation), turns)
        const seen = yield* proxy.seen
        assert.isNotEmpty(seen)
        for (const target of seen) assert.strictEqual(target, `CONNECT 127.0.0.1:${port}`)
        assert.strictEqual(simulator.counters.continuations, transport === "http" ? 0 : 1)
      }),
    )

    test(
      "carries a conversation to an upstream without TLS",
      Effect.gen(function* () {
        const { url } = yield* Simulator
        const { address, seen } = yield* connectProxy()
        const settings = { upstreamUrl: url, transport, proxy: address }
        assert.deepStrictEqual(yield* proxied(settings, dialer, conversation), turns)
        assert.isNotEmpty(yield* seen)
      }),
    )

    test(
      "takes the environment's proxy, and none where no_proxy names the upstream",
      Effect.gen(function* () {
        const { ca, port, url } = yield* upstream()
        for (const [no, direct] of [
          [[], false],
          [["other.test", `127.0.0.1:${port}`], true],
        ] as const) {
          const { address, seen } = yield* connectProxy()
          const environmentProxies = { http: undefined, https: address, no }
          const settings = { upstreamUrl: url, transport, tls: { ca }, environmentProxies }
          assert.deepStrictEqual(yield* proxied(settings, dialer, conversation), turns)
          assert.strictEqual((yield* seen).length === 0, direct)
        }
      }),
    )

    test(
      "tells the client in one error that the certificate was not accepted, and nothing was sent",
      Effect.gen(function* () {
        const { simulator, url } = yield* upstream()
        const { address } = yield* connectProxy()
        for (const proxy of [address, undefined]) {
          const settings = { upstreamUrl: url, transport, ...(proxy === undefined ? {} : { proxy }) }
          const { message, status } = yield* proxied(settings, dialer, complaint)
          assert.strictEqual(status, 502)
          assert.match(message, /TLS was not accepted|certificate was not accepted/)
        }
        assert.strictEqual(simulator.counters.executions, 0)
      }),
    )

    test(
      "carries a conversation with nobody's word for the certificate where it need not verify, and warns of it",
      Effect.gen(function* () {
        const { url } = yield* upstream()
        const { address } = yield* connectProxy()
        const settings = { upstreamUrl: url, transport, proxy: address, tlsVerify: "off" as const }
        const logged = Effect.map(TestProxy, ({ logged }) => logged.join("\n"))
        const [went, log] = yield* proxied(settings, dialer, Effect.all([conversation, logged]))
        assert.deepStrictEqual(went, turns)
        assert.include(log, "CERTIFICATES ARE NOT VERIFIED")
      }),
    )

    test(
      "shows the client certificate that the upstream demands",
      Effect.gen(function* () {
        const clients = authority()
        const { ca, url } = yield* upstream(clients.cert)
        const { address: proxy } = yield* connectProxy()
        const mine: Pair = clients.leaf("client.test")
        const settings = { upstreamUrl: url, transport, proxy, tls: { ca, ...mine } }
        assert.deepStrictEqual(yield* proxied(settings, dialer, conversation), turns)
        const { status } = yield* proxied({ ...settings, tls: { ca } }, dialer, complaint)
        assert.strictEqual(status, 502)
      }),
    )

    test(
      "tells the client in one error that the proxy refused, without the password",
      Effect.gen(function* () {
        const { ca, simulator, url } = yield* upstream()
        const proxy = yield* connectProxy({ user: "me:another" })
        for (const tried of [transport, "auto"] as const) {
          const settings = { upstreamUrl: url, transport: tried, tls: { ca }, proxy: proxy.with("me:test-pass") }
          const { message, status } = yield* proxied(settings, dialer, complaint)
          assert.strictEqual(status, 502)
          assert.include(message, "the proxy refused the tunnel with status 407")
        }
        assert.strictEqual(simulator.counters.executions, 0)
      }),
    )
  })
}

describe("The listener with TLS", () => {
  it.effect("serves a real client that trusts its CA, and no other", () =>
    Effect.gen(function* () {
      const ca = authority()
      const { url } = yield* Simulator
      const settings = { upstreamUrl: url, listenTls: ca.leaf(loopback) }
      const went = yield* proxied(
        settings,
        layerBun,
        Effect.gen(function* () {
          const proxy = yield* TestProxy
          const baseURL = proxy.url.replace(/^http:/, "https:")
          const options = { baseURL, apiKey: "test-key-a", maxRetries: 0 }
          const trusting = new OpenAI({ ...options, fetchOptions: { tls: { ca: ca.cert } } })
          const turns = yield* converse(trusting)
          const refused = yield* Effect.exit(Effect.tryPromise(() => new OpenAI(options).models.list()))
          assert.strictEqual(refused._tag, "Failure")
          return turns
        }),
      )
      assert.deepStrictEqual(went, ["websocket full", "websocket suffix"])
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

/** Gives this process a proxy in its environment, as long as the scope. */
const inEnvironment = (address: Redacted.Redacted<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = Bun.env["HTTP_PROXY"]
      Bun.env["HTTP_PROXY"] = Redacted.value(address)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        if (before === undefined) delete Bun.env["HTTP_PROXY"]
        else Bun.env["HTTP_PROXY"] = before
      }),
  )

describe("The environment's own proxies", () => {
  it.effect("are none of fetch's business where the settings say otherwise", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* connectProxy()
      const { url } = yield* Simulator
      yield* inEnvironment(address)
      const client = Effect.flatMap(TestProxy, ({ client }) => {
        const direct = client().withOptions({ fetchOptions: { proxy: false } })
        return converse(direct)
      })
      yield* proxied({ upstreamUrl: url, transport: "http" }, layerBun, client)
      assert.deepStrictEqual(yield* seen, [])
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("see no refresh of a token either", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* connectProxy()
      const { asked, url: tokenUrl } = yield* tokenEndpoint()
      const simulator = yield* Simulator
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped({ prefix: "respool-proxied-" })}/token.json`
      const held = { accessToken: "test-old", refreshToken: "test-refresh", expiresAt: 0, tokenUrl, clientId: "client" }
      yield* fs.writeFileString(path, JSON.stringify(held), { mode: 0o600 })
      const upstreams = [{ name: "main", url: simulator.url, credential: { _tag: "TokenFile" as const, path } }]
      yield* inEnvironment(address)
      const client = Effect.flatMap(TestProxy, ({ client }) =>
        converse(client().withOptions({ fetchOptions: { proxy: false } })),
      )
      yield* client.pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
      assert.lengthOf(asked, 1)
      assert.deepStrictEqual(yield* seen, [])
    }).pipe(Effect.provide([Simulator.layer(), NodeFileSystem.layer])),
  )
})
