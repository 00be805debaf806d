import { assert, describe, it } from "@effect/vitest"
import { Effect, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Deadlines from "../../src/turn/Deadlines.ts"

describe("Deadlines", () => {
  const noted = Effect.gen(function* () {
    const { after } = yield* Deadlines.make
    const called: Array<string> = []
    const note = (millis: number, name = String(millis)) => after(millis, () => called.push(name))
    return { after, called, note }
  })

  it.effect("calls each at its time, in whatever order they were set", () =>
    Effect.gen(function* () {
      const { called, note } = yield* noted
      for (const millis of [500, 20, 300, 1, 500, 40, 2, 300]) note(millis)
      const expected: Array<string> = []
      for (const [step, names] of [
        [1, ["1"]],
        [1, ["2"]],
        [17, []],
        [1, ["20"]],
        [20, ["40"]],
        [259, []],
        [1, ["300", "300"]],
        [1_000, ["500", "500"]],
      ] as const) {
        yield* TestClock.adjust(step)
        expected.push(...names)
        assert.deepStrictEqual(called, expected)
      }
    }),
  )

  it.effect("calls none that was cancelled, and cancels none but that", () =>
    Effect.gen(function* () {
      const { called, note } = yield* noted
      // Far more than are kept: what is let go of must leave the others in their order.
      const all = Array.from({ length: 10_000 }, (_, i) => note(1 + ((i * 7_919) % 10_000)))
      for (const [i, deadline] of all.entries()) {
        if (i % 10 === 0) continue
        deadline.cancel()
        deadline.cancel()
      }
      const left = all.flatMap((_, i) => (i % 10 === 0 ? [1 + ((i * 7_919) % 10_000)] : []))
      yield* TestClock.adjust(5_000)
      const sorted = left.sort((a, b) => a - b).map(String)
      assert.deepStrictEqual(
        called,
        sorted.filter((name) => Number(name) <= 5_000),
      )
      yield* TestClock.adjust(5_000)
      assert.deepStrictEqual(called, sorted)
    }),
  )

  it.effect("takes a nearer one while it sleeps, and one that is set by another", () =>
    Effect.gen(function* () {
      const { after, called, note } = yield* noted
      note(1_000)
      yield* TestClock.adjust(10)
      after(5, () => {
        called.push("5")
        note(5, "5 more")
        note(0, "now")
      })
      yield* TestClock.adjust(5)
      assert.deepStrictEqual(called, ["5", "now"])
      yield* TestClock.adjust(5)
      assert.deepStrictEqual(called, ["5", "now", "5 more"])
      yield* TestClock.adjust(980)
      assert.deepStrictEqual(called, ["5", "now", "5 more", "1000"])
    }),
  )

  it.effect("goes on when one of them throws", () =>
    Effect.gen(function* () {
      const { after, called, note } = yield* noted
      after(1, () => {
        throw new Error("planted")
      })
      note(1)
      note(2)
      yield* TestClock.adjust(2)
      assert.deepStrictEqual(called, ["1", "2"])
    }),
  )

  it.effect("calls none once their scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { called, note } = yield* Scope.provide(noted, scope)
      note(10)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(called, [])
    }),
  )
})
