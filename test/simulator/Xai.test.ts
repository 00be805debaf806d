import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { codeOf, connect, idOf, messageOf, post } from "../support/TestClient.ts"

const xai = Simulator.layer({ profile: "xai" })
const model = "grok-4"

describe("xAI", () => {
  it.effect("takes no turn from a connection of 25 minutes and closes it", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      yield* TestClock.adjust("24 minutes")
      assert.strictEqual((yield* client.turn({ model, input: "x" })).type, "response.completed")
      yield* TestClock.adjust("1 minute")
      const refused = yield* client.turn({ model, input: "x" })
      assert.strictEqual(codeOf(refused), "websocket_connection_limit_reached")
      assert.match(messageOf(refused), /\(25 minutes\)/)
      assert.strictEqual(yield* client.closed, 1000)
    }).pipe(Effect.provide(xai)),
  )

  it.effect("continues a connection's latest response only, stored or not", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ model, input: "one" })
      const second = yield* client.turn({ model, previous_response_id: idOf(first), input: "two" })
      assert.strictEqual(second.type, "response.completed")
      const other = yield* connect(simulator)
      const elsewhere = yield* other.turn({ model, previous_response_id: idOf(second), input: "three" })
      assert.strictEqual(codeOf(elsewhere), "previous_response_not_found")
      const older = yield* client.turn({ model, previous_response_id: idOf(first), input: "three" })
      assert.strictEqual(codeOf(older), "previous_response_not_found")
      assert.strictEqual((yield* post(simulator, { previous_response_id: idOf(first), input: "three" })).status, 200)
    }).pipe(Effect.provide(xai)),
  )

  it.effect("forgets the latest response with a failed turn that did not even continue it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const failing = [
        { _tag: "Failed", code: "server_error", message: "no" },
        { _tag: "Refuse", status: 429, code: "rate_limit_exceeded", message: "later" },
      ] as const
      const client = yield* connect(simulator)
      for (const fault of failing) {
        const first = yield* client.turn({ model, input: "one" })
        yield* simulator.failNext(fault)
        yield* client.turn({ model, input: "another" })
        const after = yield* client.turn({ model, previous_response_id: idOf(first), input: "two" })
        assert.strictEqual(codeOf(after), "previous_response_not_found", fault._tag)
      }
      const first = yield* client.turn({ model, input: "one" })
      yield* client.turn({ model, stream_id: "a", input: "another" })
      const after = yield* client.turn({ model, previous_response_id: idOf(first), input: "two" })
      assert.strictEqual(codeOf(after), "previous_response_not_found")
    }).pipe(Effect.provide(xai)),
  )

  it.effect("continues what was prepared without an answer", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const prepared = yield* client.turn({ model, generate: false, store: false, input: "one" })
      const answered = yield* client.turn({ model, previous_response_id: idOf(prepared), store: false, input: "two" })
      assert.strictEqual(answered.type, "response.completed")
      assert.strictEqual(simulator.turns[1]?.context.length, 2)
      assert.strictEqual(simulator.counters.executions, 1)
    }).pipe(Effect.provide(xai)),
  )
})
