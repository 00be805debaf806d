import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { codeOf, connect, idOf } from "../support/TestClient.ts"

describe("Lanes", () => {
  it.effect("runs one turn at a time on the default lane, in the order of arrival", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Hold", at: 2 })
      yield* client.send({ input: "one" })
      yield* client.send({ input: "two" })
      yield* simulator.until(({ turns }) => turns.length === 2)
      assert.deepStrictEqual(
        simulator.turns.map(({ status }) => status),
        ["running", "queued"],
      )
      yield* simulator.release
      const first = yield* client.answer
      const second = yield* client.answer
      const idsOf = (events: ReadonlyArray<{ readonly type: string }>) =>
        events
          .filter(({ type }) => type === "response.created" || type === "response.completed")
          .map((event) => idOf(event))
      assert.deepStrictEqual(idsOf(first), [simulator.turns[0]?.responseId, simulator.turns[0]?.responseId].map(String))
      assert.deepStrictEqual(
        idsOf(second),
        [simulator.turns[1]?.responseId, simulator.turns[1]?.responseId].map(String),
      )
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("lets a queued turn continue the response of the turn before it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ store: false, input: "one" })
      yield* simulator.failNext({ _tag: "Hold" })
      yield* client.send({ store: false, previous_response_id: idOf(first), input: "two" })
      yield* client.send({ store: false, previous_response_id: idOf(first), input: "three" })
      yield* simulator.until(({ turns }) => turns.length === 3)
      yield* simulator.release
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
      const last = (yield* client.answer).at(-1)
      assert(last !== undefined)
      assert.strictEqual(codeOf(last), "previous_response_not_found")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("runs different lanes at the same time and names the lane in every event", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Hold", at: 1 })
      yield* client.send({ stream_id: "a", input: "one" })
      yield* client.send({ stream_id: "b", input: "two" })
      const created = yield* client.next
      assert.strictEqual(created.stream_id, "a")
      const events = yield* client.answer
      assert.deepStrictEqual(new Set(events.map(({ stream_id }) => stream_id)), new Set(["b"]))
      yield* simulator.release
      assert.strictEqual((yield* client.answer).at(-1)?.stream_id, "a")
      const error = yield* client.turn({ stream_id: "a", previous_response_id: "resp_none", input: "x" })
      assert.strictEqual(error.stream_id, "a")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("forks from another lane's latest response", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const parent = yield* client.turn({ store: false, input: "one" })
      const next = { store: false, previous_response_id: idOf(parent), input: "two" }
      assert.strictEqual((yield* client.turn({ ...next, stream_id: "fork" })).type, "response.completed")
      assert.strictEqual((yield* client.turn(next)).type, "response.completed")
      assert.strictEqual(simulator.turns[1]?.context.length, simulator.turns[2]?.context.length)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("takes 32 named lanes and the default one, and refuses the next name", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      yield* client.turn({ input: "x" })
      for (let lane = 0; lane < 32; lane++) {
        assert.strictEqual((yield* client.turn({ stream_id: `lane-${lane}`, input: "x" })).type, "response.completed")
      }
      const refused = yield* client.turn({ stream_id: "lane-32", input: "x" })
      assert.strictEqual(codeOf(refused), "websocket_stream_limit_reached")
      assert.strictEqual(refused.stream_id, "lane-32")
      assert.strictEqual((yield* client.turn({ stream_id: "lane-0", input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("runs 16 turns at a time and queues the rest", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.configure({ fault: () => [{ _tag: "Hold" }] })
      for (let lane = 0; lane < 17; lane++) yield* client.send({ stream_id: `lane-${lane}`, input: "x" })
      yield* simulator.until(({ turns }) => turns.length === 17)
      const count = (status: string) => simulator.turns.filter((turn) => turn.status === status).length
      assert.deepStrictEqual([count("running"), count("queued")], [16, 1])
      yield* simulator.configure({ fault: () => [] })
      yield* simulator.release
      yield* simulator.until(({ turns }) => turns.every(({ status }) => status === "completed"))
      assert.strictEqual(simulator.counters.executions, 17)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("Limits of a connection", () => {
  it.effect("refuses a turn after 60 minutes and closes the socket", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* client.turn({ input: "x" }), {
        type: "error",
        status: 400,
        error: {
          type: "invalid_request_error",
          code: "websocket_connection_limit_reached",
          message:
            "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.",
          param: null,
        },
      })
      assert.strictEqual(yield* client.closed, 1000)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("can end an idle socket at its age by itself", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.until(({ counters }) => counters.openSockets === 1)
      yield* TestClock.adjust("25 minutes")
      assert.strictEqual(codeOf(yield* client.next), "websocket_connection_limit_reached")
      assert.strictEqual(yield* client.closed, 1000)
    }).pipe(Effect.provide(Simulator.layer({ announceConnectionLimit: true, maxConnectionAge: 25 * 60_000 }))),
  )

  it.effect("closes with 1009 on a message above the limit", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      assert.strictEqual((yield* client.turn({ input: "x".repeat(100) })).type, "response.completed")
      yield* client.send({ input: "x".repeat(1000) })
      assert.strictEqual(yield* client.closed, 1009)
      yield* simulator.until(({ connections }) => connections[0]?.open === false)
      assert.strictEqual(simulator.connections[0]?.closeCode, 1009)
      assert.strictEqual(simulator.turns.length, 1)
    }).pipe(Effect.provide(Simulator.layer({ maxMessageBytes: 1000 }))),
  )
})
