import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { agent } from "../../src/simulator/Script.ts"
import type { Fault } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { connect, outcome, post } from "../support/TestClient.ts"
import { open } from "../support/Ask.ts"

const layer = Simulator.layer({ script: agent({ rounds: 0, words: 2 }) })

/** The types of the events in a stream's text, numbers with them. */
const eventsIn = (text: string) =>
  [...text.matchAll(/^event: (.*)\ndata: .*"sequence_number":(\d+)/gm)].map(([, type, number]) => `${number} ${type}`)

describe("An answer over HTTP", () => {
  for (const tag of ["Reset", "Close", "Finish"] as const) {
    const fault = (at: number): Fault => (tag === "Close" ? { _tag: tag, at, code: 1011 } : { _tag: tag, at })
    it.effect(`ends at every frame it is told to end at (${tag}), and what came before has been read`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const whole = eventsIn((yield* post(simulator, { input: "x", stream: true })).text)
        for (let at = 0; at < whole.length; at++) {
          yield* simulator.failNext(fault(at))
          const seen = yield* outcome(simulator, { input: "x", stream: true })
          if (at === 0 && tag !== "Finish") assert.strictEqual(seen, "no answer")
          else assert.deepStrictEqual(eventsIn(seen), whole.slice(0, at), `at ${at}`)
          assert.strictEqual(seen.endsWith("broken"), tag !== "Finish" && at > 0, `at ${at}`)
        }
        assert.strictEqual(simulator.counters.executions, whole.length + 1)
        assert.sameMembers(
          simulator.turns.slice(1).map(({ status }) => status),
          whole.map(() => "abandoned"),
        )
      }).pipe(Effect.provide(layer)),
    )

    it.effect(`is half a JSON text where it ends in the middle (${tag})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        yield* simulator.failNext(fault(0))
        assert.strictEqual(yield* outcome(simulator, { input: "x" }), tag === "Finish" ? "" : "no answer")
        yield* simulator.failNext(fault(3))
        const half = yield* outcome(simulator, { input: "x" })
        assert.match(half, tag === "Finish" ? /^\{"id".*"comp$/ : /^\{"id".*"comp broken$/)
      }).pipe(Effect.provide(layer)),
    )
  }

  for (const stream of [true, false]) {
    it.effect(`stalls with what it has sent (stream ${stream})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        yield* simulator.failNext({ _tag: "Stall", at: 2 })
        const response = yield* open(`${simulator.url}/responses`, { body: { model: "m", input: "x", stream } })
        const reader = response.body?.getReader()
        const read = Effect.promise(async () => new TextDecoder().decode((await reader?.read())?.value))
        let text = ""
        while (!(stream ? text.includes("response.in_progress") && text.endsWith("\n\n") : text !== ""))
          text += yield* read
        const more = yield* Effect.forkChild(read)
        yield* Effect.yieldNow
        assert.isUndefined(more.pollUnsafe())
        yield* Effect.promise(async () => reader?.cancel())
        yield* Fiber.interrupt(more)
        if (stream) yield* simulator.until(({ turns }) => turns[0]?.status === "abandoned")
      }).pipe(Effect.provide(layer)),
    )
  }
})

describe("An event of a type nobody knows", () => {
  for (const over of ["socket", "HTTP"]) {
    it.effect(`is numbered in the turn's order, which goes on behind it (${over})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator)
        yield* simulator.failNext({ _tag: "UnknownEvent", at: 2 }, { _tag: "UnknownEvent" })
        let types: ReadonlyArray<string>
        if (over === "HTTP") types = eventsIn((yield* post(simulator, { input: "x", stream: true })).text)
        else {
          yield* client.send({ input: "x" })
          types = (yield* client.answer).map((event) => `${String(event["sequence_number"])} ${event.type}`)
        }
        assert.deepStrictEqual(
          types.map((type) => Number(type.split(" ")[0])),
          [...types.keys()],
        )
        assert.strictEqual(types[2], "2 response.future_thing.delta")
        assert.strictEqual(types.at(-2), `${types.length - 2} response.future_thing.delta`)
        assert.strictEqual(types.at(-1), `${types.length - 1} response.completed`)
      }).pipe(Effect.provide(layer)),
    )
  }

  it.effect("counts as none of the turn's own frames", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const unknown = { _tag: "UnknownEvent", at: 2 } as const
      const reason = "max_output_tokens"
      const cut = (at: number) => ({ _tag: "Incomplete", at, reason }) as const
      yield* client.send({ input: "x" })
      const done = (yield* client.answer).findIndex(({ type }) => type === "response.output_item.done")
      for (const at of [done, done + 1]) {
        yield* simulator.failNext(unknown, cut(at))
        yield* client.turn({ input: "x" })
        assert.strictEqual(simulator.turns.at(-1)?.output.length, at === done ? 0 : 1)
      }
    }).pipe(Effect.provide(layer)),
  )
})
