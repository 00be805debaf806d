/**
 * A client's wish for a WebSocket: who is let in, what the answer says, and how many there may be.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { round } from "../../support/EventLoop.ts"
import { errorIn, keyed, socket } from "../../support/SocketClient.ts"
import { socketsOpen } from "../../support/OpenSockets.ts"
import { saidTo } from "../../support/Talker.ts"
import { makeTenancy, revokeKey, startProxy } from "../../support/Tenancy.ts"
import { connect, idOf, upgrade } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const asked = (headers: Record<string, string> = keyed()) =>
  Effect.flatMap(TestProxy, (proxy) => upgrade(proxy, headers))

/** Status and code of a refusal, which is an answer of HTTP. */
const refused = Effect.fnUntraced(function* (headers: Record<string, string>, path = "/v1/responses") {
  const { url } = yield* TestProxy
  const lines = Object.entries({
    host: new URL(url).host,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const text = yield* saidTo(url, `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`)
  const body = JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)) as { readonly error: { readonly code: string } }
  return [Number(text.split(" ")[1]), body.error.code] as const
})

/** Time in which the client can answer pings. */
const minutes = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("20 seconds"), Effect.repeat(round, { times: 4 })), {
    times: count * 3 - 1,
  })

const closing = { connection: "Upgrade, close" }

/** In front of an upstream with a key of its own. */
const withOwnKey = Layer.unwrap(
  Effect.map(Simulator, ({ url }) => {
    const credential = { _tag: "Fixed" as const, apiKey: Redacted.make("sk-own") }
    return TestProxy.layerProxy({ upstreams: [{ name: "main", url, credential }] })
  }),
).pipe(Layer.provideMerge(Simulator.layer()))

const ofCodex = { "chatgpt-account-id": "account-a", originator: "codex_exec" }

describe("A client's WebSocket", () => {
  for (const path of ["/v1/responses", "/responses"]) {
    it.effect(`opens at ${path}, and carries a turn`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const client = yield* connect({ url: url.replace("/v1", path.replace("/responses", "")) }, keyed())
        assert.strictEqual((yield* client.turn({ input: "Hello" })).type, "response.completed")
      }).pipe(Effect.provide(TestProxy.layerBrief())),
    )
  }

  it.effect("is refused with 426 where the setting says so, and elsewhere than at the turn's path", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* refused({ ...keyed(), ...closing }), [426, "websocket_not_supported"])
    }).pipe(Effect.provide(TestProxy.layerBrief({ downstreamWebsocket: "off" }))),
  )

  for (const [what, headers] of [
    ["another version", { "sec-websocket-version": "8" }],
    ["no version", { "sec-websocket-version": "" }],
    ["a short key", { "sec-websocket-key": "AAAA" }],
    ["an empty key", { "sec-websocket-key": "" }],
    ["a key with other characters", { "sec-websocket-key": "A!AAAAAAAAAAAAAAAAAAAA==" }],
  ] as const) {
    it.effect(`is refused with 400 where the upgrade has ${what}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* refused({ ...keyed(), ...closing, ...headers }), [400, "invalid_upgrade"])
      }).pipe(Effect.provide(TestProxy.layerBrief())),
    )
  }

  it.effect("shows a key of the proxy's in any way in which clients show one, and carries a turn", () =>
    Effect.gen(function* () {
      const { url: upstream } = yield* Simulator
      const tenancy = yield* makeTenancy
      const proxy = yield* startProxy(tenancy, upstream)
      const { secret } = tenancy.a
      const ways: ReadonlyArray<Record<string, string>> = [
        { "api-key": secret },
        { "Api-Key": secret },
        { "api-key": ` ${secret} ` },
        { "api-key": secret, authorization: " " },
        { "api-key": secret, authorization: `Bearer ${secret}` },
        { authorization: `Bearer ${secret}` },
      ]
      for (const headers of ways) {
        const client = yield* connect(proxy, headers)
        const end = yield* client.turn({ input: "Hello" })
        assert.strictEqual(end.type, "response.completed", JSON.stringify(headers))
      }
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer())),
  )

  it.effect("is refused with 401 before the upgrade where its key is none", () =>
    Effect.gen(function* () {
      const { url: upstream } = yield* Simulator
      const proxy = yield* startProxy(yield* makeTenancy, upstream)
      const without: ReadonlyArray<Record<string, string>> = [
        {},
        keyed("respool_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        keyed("sk-test"),
        { authorization: "Basic abc" },
        { authorization: "Bearer" },
        { "api-key": "sk-test" },
        { "api-key": "" },
        { "api-key": "respool_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
        { "sec-websocket-protocol": "openai-insecure-api-key.sk-wrong" },
        { "sec-websocket-protocol": "openai-insecure-api-key." },
      ]
      for (const headers of without) {
        const answer = yield* refused({ ...closing, ...headers }).pipe(Effect.provideService(TestProxy, proxy))
        assert.deepStrictEqual(answer, [401, "invalid_api_key"], JSON.stringify(headers))
      }
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer())),
  )

  it.effect("is refused with 403 to a web page of another origin where respool adds a credential", () =>
    Effect.gen(function* () {
      const pages = [
        { origin: "https://elsewhere.example" },
        { origin: "null" },
        { origin: "http://127.0.0.1:1" },
        { "sec-fetch-site": "cross-site" },
        { host: "rebound.example" },
      ]
      for (const page of pages) {
        const [status] = yield* refused({ ...closing, ...page })
        assert.strictEqual(status, 403, JSON.stringify(page))
      }
    }).pipe(Effect.provide(withOwnKey)),
  )

  it.effect(
    "takes no more sockets than there may be, of one caller and in all, and takes them again once some close",
    () =>
      Effect.gen(function* () {
        const first = yield* socket()
        yield* socket()
        yield* first.turn({ input: "x" })
        assert.deepStrictEqual(yield* refused({ ...keyed(), ...closing }), [503, "server_overloaded"])
        yield* socket(keyed("test-key-b"))
        assert.deepStrictEqual(yield* refused({ ...keyed("test-key-c"), ...closing }), [503, "server_overloaded"])
        yield* first.close
        yield* first.closed
        const again = yield* socket()
        assert.strictEqual((yield* again.turn({ input: "x" })).type, "response.completed")
      }).pipe(Effect.provide(TestProxy.layerBrief({ maxClientSockets: 3, maxClientSocketsPerScope: 2 }))),
  )

  for (const [offered, echoed] of [
    ["responses", "responses"],
    ["openai-beta.responses.v1, other", "openai-beta.responses.v1"],
    ["openai-insecure-api-key.test-key-a, realtime", "realtime"],
    ["realtime, openai-insecure-api-key.test-key-a", "realtime"],
    ["openai-insecure-api-key.test-key-a", "openai-insecure-api-key.test-key-a"],
  ] as const) {
    it.effect(`accepts one of the subprotocols ${offered}`, () =>
      Effect.gen(function* () {
        const { headers, status } = yield* asked({ "sec-websocket-protocol": offered })
        assert.deepStrictEqual([status, headers.get("sec-websocket-protocol")], [101, echoed])
      }).pipe(Effect.provide(TestProxy.layerBrief())),
    )
  }

  it.effect("takes its key from a subprotocol where no header has one, and never logs it", () =>
    Effect.gen(function* () {
      const proxy = yield* TestProxy
      const simulator = yield* Simulator
      const offer = { "sec-websocket-protocol": "responses, openai-insecure-api-key.test-key-a" }
      const client = yield* connect(proxy, offer)
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      const other = yield* connect(proxy, { ...offer, ...keyed("test-key-b") })
      assert.strictEqual((yield* other.turn({ input: "x" })).type, "response.completed")
      const shown = simulator.connections.map(({ token }) => token)
      assert.strictEqual(new Set(shown).size, 2)
      assert.notInclude(proxy.logged.join("\n"), "test-key")
    }).pipe(Effect.provide(TestProxy.layerBrief({}, { apiKeys: ["test-key-a", "test-key-b"] }))),
  )

  it.effect("is told by its upgrade what the upstream told of the last one, but for the state of a turn", () =>
    Effect.gen(function* () {
      const client = yield* socket(ofCodex)
      const turn = { store: false, instructions: "Be brief.", input: "Hello" }
      assert.strictEqual((yield* client.turn(turn)).type, "response.completed")
      const { headers, status } = yield* asked({ ...keyed(), ...ofCodex })
      assert.strictEqual(status, 101)
      assert.strictEqual(headers.get("x-models-etag"), 'W/"models-1"')
      assert.isNull(headers.get("x-codex-turn-state"))
      const stranger = yield* asked({ ...keyed("test-key-b"), ...ofCodex })
      assert.isNull(stranger.headers.get("x-models-etag"))
    }).pipe(Effect.provide(TestProxy.layerBrief({ profile: "codex" }, { profile: "codex" }))),
  )

  it.effect("is closed with 1008 once its key is revoked, and another's is not", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { url: upstream } = yield* Simulator
      const proxy = yield* startProxy(tenancy, upstream)
      const opened = (key: string) => socket(keyed(key)).pipe(Effect.provideService(TestProxy, proxy))
      const [gone, lasting, second] = [
        yield* opened(tenancy.a.secret),
        yield* opened(tenancy.b.secret),
        yield* opened(tenancy.c.secret),
      ]
      for (const client of [gone, lasting, second]) {
        assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      }
      yield* revokeKey(tenancy, tenancy.a)
      yield* revokeKey(tenancy, tenancy.c)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* gone.closed, 1008)
      assert.strictEqual((yield* lasting.turn({ input: "x" })).type, "response.completed")
      // Its user has another key, so its scope lives on; the key itself does not.
      assert.deepStrictEqual(errorIn(yield* second.turn({ input: "x" })), [401, "invalid_api_key", undefined])
      assert.strictEqual(yield* second.closed, 1008)
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer())),
  )

  it.effect("is pinged, lives while it answers, and is closed with 1001 once no turn came for long", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      yield* minutes(9)
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      yield* minutes(11)
      assert.strictEqual(yield* client.closed, 1001)
    }).pipe(Effect.provide(TestProxy.layerBrief({ downstreamIdle: 600_000 }))),
  )

  it.effect("carries turns of a caller without a credential, which go over HTTP", () =>
    Effect.gen(function* () {
      const { counters } = yield* Simulator
      const client = yield* connect(yield* TestProxy)
      const first = yield* client.turn({ input: "x", stream_id: "a", event_id: "e", generate: true })
      assert.deepStrictEqual([first.type, first.stream_id], ["response.completed", "a"])
      const next = yield* client.turn({ input: "y", previous_response_id: idOf(first) })
      assert.strictEqual(next.type, "response.completed")
      assert.deepStrictEqual([counters.httpTurns, counters.websocketTurns], [2, 0])
    }).pipe(Effect.provide(TestProxy.layerBrief())),
  )

  it.effect("ends its turns and their connections when it goes", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.configure({ fault: () => [{ _tag: "Hold", at: 3 }] })
      const client = yield* socket()
      yield* client.send({ input: "one" })
      yield* client.send({ input: "two", stream_id: "a" })
      yield* client.send({ input: "three", stream_id: "a" })
      yield* simulator.until(({ turns }) => turns.length === 2)
      yield* client.close
      yield* socketsOpen(simulator, 0)
      assert.isTrue(simulator.turns.every(({ status }) => status === "abandoned"))
      assert.strictEqual(simulator.turns.length, 2)
    }).pipe(Effect.provide(TestProxy.layerBrief())),
  )
})

describe("A client's frame of bytes", () => {
  it.effect("is answered with an error, and the socket goes on", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      yield* client.binary(new Uint8Array([1, 2, 3]))
      assert.deepStrictEqual(errorIn(yield* client.next), [400, "invalid_type", undefined])
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(TestProxy.layerBrief())),
  )
})
