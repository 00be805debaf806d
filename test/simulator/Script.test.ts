import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { agent } from "../../src/simulator/Script.ts"
import type { SimulatorOptions } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Client, Event } from "../support/TestClient.ts"
import { at, callIds, connect, idOf, outputFor, post, weather } from "../support/TestClient.ts"

/** Answers tool calls until the final message; the last frame of every turn. */
const converse = (client: Client, question: string) =>
  Effect.gen(function* () {
    const ends: Array<Event> = []
    let end = yield* client.turn({ input: question, tools: [weather] })
    for (;;) {
      ends.push(end)
      const calls = callIds(end)
      if (calls.length === 0) return ends
      end = yield* client.turn({
        previous_response_id: idOf(end),
        tools: [weather],
        input: calls.map((id) => outputFor(id)),
      })
    }
  })

const run = (options: SimulatorOptions) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator
    const client = yield* connect(simulator)
    yield* client.send({ input: "use 2 steps", tools: [weather] })
    const frames: Array<string> = []
    while (!frames.at(-1)?.startsWith('{"type":"response.completed"')) frames.push(yield* client.text)
    const overHttp = yield* post(simulator, { input: "hello", stream: true })
    return [...frames, overHttp.text].join("\n")
  }).pipe(Effect.provide(Simulator.layer(options)), Effect.scoped)

describe("The scripted agent", () => {
  it.effect("calls tools for the number of steps the user asks for, then answers", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      for (const steps of [0, 1, 4]) {
        const ends = yield* converse(client, `Please use ${steps} steps`)
        assert.strictEqual(ends.length, steps + 1)
        const last = at(ends.at(-1), "response", "output")
        assert.strictEqual(at(last, 0, "type"), "reasoning")
        assert.strictEqual(at(last, 1, "phase"), "final_answer")
      }
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("writes arguments that a JavaScript client would write differently", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      const tool = {
        type: "function",
        name: "f",
        parameters: { type: "object", properties: { q: { type: "string" } } },
      }
      const end = yield* client.turn({ input: "use 1 steps", tools: [tool] })
      const output = at(end, "response", "output")
      const call = Array.isArray(output) ? output.find((item) => at(item, "type") === "function_call") : undefined
      const text = String(at(call, "arguments"))
      assert.notStrictEqual(JSON.stringify(JSON.parse(text)), text)
      assert.isDefined(at(JSON.parse(text), "options", "nested", "tags"))
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("is byte for byte the same for the same seed, and another for another", () =>
    Effect.gen(function* () {
      const first = yield* run({ seed: 7 })
      assert.strictEqual(yield* run({ seed: 7 }), first)
      assert.notStrictEqual(yield* run({ seed: 8 }), first)
    }),
  )

  it.effect("gives every part of a script its events and ends as the script says", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* client.send({ input: "x" })
      const events = yield* client.answer
      const types = events.map(({ type }) => type)
      for (const type of [
        "response.refusal.delta",
        "response.refusal.done",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.function_call_arguments.done",
        "response.web_search_call.searching",
        "response.content_part.done",
        "response.reasoning_summary_part.done",
      ]) {
        assert.include(types, type)
      }
      assert.deepStrictEqual(
        events.map(({ sequence_number }) => sequence_number),
        events.map((_, index) => index),
      )
      const done = events.filter(({ type }) => type === "response.output_item.done")
      assert.deepStrictEqual(
        done.map(({ output_index }) => output_index),
        [0, 1, 2, 3, 4, 5, 6],
      )
      assert.strictEqual(types.at(-1), "response.incomplete")
      assert.deepStrictEqual(
        at(events.at(-1), "response", "output"),
        done.map(({ item }) => item ?? null),
      )
    }).pipe(
      Effect.provide(
        Simulator.layer({
          script: () => ({
            output: [
              { _tag: "Reasoning", summary: ["a", "b c"] },
              { _tag: "Message", text: "some text\n", phase: "commentary" },
              { _tag: "Refusal", text: "no, never" },
              { _tag: "FunctionCall", name: "f", arguments: { a: 1 } },
              { _tag: "CustomToolCall", name: "g", input: "line\n" },
              { _tag: "WebSearch", query: "q" },
              { _tag: "Item", item: { type: "odd", value: 1 } },
            ],
            ending: { _tag: "Incomplete", reason: "max_output_tokens" },
          }),
        }),
      ),
    ),
  )

  it.effect("answers a compaction trigger with a compaction item", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      const end = yield* client.turn({ input: [{ role: "user", content: "x" }, { type: "compaction_trigger" }] })
      assert.strictEqual(at(end, "response", "output", 0, "type"), "compaction")
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("Pace", () => {
  it.effect("waits for the first event, and for every token, on the clock", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* client.send({ input: "x" })
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* TestClock.adjust(499)
      yield* simulator.push('{"type":"marker"}')
      assert.strictEqual((yield* client.next).type, "marker")
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* client.next).type, "response.created")
      assert.strictEqual(simulator.turns[0]?.status, "running")
      const tokens = 9 + 6
      yield* TestClock.adjust(tokens * 100 - 1)
      assert.strictEqual(simulator.turns[0]?.status, "running")
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer({ latency: 500, tokensPerSecond: 10, script: agent({ words: 2 }) }))),
  )

  it.effect("holds the head of a paced HTTP answer until its first event", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const answered = yield* Effect.forkChild(post(simulator, { input: "x", stream: true }))
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* TestClock.adjust("1 minute")
      const answer = yield* Fiber.join(answered)
      assert.include(answer.text, "event: response.completed")
    }).pipe(Effect.provide(Simulator.layer({ latency: 1000, eventLatency: 10 }))),
  )
})
