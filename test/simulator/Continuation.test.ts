import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { at, callIds, codeOf, connect, get, idOf, outputFor, post, weather } from "../support/TestClient.ts"
import { user } from "../support/Items.ts"

describe("Continuation", () => {
  it.effect("continues the latest response of the connection with the new items only", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const raw = '{"role" : "user",  "content":"caf\\u00e9 use 1 steps", "n": 1.0}'
      const text = `{"type":"response.create","model":"gpt-5.5","store":false,"tools":[${JSON.stringify(weather)}],"input":[ ${raw} ]}`
      yield* client.send(text)
      const first = (yield* client.answer).at(-1)
      assert(first !== undefined)
      const outputs = callIds(first).map((id) => outputFor(id))
      const second = yield* client.turn({
        store: false,
        tools: [weather],
        previous_response_id: idOf(first),
        input: outputs,
      })
      assert.strictEqual(second.type, "response.completed")
      const [before, after] = simulator.turns
      assert.deepStrictEqual(before?.context, [raw])
      assert.strictEqual(before?.raw, text)
      assert.deepStrictEqual(after?.context, [
        raw,
        ...(before?.output ?? []),
        ...outputs.map((item) => JSON.stringify(item)),
      ])
      assert.strictEqual(after?.newItems, outputs.length)
      assert.strictEqual(simulator.counters.executions, 2)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("sends the items of output_item.done again, byte for byte, in the terminal response", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* client.send({ input: "use 1 steps", tools: [weather] })
      const frames: Array<string> = []
      while (!frames.at(-1)?.startsWith('{"type":"response.completed"')) frames.push(yield* client.text)
      const output = simulator.turns[0]?.output ?? []
      assert.isAbove(output.length, 1)
      for (const raw of output) {
        assert.strictEqual(frames.filter((frame) => frame.includes(raw)).length, 2)
      }
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("forgets every response but the latest of the lane", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      const first = yield* client.turn({ store: false, input: "one" })
      const second = yield* client.turn({ store: false, previous_response_id: idOf(first), input: "two" })
      assert.strictEqual(second.type, "response.completed")
      const stale = yield* client.turn({ store: false, previous_response_id: idOf(first), input: "three" })
      assert.deepStrictEqual(stale, {
        type: "error",
        status: 400,
        error: {
          type: "invalid_request_error",
          code: "previous_response_not_found",
          message: `Previous response with id '${idOf(first)}' not found.`,
          param: "previous_response_id",
        },
      })
      const latest = yield* client.turn({ store: false, previous_response_id: idOf(second), input: "four" })
      assert.strictEqual(latest.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect(
    "does not know a response that was not stored on another connection, over HTTP, or after the socket is gone",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator)
        const other = yield* connect(simulator)
        const first = yield* client.turn({ store: false, input: "one" })
        const next = { store: false, previous_response_id: idOf(first), input: "two" }
        assert.strictEqual(codeOf(yield* other.turn(next)), "previous_response_not_found")
        const overHttp = yield* post(simulator, next)
        assert.strictEqual(overHttp.status, 400)
        assert.strictEqual(at(overHttp.json(), "error", "code"), "previous_response_not_found")
        yield* client.close
        yield* simulator.until(({ connections }) => connections[0]?.open === false)
        const again = yield* connect(simulator)
        assert.strictEqual(codeOf(yield* again.turn(next)), "previous_response_not_found")
      }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("keeps a stored response for other connections and for HTTP until it is deleted", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ input: [{ ...user("one"), id: "msg_1" }, user("two")] })
      const other = yield* connect(simulator)
      const next = { previous_response_id: idOf(first), input: "three" }
      assert.strictEqual((yield* other.turn(next)).type, "response.completed")
      assert.strictEqual((yield* post(simulator, next)).status, 200)
      const path = `/responses/${idOf(first)}`
      const stored = yield* get(simulator, path)
      assert.deepStrictEqual(stored.body, at(first, "response"))
      const items = yield* get(simulator, `${path}/input_items?order=asc&limit=1`)
      assert.deepStrictEqual(items.body, {
        object: "list",
        data: [{ ...user("one"), id: "msg_1" }],
        first_id: "msg_1",
        last_id: "msg_1",
        has_more: true,
      })
      assert.strictEqual((yield* get(simulator, path, "DELETE")).body.deleted, true)
      assert.strictEqual((yield* get(simulator, path)).status, 404)
      assert.strictEqual(codeOf(yield* other.turn(next)), "previous_response_not_found")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("evicts what a failed turn of the same lane continued, and only that", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ store: false, input: "one" })
      const next = { store: false, previous_response_id: idOf(first), input: "two" }
      yield* simulator.failNext({ _tag: "Failed", code: "server_error", message: "no" })
      assert.strictEqual((yield* client.turn({ ...next, stream_id: "fork" })).type, "response.failed")
      yield* simulator.failNext({ _tag: "Failed", code: "server_error", message: "no" })
      assert.strictEqual((yield* client.turn(next)).type, "response.failed")
      assert.strictEqual(codeOf(yield* client.turn(next)), "previous_response_not_found")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("evicts what a refused continuation named", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      const first = yield* client.turn({ store: false, input: "one" })
      const next = { store: false, previous_response_id: idOf(first) }
      assert.strictEqual((yield* client.turn({ ...next, input: [outputFor("call_x")] })).type, "error")
      assert.strictEqual(codeOf(yield* client.turn({ ...next, input: "two" })), "previous_response_not_found")
      const second = yield* client.turn({ store: false, input: "one" })
      const malformed = { store: false, previous_response_id: idOf(second), input: 3 }
      assert.strictEqual(codeOf(yield* client.turn(malformed)), "invalid_type")
      assert.strictEqual(codeOf(yield* client.turn({ ...malformed, input: "two" })), "previous_response_not_found")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("keeps the chain of an incomplete response", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Incomplete", reason: "max_output_tokens" })
      const first = yield* client.turn({ store: false, input: "one" })
      assert.strictEqual(at(first, "response", "incomplete_details", "reason"), "max_output_tokens")
      const next = yield* client.turn({ store: false, previous_response_id: idOf(first), input: "two" })
      assert.strictEqual(next.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("answers a warm-up with created and an empty completed response that can be continued", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* client.send({ store: false, generate: false, input: [{ role: "developer", content: "rules" }] })
      const events = yield* client.answer
      assert.deepStrictEqual(
        events.map(({ type }) => type),
        ["response.created", "response.completed"],
      )
      const last = events[1]
      assert(last !== undefined)
      assert.deepStrictEqual(at(last, "response", "output"), [])
      assert.strictEqual(simulator.counters.executions, 0)
      yield* client.turn({ store: false, previous_response_id: idOf(last), input: "hello" })
      assert.strictEqual(simulator.turns[1]?.context.length, 2)
      assert.strictEqual(simulator.counters.executions, 1)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("appends to a conversation without any previous id", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* post(simulator, { conversation: "conv_1", input: "one" })
      yield* post(simulator, { conversation: { id: "conv_1" }, input: "two" })
      const [first, second] = simulator.turns
      assert.strictEqual(second?.context.length, 1 + (first?.output.length ?? 0) + 1)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
