/**
 * An upstream that answers no dial at all: what is dialled there keeps its descriptor long after it was given up.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { affinity, open, pool } from "../../support/Leasing.ts"
import { TestDialer } from "../../support/TestDialer.ts"

const cap = 5
const second = TestClock.adjust("1 second")

/** So many turns ask at once; what they are told is not waited for. */
const ask = (count: number, scope = "a") =>
  Effect.forEach(Array.from({ length: count }), (_, index) =>
    Effect.forkChild(Effect.exit(open({ affinity: affinity(`key ${index}`, scope) }))),
  )

describe("Dials into nowhere", () => {
  for (const [what, scopes] of [
    ["one caller", ["a"]],
    ["many callers", ["a", "b", "c", "d"]],
  ] as const) {
    it.effect(`are as many as the cap at first, and then one at a time, for ${what}`, () =>
      Effect.gen(function* () {
        const { dials, outcome } = yield* TestDialer
        outcome.next = "hang"
        for (const scope of scopes) yield* ask(cap, scope)
        yield* Effect.yieldNow
        assert.isAtMost(dials(), cap)
        const first = dials()
        // 140 seconds, in each of which every caller asks.
        for (let passed = 0; passed < 140; passed++) {
          yield* second
          for (const scope of scopes) yield* ask(2, scope)
        }
        // The hand-shakes of 15 seconds with the pauses between them leave room for so many.
        assert.isAtMost(dials() - first, 8)
        assert.isAtLeast(dials() - first, 4)
      }).pipe(Effect.provide(pool({ maxConnections: cap }))),
    )
  }

  it.effect("end with the first that opens, and then all may dial", () =>
    Effect.gen(function* () {
      const { dials, open: opened, outcome } = yield* TestDialer
      outcome.next = "hang"
      yield* ask(1)
      yield* TestClock.adjust("16 seconds")
      outcome.next = "open"
      yield* open({ affinity: affinity("one", "a") })
      const before = dials()
      yield* ask(3)
      yield* Effect.yieldNow
      assert.strictEqual(dials() - before, 3)
      assert.strictEqual(opened(), 4)
    }).pipe(Effect.provide(pool({ maxConnections: cap }))),
  )

  it.effect("that are left by their turn keep nobody from trying", () =>
    Effect.gen(function* () {
      const { dials, outcome } = yield* TestDialer
      outcome.next = "hang"
      yield* ask(1)
      yield* TestClock.adjust("16 seconds")
      const [tries] = yield* ask(1)
      yield* Effect.yieldNow
      const before = dials()
      yield* ask(1)
      yield* Effect.yieldNow
      assert.strictEqual(dials(), before)
      if (tries !== undefined) yield* Fiber.interrupt(tries)
      outcome.next = "open"
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(open({ affinity: affinity("one", "a") }))))
    }).pipe(Effect.provide(pool({ maxConnections: cap }))),
  )
})
