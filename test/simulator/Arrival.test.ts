import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { codeOf, connect, idOf, outcome, post } from "../support/TestClient.ts"

describe("Faults before the turn", () => {
  for (const [code, seen] of [
    [1000, 1000],
    [1001, 1001],
    [1009, 1009],
    [1011, 1011],
    [1012, 1012],
    [undefined, 1006],
  ] as const) {
    it.effect(`leave a request unread and end the socket with ${seen}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator)
        yield* simulator.failNext({ _tag: "Unread", ...(code === undefined ? {} : { code }) })
        yield* client.send({ input: "x" })
        assert.strictEqual(yield* client.closed, seen)
        assert.deepInclude(simulator.counters, { unread: 1, executions: 0, websocketTurns: 0, refusedTurns: 0 })
        assert.strictEqual((yield* (yield* connect(simulator)).turn({ input: "x" })).type, "response.completed")
      }).pipe(Effect.provide(Simulator.layer())),
    )
  }

  it.effect("let a socket die silently: it stays open and nothing is read any more", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ input: "x" })
      yield* simulator.failNext({ _tag: "Deaf" })
      yield* client.send({ input: "y", previous_response_id: idOf(first) })
      yield* client.send({ input: "z" })
      yield* simulator.until(({ counters }) => counters.unread === 2)
      yield* TestClock.adjust("2 hours")
      assert.deepInclude(simulator.counters, { openSockets: 1, executions: 1, websocketTurns: 1 })
      assert.strictEqual((yield* (yield* connect(simulator)).turn({ input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("forget what a connection kept, but not what is stored, unless that is told too", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      for (const [store, stored, found] of [
        [true, false, true],
        [true, true, false],
        [false, false, false],
      ] as const) {
        const first = yield* client.turn({ input: "x", store })
        yield* simulator.failNext({ _tag: "Forget", stored })
        const next = yield* client.turn({ input: "y", store, previous_response_id: idOf(first) })
        if (found) assert.strictEqual(next.type, "response.completed")
        else assert.strictEqual(codeOf(next), "previous_response_not_found")
      }
      assert.deepInclude(simulator.counters, { executions: 4, refusedTurns: 2 })
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("say that the connection is too old, and end it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "ConnectionLimit" })
      assert.strictEqual(codeOf(yield* client.turn({ input: "x" })), "websocket_connection_limit_reached")
      assert.strictEqual(yield* client.closed, 1000)
      assert.deepInclude(simulator.counters, { executions: 0, refusedTurns: 1 })
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("refuse a turn before it runs, and the chain is gone as after any failed turn", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ input: "x", store: false })
      const refuse = { _tag: "Refuse", status: 429, code: "rate_limit_exceeded", message: "slow down" } as const
      yield* simulator.failNext(refuse)
      const chained = { input: "y", store: false, previous_response_id: idOf(first) }
      assert.deepInclude(yield* client.turn(chained), { type: "error", status: 429 })
      assert.strictEqual(codeOf(yield* client.turn(chained)), "previous_response_not_found")
      yield* simulator.failNext({ ...refuse, flat: true })
      assert.deepInclude(yield* client.turn({ input: "y" }), { type: "error", code: "rate_limit_exceeded" })
      yield* simulator.failNext({ ...refuse, headers: { "retry-after": "3" } })
      const answer = yield* post(simulator, { input: "x" })
      assert.deepStrictEqual([answer.status, answer.headers.get("retry-after")], [429, "3"])
      assert.deepInclude(simulator.counters, { executions: 1, refusedTurns: 4 })
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("go together with faults of the turn, and each list is used once", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Forget" }, { _tag: "Failed", at: 1, code: "server_error", message: "no" })
      yield* simulator.failNext({ _tag: "Incomplete", at: 1, reason: "max_output_tokens" })
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.failed")
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.incomplete")
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("leave a request over HTTP without an answer", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.failNext({ _tag: "Unread" })
      assert.strictEqual(yield* outcome(simulator, { input: "x" }), "no answer")
      yield* simulator.failNext({ _tag: "Deaf" })
      const waiting = yield* Effect.forkChild(outcome(simulator, { input: "x" }))
      yield* simulator.until(({ counters }) => counters.unread === 2)
      yield* TestClock.adjust("2 hours")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(waiting)
      assert.deepInclude(simulator.counters, { executions: 0, httpTurns: 0 })
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("A listener that is gone", () => {
  it.effect("refuses connections, and nothing else, until it listens again", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.listen(false)
      assert.strictEqual(yield* outcome(simulator, { input: "x" }), "no answer")
      assert.strictEqual(yield* (yield* connect(simulator)).closed, 1006)
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      yield* simulator.listen(true)
      assert.strictEqual((yield* (yield* connect(simulator)).turn({ input: "x" })).type, "response.completed")
      assert.deepInclude(simulator.counters, { upgrades: 2, openSockets: 2, httpTurns: 0 })
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
