import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { Fault } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { eventsOf } from "../support/Events.ts"
import { open } from "../support/Ask.ts"
import { reading } from "../support/Reading.ts"

const proxied = (...faults: ReadonlyArray<Fault>) => TestProxy.layerBrief({}, { fault: () => faults })

const hold = (at: number): Fault => ({ _tag: "Hold", at })
const beat = ": heartbeat\n"

/** A streaming turn whose upstream waits: the fiber ends with the response's head. */
const begin = Effect.gen(function* () {
  const { url } = yield* TestProxy
  const simulator = yield* Simulator
  const head = yield* Effect.forkChild(
    open(`${url}/responses`, { key: "test-key-a", body: { model: "gpt-5.5", input: "Hello", stream: true } }),
  )
  yield* simulator.until(({ turns }) => turns[0]?.status === "running")
  return head
})

const typeIn = (data: string) => String((JSON.parse(data) as { readonly type?: unknown }).type)

/** Each dispatches on an empty line in its own way, as clients in the wild do; gives the events' types. */
const decoders: Readonly<Record<string, (text: string) => ReadonlyArray<string>>> = {
  "blocks between empty lines, each parsed": (text) =>
    text
      .split("\n\n")
      .filter((block) => block !== "")
      .map((block) => {
        const data = block.split("\n").find((line) => line.startsWith("data: "))
        if (data === undefined) throw new Error(`a block without data: ${block}`)
        return typeIn(data.slice(6))
      }),
  "lines, where an empty one ends an event and an event without data ends the stream": (text) => {
    const types: Array<string> = []
    let data: string | undefined
    for (const line of text.split("\n").slice(0, -1)) {
      if (line.startsWith("data: ")) data = line.slice(6)
      else if (line === "" && data === undefined) return types
      else if (line === "") {
        types.push(typeIn(data ?? ""))
        data = undefined
      }
    }
    return types
  },
  "lines, where each event is its name and then its data": (text) => {
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith(":"))
    return lines.flatMap((line, at) => {
      if (at % 2 === 1) return []
      if (lines[at + 1]?.startsWith("data: ") !== true) throw new Error(`no data behind ${line}`)
      return [line.replace("event: ", "")]
    })
  },
  "data lines alone": (text) => [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => typeIn(data)),
  "an event's name alone": (text) => [...text.matchAll(/^event: (.*)$/gm)].map(([, name = ""]) => name),
  "fields of the standard, a comment among them": (text) =>
    [...text.matchAll(/((?:.+\n)+)\n/g)].map(([, block = ""]) => {
      const fields = block
        .trimEnd()
        .split("\n")
        .map((line): readonly [string, string] => [
          line.slice(0, line.indexOf(":")),
          line.slice(line.indexOf(":") + 1).trimStart(),
        ])
      const data = fields.filter(([name]) => name === "data").map(([, value]) => value)
      return typeIn(data.join("\n"))
    }),
}

describe("While the upstream says nothing", () => {
  it.effect("the head goes out after 2 seconds, and a comment every 15 seconds", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const head = yield* begin
      yield* TestClock.adjust("2 seconds")
      const response = yield* Fiber.join(head)
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream; charset=utf-8")
      assert.strictEqual(response.headers.get("x-respool-transport"), "websocket")
      const reader = reading(response)
      assert.strictEqual(yield* reader.take(beat.length), beat)
      for (let count = 1; count <= 3; count++) {
        yield* TestClock.adjust("15 seconds")
        assert.strictEqual(yield* reader.take(beat.length), beat)
      }
      yield* TestClock.adjust("14 seconds")
      yield* simulator.release
      const text = yield* reader.rest
      assert.notInclude(text, beat)
      assert.strictEqual(eventsOf(text)[0]?.type, "response.created")
      assert.strictEqual(eventsOf(text).at(-1)?.type, "response.completed")
    }).pipe(Effect.provide(proxied(hold(0)))),
  )

  it.effect("lifecycle events are held back until the answer begins, since a retry may still take their place", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const head = yield* begin
      yield* TestClock.adjust("2 seconds")
      const reader = reading(yield* Fiber.join(head))
      assert.strictEqual(yield* reader.take(beat.length), beat)
      yield* simulator.release
      const events = eventsOf(yield* reader.rest)
      assert.deepStrictEqual(
        events.slice(0, 3).map(({ type }) => type),
        ["response.created", "response.in_progress", "response.output_item.added"],
      )
      const numbers = events.map(
        ({ data }) => (JSON.parse(data) as { readonly sequence_number: number }).sequence_number,
      )
      assert.deepStrictEqual(
        numbers,
        numbers.map((_, index) => index),
      )
    }).pipe(Effect.provide(proxied(hold(2)))),
  )

  const failure: Fault = { _tag: "Error", at: 0, status: 400, code: "bad_thing", message: "Not so." }
  it.effect("an error up to then is still a real status", () =>
    Effect.gen(function* () {
      const head = yield* begin
      yield* TestClock.adjust("1999 millis")
      yield* (yield* Simulator).release
      const response = yield* Fiber.join(head)
      assert.strictEqual(response.status, 400)
      assert.include(yield* Effect.promise(() => response.text()), `"code":"bad_thing"`)
    }).pipe(Effect.provide(proxied(hold(0), failure))),
  )

  it.effect("and an error after that is an event", () =>
    Effect.gen(function* () {
      const head = yield* begin
      yield* TestClock.adjust("2 seconds")
      const response = yield* Fiber.join(head)
      yield* (yield* Simulator).release
      assert.strictEqual(response.status, 200)
      const events = eventsOf(yield* Effect.promise(() => response.text()))
      assert.deepStrictEqual(
        events.map(({ type }) => type),
        ["error"],
      )
      assert.include(events[0]?.data, `"code":"bad_thing"`)
    }).pipe(Effect.provide(proxied(hold(0), failure))),
  )

  it.effect("the openai SDK sees no event in a comment", () =>
    Effect.gen(function* () {
      const { client } = yield* TestProxy
      const simulator = yield* Simulator
      const opened = yield* Deferred.make<void>()
      const turn = yield* Effect.forkChild(
        Effect.promise(async () => {
          const seen: Array<string> = []
          const stream = await client().responses.create({ model: "gpt-5.5", input: "Hello", stream: true })
          Deferred.doneUnsafe(opened, Effect.void)
          for await (const event of stream) seen.push(event.type)
          return seen
        }),
      )
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* TestClock.adjust("2 seconds")
      yield* Deferred.await(opened)
      yield* TestClock.adjust("45 seconds")
      yield* simulator.release
      const seen = yield* Fiber.join(turn)
      assert.strictEqual(seen[0], "response.created")
      assert.strictEqual(seen.at(-1), "response.completed")
      assert.strictEqual(seen.filter((type) => !type.startsWith("response.")).length, 0)
    }).pipe(Effect.provide(proxied(hold(0)))),
  )

  it.effect("decoders of many kinds see no event in a comment, and no end", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const head = yield* begin
      yield* TestClock.adjust("2 seconds")
      const reader = reading(yield* Fiber.join(head))
      yield* TestClock.adjust("45 seconds")
      yield* simulator.release
      const text = yield* reader.rest
      assert.isAbove(text.split(beat).length, 3)
      const expected = eventsOf(text).map(({ type }) => type)
      assert.strictEqual(expected.at(-1), "response.completed")
      for (const [kind, decode] of Object.entries(decoders)) assert.deepStrictEqual(decode(text), expected, kind)
    }).pipe(Effect.provide(proxied(hold(0)))),
  )

  for (const transport of ["http", "auto"] as const) {
    it.effect(`heartbeats do not outlive the time-out for events (${transport})`, () =>
      Effect.gen(function* () {
        const head = yield* begin
        yield* TestClock.adjust("2 seconds")
        const response = yield* Fiber.join(head)
        yield* TestClock.adjust("298 seconds")
        const text = yield* Effect.promise(() => response.text())
        const events = eventsOf(text.slice(text.lastIndexOf(beat) + beat.length))
        assert.deepStrictEqual(
          events.map(({ type }) => type),
          ["error"],
        )
        assert.include(events[0]?.data, `"code":"first_event_timeout"`)
        yield* (yield* Simulator).until(({ turns }) => turns[0]?.status === "abandoned")
      }).pipe(
        Effect.provide(
          TestProxy.layer({ settings: { transport }, simulator: { fault: () => [{ _tag: "Stall", at: 0 }] } }),
        ),
      ),
    )
  }
})

describe("An upstream that keeps its HTTP stream open behind the terminal event", () => {
  it.effect("does not keep the client's open for more than a second", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const body = { model: "gpt-5.5", input: "Hello", stream: true }
      const reader = reading(yield* open(`${url}/responses`, { body }))
      const text = yield* reader.upTo("event: response.completed")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(eventsOf(text + (yield* reader.rest)).at(-1)?.type, "response.completed")
    }).pipe(Effect.provide(TestProxy.layerBrief({ transport: "http" }, { fault: () => [hold(1_000_000)] }))),
  )
})
