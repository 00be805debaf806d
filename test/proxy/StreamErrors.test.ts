import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { isObject } from "../../src/simulator/JsonText.ts"
import type { Fault } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { open } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import type { SentEvent } from "../support/Events.ts"
import { eventsOf, responseIn } from "../support/Events.ts"
import { objectIn } from "../support/Parsed.ts"
import { TestProxy } from "../support/TestProxy.ts"

const proxied = (...faults: ReadonlyArray<Fault>) =>
  TestProxy.layerBrief({ streamError: "failed", retry: "strict" }, { fault: () => faults })

/** The response that an event carries. */
const responseOf = (event: SentEvent | undefined): JsonObject => {
  const response = objectIn(responseIn(event))
  if (response === undefined) throw new Error("the response is no object")
  return response
}

const greet = (model = "gpt-5.5") => post({ model, input: "Hello", stream: true })

/** Faults behind content, and what the failed response says of them. */
const cases: ReadonlyArray<readonly [what: string, fault: Fault, code: string, says: RegExp]> = [
  ["a reset", { _tag: "Reset", at: 6 }, "server_error", /\(upstream_closed\)$/],
  ["a close", { _tag: "Close", at: 6, code: 1011 }, "server_error", /\(upstream_closed\)$/],
  ["what is no JSON", { _tag: "InvalidJson", at: 6 }, "server_error", /\(upstream_protocol\)$/],
  ["a binary frame", { _tag: "BinaryFrame", at: 6 }, "server_error", /\(upstream_protocol\)$/],
  [
    "an error of the upstream's",
    { _tag: "Error", at: 6, status: 429, code: "rate_limit_exceeded", message: "Slow down." },
    "rate_limit_exceeded",
    /^Slow down\.$/,
  ],
  [
    "a flat error",
    { _tag: "Error", at: 6, flat: true, status: 500, code: "strange", message: "It broke." },
    "server_error",
    /^It broke\.$/,
  ],
  ["a failed response", { _tag: "Failed", at: 6, code: "server_error", message: "It broke." }, "server_error", /broke/],
]

describe("With RESPOOL_STREAM_ERROR=failed a stream ends in one response.failed", () => {
  for (const [what, fault, code, says] of cases) {
    it.effect(`behind ${what}`, () =>
      Effect.gen(function* () {
        const events = eventsOf((yield* greet()).text)
        const [begun] = events
        const last = events.at(-1)
        assert.deepStrictEqual(
          events.filter(({ type }) => type === "error" || type === "response.failed").map(({ type }) => type),
          ["response.failed"],
        )
        const [first, failed] = [responseOf(begun), responseOf(last)]
        assert.strictEqual(first["id"], failed["id"])
        assert.strictEqual(failed["status"], "failed")
        assert.strictEqual(failed["object"], "response")
        const error = failed["error"]
        assert.isTrue(isObject(error) && error["code"] === code && says.test(String(error["message"])), last?.data)
        assert.deepStrictEqual(
          events.map(({ data }) => (JSON.parse(data) as { readonly sequence_number: number }).sequence_number),
          events.map((_, index) => index),
        )
      }).pipe(Effect.provide(proxied(fault))),
    )
  }

  it.effect("which the openai SDK takes for the response's end", () =>
    Effect.gen(function* () {
      const { client } = yield* TestProxy
      const final = yield* Effect.promise(() =>
        client().responses.stream({ model: "gpt-5.5", input: "Hello" }).finalResponse(),
      )
      assert.strictEqual(final.status, "failed")
      assert.strictEqual(final.error?.code, "server_error")
    }).pipe(Effect.provide(proxied({ _tag: "Reset", at: 6 }))),
  )

  it.effect("of its own where nothing had come but the head", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const simulator = yield* Simulator
      const head = yield* Effect.forkChild(
        open(`${url}/responses`, { key: "test-key-a", body: { model: "gpt-5.5", input: "Hello", stream: true } }),
      )
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* TestClock.adjust("2 seconds")
      const response = yield* Fiber.join(head)
      yield* simulator.release
      const text = yield* Effect.promise(() => response.text())
      const events = eventsOf(text)
      assert.deepStrictEqual(
        events.map(({ type }) => type),
        ["response.created", "response.failed"],
      )
      const [created, failed] = events.map(responseOf)
      assert.strictEqual(created?.["id"], failed?.["id"])
      assert.strictEqual(created?.["status"], "in_progress")
      assert.strictEqual(failed?.["model"], "gpt-5.5")
    }).pipe(Effect.provide(proxied({ _tag: "Hold", at: 0 }, { _tag: "Reset", at: 0 }))),
  )

  it.effect("and is a status as ever before the head", () =>
    Effect.gen(function* () {
      const answer = yield* greet()
      assert.strictEqual(answer.status, 502)
    }).pipe(Effect.provide(proxied({ _tag: "Reset", at: 0 }))),
  )
})
