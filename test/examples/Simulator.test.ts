import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { OpenAI } from "openai"
import { Simulator } from "respool/simulator"

describe("my client", () => {
  it.effect("fails loudly where the upstream hangs up in the middle of an answer", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = new OpenAI({ baseURL: simulator.url, apiKey: "test-key-a", maxRetries: 0 })
      const ask = Effect.tryPromise(() => client.responses.create({ model: "gpt-5.5", input: "hello" }))
      yield* simulator.failNext({ _tag: "Close", at: 3, code: 1011 })
      yield* Effect.flip(ask)
      assert.strictEqual(simulator.turns[0]?.status, "abandoned")
      assert.strictEqual((yield* ask).status, "completed")
    }).pipe(Effect.provide(Simulator.layer({ seed: 7 }))),
  )
})
