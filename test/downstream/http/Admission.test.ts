import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Layer, Result, Schema } from "effect"
import type { Place } from "../../../src/downstream/http/Admission.ts"
import { Admission } from "../../../src/downstream/http/Admission.ts"
import { Settings } from "../../../src/config/Settings.ts"
import { runs } from "../../support/Runs.ts"

const admission = (maxTurns: number, maxBodies: number) =>
  Admission.layerNoDeps.pipe(Layer.provide(Settings.layer({ maxTurns, maxBodies })))

const steps = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))), {
  minLength: 10,
  maxLength: 200,
})

describe("Admission", () => {
  it.effect("lets in as many requests as there are places, and again when one is given up", () =>
    Effect.gen(function* () {
      const { enter, taken } = yield* Admission
      const first = yield* enter
      yield* enter
      const refused = yield* Effect.flip(enter)
      assert.deepInclude(refused, { status: 503, code: "server_overloaded", type: "server_error" })
      assert.deepStrictEqual(refused.headers, { "retry-after": "1" })
      first.release()
      first.release()
      yield* enter
      yield* Effect.flip(enter)
      assert.deepStrictEqual(taken(), { places: 2, bytes: 0 })
    }).pipe(Effect.provide(admission(2, 100))),
  )

  it.effect("holds as many bytes as it may, of all requests together", () =>
    Effect.gen(function* () {
      const { enter, taken } = yield* Admission
      const [one, two] = [yield* enter, yield* enter]
      assert.isTrue(one.holds(60))
      assert.isFalse(two.holds(41))
      assert.isTrue(two.holds(40))
      assert.isFalse(one.holds(61))
      assert.isTrue(one.holds(60))
      assert.strictEqual(taken().bytes, 100)
      assert.isTrue(one.holds(59))
      assert.isTrue(two.holds(41))
      one.release()
      assert.isFalse(one.holds(1))
      assert.deepStrictEqual(taken(), { places: 1, bytes: 41 })
    }).pipe(Effect.provide(admission(9, 100))),
  )

  it.effect.prop(
    "counts what its places say, whatever the order, never more than it may, and nothing in the end",
    [steps],
    ([drawn]) =>
      Effect.gen(function* () {
        const { enter, taken } = yield* Admission
        const held = new Map<Place, number>()
        const gone: Array<Place> = []
        for (const number of drawn) {
          const place = [...held.keys()][number % Math.max(1, held.size)]
          const bytes = number % 701
          if (number % 3 === 0 || place === undefined) {
            const entered = yield* Effect.result(enter)
            assert.strictEqual(Result.isSuccess(entered), held.size < 4)
            if (Result.isSuccess(entered)) held.set(entered.success, 0)
          } else if (number % 3 === 1) {
            const others = [...held].reduce((sum, [other, size]) => (other === place ? sum : sum + size), 0)
            const fits = others + bytes <= 1000 || bytes <= (held.get(place) ?? 0)
            assert.strictEqual(place.holds(bytes), fits)
            if (fits) held.set(place, bytes)
          } else {
            place.release()
            held.delete(place)
            gone.push(place)
          }
          for (const place of gone) place.release()
          assert.deepStrictEqual(taken(), {
            places: held.size,
            bytes: [...held.values()].reduce((sum, size) => sum + size, 0),
          })
          assert.isAtMost(taken().bytes, 1000)
        }
        for (const place of held.keys()) place.release()
        assert.deepStrictEqual(taken(), { places: 0, bytes: 0 })
      }).pipe(Effect.provide(admission(4, 1000))),
    { arbitrary: { runs: runs(300) } },
  )
})
