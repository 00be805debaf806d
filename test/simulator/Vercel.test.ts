import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { at, codeOf, connect, idOf, post } from "../support/TestClient.ts"

const vercel = Simulator.layer({ profile: "vercel" })
const model = "openai/gpt-5.5"

describe("Vercel's gateway", () => {
  it.effect("closes a connection with 1001 at 13 minutes, whatever runs on it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      for (let minute = 0; minute < 12; minute += 4) {
        yield* TestClock.adjust("4 minutes")
        assert.strictEqual((yield* client.turn({ model, input: "x" })).type, "response.completed")
      }
      yield* simulator.failNext({ _tag: "Stall", at: 1 })
      yield* client.send({ model, input: "x" })
      assert.strictEqual((yield* client.next).type, "response.created")
      yield* TestClock.adjust("59 seconds")
      assert.isTrue(simulator.connections[0]?.open)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* client.closed, 1001)
      yield* simulator.until(({ turns }) => turns.at(-1)?.status === "abandoned")
    }).pipe(Effect.provide(vercel)),
  )

  it.effect("closes a connection with 1001 after 5 idle minutes, which a ping begins anew", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* TestClock.adjust("4 minutes")
      yield* client.ping
      yield* simulator.until(({ connections }) => connections[0]?.pings === 1)
      yield* TestClock.adjust("4 minutes")
      assert.strictEqual((yield* client.turn({ model, input: "x" })).type, "response.completed")
      yield* TestClock.adjust("299 seconds")
      assert.isTrue(simulator.connections[0]?.open)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* client.closed, 1001)
    }).pipe(Effect.provide(vercel)),
  )

  it.effect("takes a connection for idle from the end of a turn on", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Hold", at: 1 })
      yield* client.send({ model, input: "x" })
      yield* client.next
      yield* TestClock.adjust("6 minutes")
      yield* simulator.release
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
      yield* TestClock.adjust("299 seconds")
      assert.isTrue(simulator.connections[0]?.open)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* client.closed, 1001)
    }).pipe(Effect.provide(vercel)),
  )

  it.effect("takes a frame of 4 MiB and closes with 1009 on one byte more", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const empty = JSON.stringify({ type: "response.create", model, input: "" })
      const text = (bytes: number) => empty.replace('""', `"${"x".repeat(bytes - empty.length)}"`)
      assert.strictEqual((yield* client.turn({ model, input: "x" })).type, "response.completed")
      yield* client.send(text(4 * 1024 * 1024))
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
      assert.strictEqual(simulator.turns[1]?.uplinkBytes, 4 * 1024 * 1024)
      yield* client.send(text(4 * 1024 * 1024 + 1))
      assert.strictEqual(yield* client.closed, 1009)
      assert.strictEqual(simulator.turns.length, 2)
    }).pipe(Effect.provide(vercel)),
  )

  it.effect("keeps a connection to the model of its first request", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      assert.strictEqual((yield* client.turn({ model, input: "x" })).type, "response.completed")
      const refused = yield* client.turn({ model: "openai/gpt-5.4", input: "x" })
      assert.strictEqual(codeOf(refused), "model_mismatch")
      assert.strictEqual(yield* client.closed, 1008)
      assert.deepStrictEqual(simulator.connections[0]?.models, [model])
      assert.strictEqual(simulator.counters.executions, 1)
      const other = yield* connect(simulator)
      assert.strictEqual((yield* other.turn({ model: "openai/gpt-5.4", input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(vercel)),
  )

  it.effect("runs nothing that waited behind a failed turn", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Hold" }, { _tag: "Failed", code: "server_error", message: "no" })
      yield* client.send({ model, input: "one" })
      yield* client.send({ model, input: "two" })
      yield* simulator.until(({ turns }) => turns.length === 2)
      yield* simulator.release
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.failed")
      assert.strictEqual(yield* client.closed, 1011)
      yield* simulator.until(({ counters }) => counters.openSockets === 0)
      assert.deepStrictEqual(
        simulator.turns.map(({ status }) => status),
        ["failed", "abandoned"],
      )
    }).pipe(Effect.provide(vercel)),
  )

  it.effect("ends the chain with a turn that fails over HTTP", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const failing = [
        { faults: [{ _tag: "Refuse", status: 503, code: "overloaded", message: "later" }], request: {}, status: 503 },
        { faults: [{ _tag: "Error", at: 0, status: 500, code: null, message: "no" }], request: {}, status: 500 },
        { faults: [], request: { store: "yes" }, status: 400 },
      ] as const
      for (const { faults, request, status } of failing) {
        const first = yield* post(simulator, { input: "one" })
        const next = { previous_response_id: String(first.json().id), input: "two" }
        assert.strictEqual((yield* post(simulator, next)).status, 200)
        if (faults.length > 0) yield* simulator.failNext(...faults)
        assert.strictEqual((yield* post(simulator, { ...next, ...request })).status, status)
        const refused = yield* post(simulator, next)
        assert.strictEqual(at(refused.json(), "error", "code"), "previous_response_not_found")
      }
    }).pipe(Effect.provide(vercel)),
  )

  for (const [name, fault, code] of [
    ["an error", { _tag: "Error", status: 500, code: "server_error", message: "no" }, 1011],
    ["a refusal", { _tag: "Refuse", status: 429, code: "rate_limit_exceeded", message: "later" }, 1008],
    ["too little credit", { _tag: "Refuse", status: 402, code: "insufficient_funds", message: "pay" }, 4402],
    ["a failed response", { _tag: "Failed", code: "server_error", message: "no" }, 1011],
  ] as const) {
    it.effect(`ends the connection and every response of the chain with ${name}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator)
        const other = yield* client.turn({ model, input: "of another chain" })
        const first = yield* client.turn({ model, input: "one" })
        const second = yield* client.turn({ model, previous_response_id: idOf(first), input: "two" })
        yield* simulator.failNext(fault)
        yield* client.send({ model, previous_response_id: idOf(second), input: "three" })
        yield* client.send({ model, input: "behind it" })
        const end = (yield* client.answer).at(-1)
        assert.strictEqual(end?.type, fault._tag === "Failed" ? "response.failed" : "error")
        assert.strictEqual(yield* client.closed, code)
        assert.strictEqual(simulator.counters.executions, fault._tag === "Refuse" ? 3 : 4)
        for (const dead of [first, second]) {
          const next = yield* connect(simulator)
          const refused = yield* next.turn({ model, previous_response_id: idOf(dead), input: "three" })
          assert.strictEqual(codeOf(refused), "previous_response_not_found")
          assert.strictEqual(yield* next.closed, 1008)
          assert.strictEqual((yield* post(simulator, { previous_response_id: idOf(dead), input: "x" })).status, 400)
        }
        const next = yield* connect(simulator)
        const alive = yield* next.turn({ model, previous_response_id: idOf(other), input: "two" })
        assert.strictEqual(alive.type, "response.completed")
      }).pipe(Effect.provide(vercel)),
    )
  }
})
