/**
 * Clients that go away before they have got anything: nothing of their turn may go on, upstream or here.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { layerBun } from "../../src/upstream/dialer/DialerBun.ts"
import { layerWs } from "../../src/upstream/dialer/DialerWs.ts"
import type { Dialer } from "../../src/upstream/dialer/Dialer.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { eventually, promptly } from "../support/EventLoop.ts"
import { good, HostileUpstream } from "../support/HostileUpstream.ts"
import { user } from "../support/Items.ts"
import { rawUpstream } from "../support/RawUpstream.ts"
import { SocketReader } from "../support/SocketReader.ts"
import { talker } from "../support/Talker.ts"
import { TestProxy } from "../support/TestProxy.ts"

const proxied = (settings: Partial<SettingsValues> = {}, dialer: Layer.Layer<Dialer> = layerBun) =>
  Layer.unwrap(
    Effect.map(HostileUpstream, ({ port }) =>
      TestProxy.layerProxy({ upstreamUrl: `http://127.0.0.1:${port}/v1`, ...settings }, dialer),
    ),
  ).pipe(Layer.provideMerge(HostileUpstream.layer))

/** A client that has asked for a turn, on a connection of its own. */
const asking = Effect.fnUntraced(function* (stream: boolean) {
  const { url } = yield* TestProxy
  const client = yield* talker(url)
  const body = JSON.stringify({ model: "m", stream, input: [user("Hello")] })
  const head = ["POST /v1/responses HTTP/1.1", "host: proxy", "authorization: Bearer test-key-a"]
  client.say(`${head.join("\r\n")}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  return client
})

/** The turn is cancelled, and that is all that is said of it. */
const cancelled = Effect.gen(function* () {
  const { logged } = yield* TestProxy
  const lines = () => logged.filter((line) => line.includes("message=turn"))
  yield* promptly(
    () => lines().length > 0,
    () => "the turn's line",
  )
  assert.lengthOf(lines(), 1)
  assert.include(lines()[0], " outcome=cancelled ")
})

const poolIsEmpty = Effect.map(ConnectionPool, (pool) => assert.deepStrictEqual(pool.connections(), []))

/** How far a turn has come: what the upstream does, and until when the client stays. */
const stages = [
  ["before the upstream has said anything", good, ({ asked }: HostileUpstream["Service"]) => asked],
  [
    "before the upstream has answered the upgrade",
    { ...good, upgrade: () => {} },
    ({ upgrading }: HostileUpstream["Service"]) => upgrading,
  ],
] as const

for (const stream of [true, false]) {
  describe(`A client of a turn ${stream ? "that streams" : "in one piece"}`, () => {
    for (const [name, dialer] of [
      ["layerBun", layerBun],
      ["layerWs", layerWs],
    ] as const) {
      for (const [when, conduct, reached] of stages) {
        it.effect(`leaves ${when}: its upstream connection ends at once (${name})`, () =>
          Effect.gen(function* () {
            const upstream = yield* HostileUpstream
            upstream.conduct.now = { ...conduct, turn: () => {} }
            const client = yield* asking(stream)
            yield* reached(upstream)
            assert.strictEqual(client.text(), "")
            client.leave()
            yield* upstream.closed
            yield* cancelled
            yield* poolIsEmpty
            assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
          }).pipe(Effect.scoped, Effect.provide(proxied({}, dialer))),
        )
      }
    }

    it.effect("leaves while it waits for a connection: its place in the line is free, and it is never sent", () =>
      Effect.gen(function* () {
        const upstream = yield* HostileUpstream
        const pool = yield* ConnectionPool
        let turns = 0
        upstream.conduct.now = { ...good, turn: () => void turns++ }
        const first = yield* asking(stream)
        yield* upstream.asked
        const second = yield* asking(stream)
        yield* eventually(
          () => pool.waiting() === 1,
          () => "a turn that waits",
        )
        second.leave()
        yield* promptly(
          () => pool.waiting() === 0,
          () => "the end of its waiting",
        )
        yield* cancelled
        first.leave()
        yield* upstream.closed
        yield* TestClock.adjust("5 seconds")
        yield* poolIsEmpty
        assert.deepStrictEqual([turns, upstream.upgrades(), upstream.posts()], [1, 1, 0])
      }).pipe(Effect.scoped, Effect.provide(proxied({ maxConnections: 1, busy: "wait" }))),
    )

    it.effect("leaves before the upstream has answered over HTTP: its request ends", () =>
      Effect.gen(function* () {
        let asked = 0
        const { open, port } = yield* rawUpstream(() => void asked++)
        const layer = TestProxy.layerProxy({ upstreamUrl: `http://127.0.0.1:${port}/v1`, transport: "http" })
        yield* Effect.gen(function* () {
          const client = yield* asking(stream)
          yield* eventually(
            () => asked === 1,
            () => "the request",
          )
          client.leave()
          yield* eventually(
            () => open() === 0,
            () => "the end of the request",
          )
          yield* cancelled
        }).pipe(Effect.provide(layer))
      }).pipe(Effect.scoped),
    )
  })
}

describe("A client on a socket of its own", () => {
  for (const [stage, conduct, until] of stages) {
    for (const lane of [undefined, "a"]) {
      it.effect(`leaves ${stage}, on ${lane ?? "the default lane"}: the turn ends, and its connection with it`, () =>
        Effect.gen(function* () {
          const upstream = yield* HostileUpstream
          const { url } = yield* TestProxy
          let turns = 0
          upstream.conduct.now = { ...conduct, turn: () => void turns++ }
          const client = yield* SocketReader.open(url)
          const named = lane === undefined ? {} : { stream_id: lane }
          client.say({ model: "m", input: [user("Hello")], ...named })
          // It waits behind the other, and must not begin once that ends.
          client.say({ model: "m", input: [user("Then")], ...named })
          yield* until(upstream)
          client.leave()
          yield* upstream.closed
          yield* cancelled
          yield* poolIsEmpty
          assert.isAtMost(turns, 1)
          assert.strictEqual(upstream.upgrades(), 1)
        }).pipe(Effect.scoped, Effect.provide(proxied())),
      )
    }
  }

  it.effect("leaves while it waits for a connection: the turn ends, and no connection is opened for it", () =>
    Effect.gen(function* () {
      const upstream = yield* HostileUpstream
      const pool = yield* ConnectionPool
      const { url } = yield* TestProxy
      upstream.conduct.now = { ...good, turn: () => {} }
      const first = yield* SocketReader.open(url)
      first.say({ model: "m", input: [user("Hello")] })
      yield* upstream.asked
      const second = yield* SocketReader.open(url)
      second.say({ model: "m", input: [user("Hello")] })
      yield* eventually(
        () => pool.waiting() === 1,
        () => "a turn that waits",
      )
      second.leave()
      yield* promptly(
        () => pool.waiting() === 0,
        () => "the end of its waiting",
      )
      first.leave()
      yield* upstream.closed
      yield* TestClock.adjust("5 seconds")
      yield* poolIsEmpty
      assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
    }).pipe(Effect.scoped, Effect.provide(proxied({ maxConnections: 1, busy: "wait" }))),
  )
})
