import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { byteLength } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { callIds, connect, idOf, outputFor, post, weather } from "../support/TestClient.ts"

const sizeOf = (...items: ReadonlyArray<unknown>) =>
  items.reduce<number>((sum, item) => sum + byteLength(JSON.stringify(item)) + 1, 0)

const question = { role: "user", content: "use 1 steps, naïve" }

describe("What is counted", () => {
  it.effect("needs the new items and the other members, for full history as for a suffix", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const base = { tools: [weather], store: false }
      const others =
        sizeOf("model") + sizeOf("gpt-5.5") + sizeOf("tools") + sizeOf([weather]) + sizeOf("store") + sizeOf(false)
      const first = yield* client.turn({ ...base, input: [question] })
      assert.strictEqual(simulator.turns[0]?.neededBytes, others + sizeOf(question))
      const outputs = callIds(first).map((id) => outputFor(id))
      yield* client.turn({ ...base, previous_response_id: idOf(first), input: outputs })
      const replayed = (simulator.turns[0]?.output ?? []).map((raw) => JSON.parse(raw) as JsonObject)
      const changed = replayed
        .filter(({ type }) => type !== "reasoning")
        .map(({ status: _status, id: _id, phase: _phase, ...item }) => item)
      const last = { role: "user", content: [{ type: "input_text", text: "more" }] }
      const again = { role: "user", content: [{ type: "input_text", text: question.content }] }
      yield* post(simulator, { ...base, input: [again, ...changed, ...outputs, last] } as JsonObject)
      assert.strictEqual(simulator.turns[1]?.neededBytes, others + sizeOf(...outputs))
      assert.strictEqual(simulator.turns[2]?.neededBytes, others + sizeOf(last))
      const sum = simulator.turns.reduce((total, { neededBytes }) => total + neededBytes, 0)
      assert.strictEqual(simulator.counters.neededBytes, sum)
      const bytes = simulator.turns.reduce((total, { raw }) => total + byteLength(raw), 0)
      assert.strictEqual(simulator.counters.uplinkBytes, bytes)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("needs everything from the first edit on", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const one = { role: "user", content: "one" }
      const two = { role: "user", content: "two" }
      yield* post(simulator, { input: [one, { role: "assistant", content: "a" }, two] })
      const edited = { role: "assistant", content: "b" }
      yield* post(simulator, { input: [one, edited, two] })
      const rest = (simulator.turns[0]?.neededBytes ?? 0) - sizeOf(one, edited, two)
      assert.strictEqual(simulator.turns[1]?.neededBytes, rest + sizeOf(edited, two))
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("caches the earlier context on its connection, part of it elsewhere, nothing under other tools", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const long = "x".repeat(8192)
      const first = yield* client.turn({ input: long })
      const next = { previous_response_id: idOf(first), input: "y" }
      yield* client.turn(next)
      const other = yield* connect(simulator)
      yield* other.turn(next)
      yield* other.turn({ ...next, tools: [weather] })
      const [fresh, same, moved, retooled] = simulator.turns
      assert.strictEqual(fresh?.cachedTokens, 0)
      const cached = same?.cachedTokens ?? 0
      assert.strictEqual(cached % 128, 0)
      assert.isAbove(cached, (fresh?.inputTokens ?? 0) - 1)
      assert.isBelow(moved?.cachedTokens ?? 0, cached / 2)
      assert.isAbove(moved?.cachedTokens ?? 0, cached / 3)
      assert.strictEqual(retooled?.cachedTokens, 0)
      assert.strictEqual(simulator.counters.cachedTokens, cached + (moved?.cachedTokens ?? 0))
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("counts items that claim to be ours and say something else, and not allowed differences", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ input: [question], tools: [weather], store: false })
      const outputs = callIds(first).map((id) => outputFor(id))
      const replayed = (simulator.turns[0]?.output ?? []).map((raw) => JSON.parse(raw) as JsonObject)
      const rewritten = replayed.map((item) =>
        typeof item.arguments === "string"
          ? { ...item, arguments: JSON.stringify(JSON.parse(item.arguments)), parsed_arguments: null, status: null }
          : { ...item, content: item.content ?? null },
      )
      yield* post(simulator, { input: [question, ...rewritten, ...outputs], tools: [weather] })
      assert.strictEqual(simulator.counters.editedItems, 0)
      const edited = replayed.map((item) =>
        typeof item.arguments === "string" ? { ...item, arguments: '{"city":"Rome"}' } : item,
      )
      const answer = yield* post(simulator, { input: [question, ...edited, ...outputs], tools: [weather] })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(simulator.counters.editedItems, outputs.length)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("starts counting anew after a reset, with the sockets as they are", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const first = yield* client.turn({ input: "x", store: false })
      yield* simulator.reset
      assert.deepInclude(simulator.counters, { openSockets: 1, executions: 0, uplinkBytes: 0 })
      assert.strictEqual(simulator.turns.length, 0)
      const next = yield* client.turn({ previous_response_id: idOf(first), input: "y", store: false })
      assert.strictEqual(next.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
