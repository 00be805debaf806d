import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { inSlices } from "../../src/turn/Slices.ts"
import type { Steps } from "../../src/wire/Steps.ts"
import { round } from "../support/EventLoop.ts"

/** Work of so many steps, each longer than a slice, which writes down each of them. */
function* work(name: string, steps: number, done: Array<string>): Steps<string> {
  for (let step = 1; step <= steps; step++) {
    const until = performance.now() + 3
    while (performance.now() < until);
    done.push(name)
    if (step < steps) yield
  }
  return name
}

describe("Work in slices", () => {
  it.effect("is done at once if it has one step", () =>
    Effect.sync(() => {
      const done: Array<string> = []
      assert.deepStrictEqual(Effect.runSync(inSlices(work("a", 1, done))), "a")
    }),
  )

  it.effect("lets the event loop go on between two slices, and takes turns with other work", () =>
    Effect.gen(function* () {
      const done: Array<string> = []
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.forkChild(inSlices(work(name, 5, done))))
      let rounds = 0
      while (done.length < 15 && rounds < 1_000) {
        rounds++
        yield* round
      }
      // The first step of each is done at once, and each round of the loop has one slice of all the others.
      assert.isAtLeast(rounds, 12)
      for (let at = 3; at < 15; at += 3) assert.sameMembers(done.slice(at, at + 3), ["a", "b", "c"])
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ["a", "b", "c"])
    }),
  )

  it.effect("is left where it is when its fiber is interrupted", () =>
    Effect.gen(function* () {
      const done: Array<string> = []
      const fiber = yield* Effect.forkChild(inSlices(work("a", 50, done)))
      yield* round
      yield* round
      yield* Fiber.interrupt(fiber)
      const { length } = done
      for (let rounds = 0; rounds < 10; rounds++) yield* round
      assert.strictEqual(done.length, length)
      assert.isBelow(length, 50)
    }),
  )

  it.effect("is a defect when a step throws, and holds up no other", () =>
    Effect.gen(function* () {
      const done: Array<string> = []
      function* broken(): Steps<never> {
        yield
        throw new Error("broken")
      }
      const failing = yield* Effect.forkChild(Effect.exit(inSlices(broken())))
      const fine = yield* Effect.forkChild(inSlices(work("a", 5, done)))
      assert.strictEqual(yield* Fiber.join(fine), "a")
      const exit = yield* Fiber.join(failing)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }),
  )
})
