import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { takeTurns } from "../../../src/upstream/dialer/ReadTurns.ts"
import { round } from "../../support/EventLoop.ts"

/** One that has `slices` to hand on, each of which takes `millis` of the thread. */
const reading = (told: Array<string>, name: string, slices: number, millis: number) => ({
  slice: () => {
    const until = performance.now() + millis
    while (performance.now() < until);
    told.push(name)
    return --slices > 0
  },
})

describe("Connections that wait for their next slice", () => {
  it.effect("take turns", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      takeTurns(reading(told, "a", 3, 0))
      takeTurns(reading(told, "b", 2, 0))
      takeTurns(reading(told, "c", 1, 0))
      assert.deepStrictEqual(told, [])
      yield* Effect.repeat(round, { times: 5 })
      assert.deepStrictEqual(told, ["a", "b", "c", "a", "b", "a"])
    }),
  )

  it.effect("leave the event loop to others after a bounded time", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      takeTurns(reading(told, "slice", 4, 3))
      for (let rounds = 0; rounds < 6; rounds++) {
        yield* round
        told.push("other")
      }
      const last = told.lastIndexOf("slice")
      assert.strictEqual(told.filter((one) => one === "slice").length, 4)
      // No two slices follow each other, since each takes more than a round may.
      for (let at = 0; at < last; at++) assert.isFalse(told[at] === "slice" && told[at + 1] === "slice", told.join())
    }),
  )
})
