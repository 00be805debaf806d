import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Logger } from "effect"
import { logfmt } from "../../src/cli/LogLine.ts"

const values = ["", "plain", "two words", 'a "quote"', "a=b", "tab\there", "line\nend", "\\", "é", "\u2028", "\ud800"]
const others = [0, -1.5, 1e21, Number.NaN, Infinity, true, null, undefined, 10n, [1, "a b"], { a: 1 }, /a b/]

/** Lines of Effect's format, each with respool's for the same record. */
const lines = <A>(logging: Effect.Effect<A>) => {
  const written: Array<readonly [effects: string, ours: string]> = []
  const both = Logger.make((record: Logger.Options<unknown>) => {
    written.push([Logger.formatLogFmt.log(record), logfmt.log(record)])
  })
  return Effect.as(Effect.provide(logging, Logger.layer([both])), written)
}

describe("A line of the log", () => {
  it.effect("is what Effect makes of the record, whatever is in it", () =>
    Effect.gen(function* () {
      const texts = [...values, ...others]
      const written = yield* lines(
        Effect.gen(function* () {
          for (const value of texts) {
            yield* Effect.logInfo(value)
            yield* Effect.annotateLogs(Effect.logWarning("turn"), { first: value, "a label": 1, last: value })
            yield* Effect.annotateLogs(Effect.logError("two", value), { first: value })
          }
          yield* Effect.logInfo()
          yield* Effect.logError("failed", Cause.fail(new Error("why")))
          yield* Effect.withLogSpan(Effect.logInfo("spanned"), "span")
          yield* Effect.annotateLogs(Effect.logInfo("turn"), { request: "req_1", items: "1/2", events: 3, totalMs: 4 })
        }),
      )
      assert.lengthOf(written, 3 * texts.length + 4)
      for (const [effects, ours] of written) assert.strictEqual(ours, effects)
    }),
  )
})
