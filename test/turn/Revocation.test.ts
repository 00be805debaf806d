import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { Revocation } from "../../src/turn/Revocation.ts"

describe("Revocation", () => {
  it.effect("tells each listener once a change, for as long as its scope lasts, and not one that came meanwhile", () =>
    Effect.gen(function* () {
      const { isRevoked, listen, revoke } = yield* Revocation
      const scope = yield* Scope.make()
      const told: Array<string> = []
      const later = Effect.runSyncWith(yield* Effect.context<never>())
      yield* listen(() => {
        told.push("first")
        if (told.length === 1)
          later(
            Scope.provide(
              listen(() => told.push("second")),
              scope,
            ),
          )
      }).pipe(Scope.provide(scope))
      revoke(new Set(["a"]))
      assert.deepStrictEqual(told, ["first"])
      assert.isTrue(isRevoked("a"))
      revoke(new Set(["b"]))
      assert.deepStrictEqual(told, ["first", "first", "second"])
      assert.deepStrictEqual(["a", "b"].map(isRevoked), [false, true])
      yield* Scope.close(scope, Exit.void)
      revoke(new Set())
      assert.strictEqual(told.length, 3)
    }).pipe(Effect.provide(Revocation.layer)),
  )
})
