import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Settings } from "../../../src/config/Settings.ts"
import { Upstreams } from "../../../src/upstream/route/Upstreams.ts"

/** Whether an upstream that serves `pattern` serves each model. */
const served = (pattern: string, models: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { forModel } = yield* Upstreams
    return models.filter((model) => forModel(model).name === "special")
  }).pipe(
    Effect.provide(
      Upstreams.layerNoDeps.pipe(
        Layer.provide(
          Settings.layer({
            upstreams: [
              { name: "default", url: "https://default.test" },
              { name: "special", url: "https://special.test", models: [pattern], credential: { _tag: "Caller" } },
            ],
          }),
        ),
      ),
    ),
  )

describe("A pattern of models", () => {
  const all = ["", "a", "ab", "abc", "abbc", "a.c", "aXc", "abcabc", "a\nc", "A"]
  const meant: ReadonlyArray<readonly [pattern: string, models: ReadonlyArray<string>]> = [
    ["*", all],
    ["a*", all.slice(1, -1)],
    ["*c", ["abc", "abbc", "a.c", "aXc", "abcabc", "a\nc"]],
    ["ab*bc", ["abbc", "abcabc"]],
    ["a.*", ["a.c"]],
    ["a**c", ["abc", "abbc", "a.c", "aXc", "abcabc", "a\nc"]],
    ["*bc*b*", ["abcabc"]],
    ["*a*b*c*a*b*c*", ["abcabc"]],
    ["*x*", []],
  ]
  for (const [pattern, models] of meant) {
    it.effect(`such as ${pattern} means any text where it has a star, and itself elsewhere`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* served(pattern, all), models)
      }),
    )
  }

  it.effect("can't be kept busy by a long name, which a client may send", () =>
    Effect.gen(function* () {
      // With an expression that goes back at each star this takes longer than anybody waits.
      assert.deepStrictEqual(yield* served("*a*a*a*a*a*b", ["a".repeat(20_000)]), [])
    }),
  )
})
