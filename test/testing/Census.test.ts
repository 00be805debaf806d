import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schema, Scope } from "effect"
import { Census, CensusError } from "../../src/testing/Testing.ts"

/** What a program that takes and gives back as `body` does is told when its scope closes. */
const censusOf = Effect.fnUntraced(function* (body: Effect.Effect<unknown>, gauges?: Record<string, () => number>) {
  const census = yield* Census
  const scope = yield* Scope.make()
  yield* Scope.provide(census.balanced(gauges), scope)
  yield* body
  const exit = yield* Effect.exit(Scope.close(scope, Exit.void))
  if (Exit.isSuccess(exit)) return "balanced"
  const defect = Cause.squash(exit.cause)
  return Schema.is(CensusError)(defect) ? defect.message : "another defect"
})

describe("Census", () => {
  it.effect("is content with fibers that have ended", () =>
    Effect.gen(function* () {
      const ended = Effect.flatMap(Effect.forkDetach(Effect.void), Fiber.await)
      assert.strictEqual(yield* censusOf(ended), "balanced")
    }).pipe(Effect.provide(Census.layer)),
  )

  it.effect("names the fibers that go on", () =>
    Effect.gen(function* () {
      const left: Array<Fiber.Fiber<never>> = []
      const leak = Effect.map(Effect.forkDetach(Effect.never), (fiber) => left.push(fiber))
      assert.match(yield* censusOf(leak), /^not given back: (\d+) fibers, \d+ before$/)
      yield* Fiber.interruptAll(left)
    }).pipe(Effect.provide(Census.layer)),
  )

  it.effect("names what a gauge counts", () =>
    Effect.gen(function* () {
      let sockets = 1
      const open = Effect.sync(() => sockets++)
      assert.strictEqual(yield* censusOf(open, { sockets: () => sockets }), "not given back: 2 sockets, 1 before")
    }).pipe(Effect.provide(Census.layer)),
  )
})
