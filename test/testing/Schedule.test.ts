import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { parse, print, schedules, thorough } from "../../src/testing/Testing.ts"

describe("a schedule", () => {
  it.effect.prop(
    "is read as it was printed",
    [schedules()],
    ([schedule]) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* parse(print(schedule, () => "a comment")), schedule)
      }),
    { arbitrary: thorough(200) },
  )

  it.effect("names the line that is no step", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(parse("# a comment\nlease 1 a1\n\nlease 2 c9"))
      assert.strictEqual(error.message, "line 4 is no step: lease 2 c9")
    }),
  )
})
