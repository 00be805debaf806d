import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { ask, codeIn, driven, endingOf, extended, proxied, reference, settled } from "../support/Faulty.ts"
import { user } from "../support/Items.ts"
import { way } from "../support/Ask.ts"

const turn = Effect.fnUntraced(function* (stream = false, query = "") {
  const { url } = yield* TestProxy
  return yield* ask({ url, stream, query, session: "s", input: [user("One")] })
})

/** Ends the session's connection, so that the next turn must dial. */
const hangUp = Effect.gen(function* () {
  yield* (yield* Simulator).disconnect()
  yield* settled()
})

describe("An upgrade that is refused", () => {
  for (const status of [400, 404, 405, 418, 426, 500, 501, 502, 503]) {
    it.effect(`with ${status} sends the turn over HTTP, a first one and a later one`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { url } = yield* TestProxy
        const right = yield* reference(true)
        yield* simulator.configure({ upgradeRefusal: { status } })
        const first = yield* turn(true)
        assert.deepStrictEqual(way(first), ["http", "upgrade_refused"])
        assert.strictEqual(endingOf(first, true, right[0] ?? []), "answer")
        yield* TestClock.adjust("5 minutes")
        yield* simulator.configure({ upgradeRefusal: undefined })
        const begun = yield* turn(true)
        yield* hangUp
        yield* simulator.configure({ upgradeRefusal: { status } })
        const input = extended([user("One")], begun, true, "Two")
        const later = yield* ask({ url, stream: true, session: "s", input })
        assert.deepStrictEqual(way(later), ["http", "upgrade_refused"])
        assert.strictEqual(endingOf(later, true, right[1] ?? []), "answer")
        assert.deepInclude(simulator.counters, { executions: 3, httpTurns: 2, refusedUpgrades: 2 })
      }).pipe(Effect.provide(proxied())),
    )
  }

  for (const status of [401, 403, 429]) {
    it.effect(`with ${status} is the client's answer, and is tried again at the next turn`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        for (let count = 1; count <= 2; count++) {
          yield* simulator.configure({ upgradeRefusal: { status, body: `{"error":{"code":"no","message":"no"}}` } })
          const got = yield* turn()
          assert.deepStrictEqual([got.status, codeIn(got)], [status, "no"])
          assert.isNull(got.headers.get("x-should-retry"))
          assert.deepInclude(simulator.counters, { executions: 0, httpTurns: 0, refusedUpgrades: count })
        }
        yield* simulator.configure({ upgradeRefusal: undefined })
        assert.strictEqual((yield* turn()).status, 200)
      }).pipe(Effect.provide(proxied())),
    )
  }

  it.effect("is the client's where nothing but the socket is allowed, and backs off with `retry-after`", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.configure({ upgradeRefusal: { status: 503 } })
      assert.strictEqual((yield* turn()).status, 503)
      const backedOff = yield* turn()
      assert.strictEqual(backedOff.status, 503)
      assert.strictEqual(backedOff.headers.get("retry-after"), "1")
      assert.deepInclude(simulator.counters, { executions: 0, httpTurns: 0, refusedUpgrades: 1 })
    }).pipe(Effect.provide(proxied({ transport: "websocket" }))),
  )

  it.effect("keeps only those who ask with the same query on HTTP for five minutes", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.configure({ websocket: "off" })
      assert.deepStrictEqual(way(yield* turn(false, "?v=1")), ["http", "upgrade_refused"])
      yield* simulator.configure({ websocket: "on" })
      assert.deepStrictEqual(way(yield* turn(false, "?v=1")), ["http", "upstream_http_only"])
      assert.strictEqual(way(yield* turn(false, "?v=2"))[0], "websocket")
      assert.strictEqual(way(yield* turn())[0], "websocket")
      yield* TestClock.adjust("299 seconds")
      assert.deepStrictEqual(way(yield* turn(false, "?v=1")), ["http", "upstream_http_only"])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(way(yield* turn(false, "?v=1"))[0], "websocket")
    }).pipe(Effect.provide(proxied())),
  )
})

describe("A dial that fails", () => {
  it.effect("backs off for 1 second, then twice as long each time up to 30, and is forgotten by one that opens", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const refusals = () => simulator.counters.refusedUpgrades
      yield* simulator.configure({ upgradeRefusal: { status: 503 } })
      for (const [index, seconds] of [1, 2, 4, 8, 16, 30, 30].entries()) {
        assert.deepStrictEqual(way(yield* turn()), ["http", "upgrade_refused"])
        assert.strictEqual(refusals(), index + 1)
        yield* TestClock.adjust(seconds * 1000 - 1)
        assert.deepStrictEqual(way(yield* turn()), ["http", "dial_backoff"], `${seconds} seconds`)
        assert.strictEqual(refusals(), index + 1)
        yield* TestClock.adjust("1 millis")
      }
      yield* simulator.configure({ upgradeRefusal: undefined })
      assert.strictEqual(way(yield* turn())[0], "websocket")
      yield* hangUp
      yield* simulator.configure({ upgradeRefusal: { status: 503 } })
      assert.deepStrictEqual(way(yield* turn()), ["http", "upgrade_refused"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(way(yield* turn()), ["http", "upgrade_refused"])
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("does not keep turns from a connection that is open", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { url } = yield* TestProxy
      const input = extended([user("One")], yield* turn(), false, "Two")
      yield* simulator.configure({ upgradeRefusal: { status: 503 } })
      yield* simulator.failNext({ _tag: "Hold", at: 0 })
      const held = yield* Effect.forkChild(ask({ url, stream: false, session: "s", input }))
      yield* simulator.until(({ turns }) => turns[1]?.status === "running")
      const other = yield* ask({ url, stream: false, session: "other", input: [user("One")] })
      assert.deepStrictEqual(way(other), ["http", "upgrade_refused"])
      yield* simulator.release
      const answer = yield* Fiber.join(held)
      assert.deepStrictEqual(way(answer), ["websocket", "continued"])
      const further = extended(input, answer, false, "Three")
      assert.deepStrictEqual(way(yield* ask({ url, stream: false, session: "s", input: further })), [
        "websocket",
        "continued",
      ])
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("is an error that may be tried again when HTTP can't reach the upstream either", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      for (const stream of [true, false]) {
        yield* simulator.listen(false)
        const got = yield* turn(stream)
        assert.deepStrictEqual([got.status, codeIn(got)], [502, "upstream_unreachable"])
        assert.isNull(got.headers.get("x-should-retry"))
        yield* simulator.listen(true)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(way(yield* turn(stream))[0], "websocket")
        yield* hangUp
      }
      assert.strictEqual(simulator.counters.executions, 2)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("after an attempt that may have run ends in HTTP, once", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { url } = yield* TestProxy
      const input = extended([user("One")], yield* turn(), false, "Two")
      yield* simulator.configure({ upgradeRefusal: { status: 500 } })
      yield* simulator.failNext({ _tag: "Reset", at: 1 })
      yield* simulator.failNext({ _tag: "Reset", at: 1 })
      const got = yield* ask({ url, stream: false, session: "s", input })
      assert.deepStrictEqual(way(got), ["http", "upgrade_refused"])
      assert.deepStrictEqual([got.status, got.headers.get("x-should-retry")], [502, "false"])
      assert.deepInclude(simulator.counters, { executions: 3, httpTurns: 1, refusedUpgrades: 1 })
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("because the upgrade hangs takes the handshake's time, then HTTP", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.configure({ websocket: "hang" })
      const hanging = simulator.until(({ counters }) => counters.hangingUpgrades > 0)
      const got = yield* driven(turn(), hanging)
      assert.deepStrictEqual(way(got), ["http", "dial_timeout"])
      assert.strictEqual(got.status, 200)
      assert.deepInclude(simulator.counters, { executions: 1, httpTurns: 1 })
    }).pipe(Effect.provide(proxied({ handshakeTimeout: 3_000 }))),
  )
})
