import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import type { SettingsValues } from "../../src/config/Settings.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Answer } from "../support/Ask.ts"
import { outputOf, way } from "../support/Ask.ts"
import { eventsOf, responseIn } from "../support/Events.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"

const proxied = TestProxy.layerBrief

const greet = (members: JsonObject = {}) => post({ input: "Hello", ...members })

/** What the answer says, without the ids that every upstream makes anew. */
const said = (answer: Answer) => {
  const streamed = answer.headers.get("content-type")?.startsWith("text/event-stream") === true
  const text = streamed ? responseIn(eventsOf(answer.text).at(-1)) : answer.text
  const { output } = JSON.parse(text) as { readonly output: ReadonlyArray<JsonObject> }
  return output.map(({ content, summary, type }) => ({ type, content, summary }))
}

describe("An upstream without WebSocket", () => {
  for (const status of [404, 405, 426, 501] as const) {
    for (const stream of [false, true]) {
      it.effect(
        `that says so by ${status} gives the same answer over HTTP, and is not asked again for 5 minutes (stream: ${stream})`,
        () =>
          Effect.gen(function* () {
            const simulator = yield* Simulator
            const first = yield* greet({ stream })
            assert.strictEqual(first.status, 200)
            assert.deepStrictEqual(way(first), ["http", "upgrade_refused"])
            yield* TestClock.adjust("299 seconds")
            assert.deepStrictEqual(way(yield* greet({ stream })), ["http", "upstream_http_only"])
            assert.deepInclude(simulator.counters, { refusedUpgrades: 1, httpTurns: 2 })
            yield* TestClock.adjust("1 second")
            assert.deepStrictEqual(way(yield* greet({ stream })), ["http", "upgrade_refused"])
            assert.deepInclude(simulator.counters, { refusedUpgrades: 2, httpTurns: 3 })
            yield* TestClock.adjust("5 minutes")
            yield* simulator.configure({ websocket: "on" })
            const socket = yield* greet({ stream })
            assert.strictEqual(way(socket)[0], "websocket")
            assert.deepStrictEqual(said(first), said(socket))
          }).pipe(Effect.provide(proxied({}, { websocket: "off", websocketOffStatus: status }))),
      )
    }
  }

  it.effect("is asked again after a pause where its refusal says nothing about WebSockets", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.configure({ upgradeRefusal: { status: 503 } })
      assert.deepStrictEqual(way(yield* greet()), ["http", "upgrade_refused"])
      assert.deepStrictEqual(way(yield* greet()), ["http", "dial_backoff"])
      assert.deepInclude(simulator.counters, { refusedUpgrades: 1, httpTurns: 2 })
      yield* simulator.configure({ upgradeRefusal: undefined })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(way(yield* greet())[0], "websocket")
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("is the client's answer where the settings allow nothing else", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      for (let count = 1; count <= 2; count++) {
        assert.strictEqual((yield* greet()).status, 426)
        assert.deepInclude(simulator.counters, { refusedUpgrades: count, httpTurns: 0 })
      }
    }).pipe(Effect.provide(proxied({ transport: "websocket" }, { websocket: "off" }))),
  )
})

/** An upstream that answers HTTP and does to upgrades what a test wants. */
class Wayward extends Context.Service<
  Wayward,
  { readonly upgrading: Effect.Effect<void>; readonly turns: () => number }
>()("test/server/Wayward") {
  static readonly layer = (upgrades: "reset" | "hang", settings: Partial<SettingsValues>) =>
    Layer.unwrap(
      Effect.gen(function* () {
        const upgraded = yield* Deferred.make<void>()
        let turns = 0
        const server = createServer((request, response) => {
          request.resume().on("end", () => {
            turns++
            response.setHeader("content-type", "application/json")
            response.end(`{"id":"resp_1","output":[]}`)
          })
        })
        server.on("upgrade", (_request, socket) => {
          Deferred.doneUnsafe(upgraded, Effect.void)
          if (upgrades === "reset") socket.destroy()
        })
        yield* Effect.acquireRelease(
          Effect.callback<void>((resume) => {
            server.listen(0, "127.0.0.1", () => resume(Effect.void))
          }),
          () =>
            Effect.sync(() => {
              server.closeAllConnections()
              server.close()
            }),
        )
        const { port } = server.address() as AddressInfo
        return TestProxy.layerProxy({ ...settings, upstreamUrl: `http://127.0.0.1:${port}/v1` }).pipe(
          Layer.merge(Layer.succeed(Wayward, { upgrading: Deferred.await(upgraded), turns: () => turns })),
        )
      }),
    )
}

describe("A turn goes over HTTP at once", () => {
  it.effect("when the upstream breaks the upgrade off", () =>
    Effect.gen(function* () {
      const answer = yield* greet()
      assert.deepStrictEqual(way(answer), ["http", "dial_failed"])
      assert.strictEqual(answer.text, `{"id":"resp_1","output":[]}`)
      assert.strictEqual((yield* Wayward).turns(), 1)
    }).pipe(Effect.provide(Wayward.layer("reset", {}))),
  )

  it.effect("when the upgrade is not answered within the handshake's time", () =>
    Effect.gen(function* () {
      const { turns, upgrading } = yield* Wayward
      const fiber = yield* Effect.forkChild(greet())
      yield* upgrading
      yield* TestClock.adjust("6999 millis")
      assert.strictEqual(turns(), 0)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(way(yield* Fiber.join(fiber)), ["http", "dial_timeout"])
      assert.strictEqual(turns(), 1)
    }).pipe(Effect.provide(Wayward.layer("hang", { handshakeTimeout: 7_000 }))),
  )

  it.effect("when its message is over the socket's limit, and the next one is back on the socket", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      assert.deepStrictEqual(way(yield* greet({ input: "x".repeat(1000) })), ["http", "message_too_big"])
      assert.strictEqual(way(yield* greet())[0], "websocket")
      assert.deepInclude(simulator.counters, { upgrades: 1, openSockets: 1, httpTurns: 1, websocketTurns: 1 })
    }).pipe(Effect.provide(proxied({ maxMessage: 1000 }))),
  )

  it.effect("when there is no connection left for it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.failNext({ _tag: "Hold", at: 0 })
      const held = yield* Effect.forkChild(greet({ prompt_cache_key: "one" }))
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      assert.deepStrictEqual(way(yield* greet({ prompt_cache_key: "two" })), ["http", "pool_full"])
      yield* simulator.release
      assert.strictEqual(way(yield* Fiber.join(held))[0], "websocket")
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxied({ maxConnections: 1 }))),
  )

  it.effect("when the settings say HTTP", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      assert.deepStrictEqual(way(yield* greet()), ["http", "transport_http"])
      assert.deepInclude(simulator.counters, { upgrades: 0, refusedUpgrades: 0, httpTurns: 1 })
    }).pipe(Effect.provide(proxied({ transport: "http" }))),
  )

  const unfit: ReadonlyArray<readonly [what: string, members: JsonObject, reason: string, status: number]> = [
    ["background: true", { background: true }, "background", 200],
    [
      "background: true with its options",
      { background: true, background_options: { continuation_id: "a", completion_window: "8h" } },
      "background",
      200,
    ],
    ["options of the background alone", { background_options: { completion_window: "soonest" } }, "background", 200],
    [
      "options of the background that need background: true",
      { background: false, background_options: { completion_window: "2h" } },
      "background",
      400,
    ],
    ["options of the background that are no object", { background_options: "2h" }, "background", 400],
    ["a stream that is no boolean", { stream: "yes" }, "unusual_member", 400],
    ["a background that is no boolean", { background: "yes" }, "unusual_member", 400],
  ]
  for (const [what, members, reason, status] of unfit) {
    it.effect(`for ${what}, and the upstream judges it`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const answer = yield* greet(members)
        assert.strictEqual(answer.status, status, answer.text)
        assert.deepStrictEqual(way(answer), ["http", reason])
        assert.strictEqual(simulator.turns[0]?.raw, JSON.stringify({ model: "gpt-5.5", input: "Hello", ...members }))
        assert.deepInclude(simulator.counters, { upgrades: 0, httpTurns: 1 })
      }).pipe(Effect.provide(proxied())),
    )
  }

  it.effect("and the session's connection goes on where it was", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const begun = yield* post({ input: [user("One")] })
      const history = [user("One"), ...outputOf(begun), user("Two")]
      assert.deepStrictEqual(way(yield* post({ input: history, background: true })), ["http", "background"])
      assert.deepStrictEqual(way(yield* post({ input: history })), ["websocket", "continued"])
      assert.strictEqual(simulator.counters.continuations, 1)
    }).pipe(Effect.provide(proxied())),
  )
})
