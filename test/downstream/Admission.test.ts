import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Layer, Result, Schema } from "effect"
import type { Entering, Place } from "../../src/downstream/Admission.ts"
import { Admission } from "../../src/downstream/Admission.ts"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"
import { runs } from "../support/Runs.ts"

const admission = (maxTurns: number, maxBodies: number, shares: SettingsOptions = {}) =>
  Admission.layerNoDeps.pipe(Layer.provide(Settings.layer({ maxTurns, maxBodies, ...shares })))

const from = (address?: string, scope?: string) => ({ address, scope })
const somebody = from("192.0.2.1", "caller:a")

/** Two that are counted as one, by their scope or their address. */
const same: ReadonlyArray<readonly [what: string, one: Entering, other: Entering]> = [
  ["a credential from two addresses", from("192.0.2.1", "caller:a"), from("192.0.2.2", "caller:a")],
  ["two credentials from an address", from("192.0.2.1", "caller:a"), from("192.0.2.1", "caller:b")],
  ["no credential and one", from("192.0.2.1"), from("192.0.2.1", "caller:b")],
  ["no credential twice", from("192.0.2.1"), from("192.0.2.1")],
  ["a scope without an address", from(undefined, "caller:a"), from("192.0.2.1", "caller:a")],
  ["an IPv4 address as a socket for both writes it", from("192.0.2.1"), from("::ffff:192.0.2.1")],
  ["two addresses of one IPv6 network", from("2001:db8:0:1::1"), from("2001:db8:0:1:ffff:1:2:3")],
  ["the same IPv6 network, written otherwise", from("2001:DB8::1:0:0:0:1"), from("2001:db8:0000:0001::2")],
  ["an IPv6 address with a zone", from("fe80::1%eth0"), from("fe80::2%eth1")],
]

const different: ReadonlyArray<readonly [what: string, one: Entering, other: Entering]> = [
  ["two credentials from two addresses", from("192.0.2.1", "caller:a"), from("192.0.2.2", "caller:b")],
  ["two addresses without a credential", from("192.0.2.1"), from("192.0.2.2")],
  ["two IPv6 networks", from("2001:db8:0:1::1"), from("2001:db8:0:2::1")],
  ["IPv4 and IPv6 on loopback", from("127.0.0.1"), from("::1")],
  ["a scope that is called like an address", from(undefined, "192.0.2.1"), from("192.0.2.1")],
  ["callers of whom nothing is known", from(), from()],
]

const steps = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))), {
  minLength: 10,
  maxLength: 200,
})

describe("Admission", () => {
  it.effect("lets in as many requests as there are places, and again when one is given up", () =>
    Effect.gen(function* () {
      const { enter: enterAs, taken } = yield* Admission
      const enter = enterAs(somebody)
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
      const { enter: enterAs, taken } = yield* Admission
      const enter = enterAs(somebody)
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

  for (const [what, one, other] of same) {
    it.effect(`lets no one hold more than a share: ${what}`, () =>
      Effect.gen(function* () {
        const { counted, enter, taken } = yield* Admission
        const [first, second] = [yield* enter(one), yield* enter(other)]
        const refused = yield* Effect.flip(enter(other))
        assert.deepInclude(refused, { status: 503, code: "server_overloaded", type: "server_error" })
        assert.isTrue(first.holds(60))
        assert.isFalse(second.holds(41))
        assert.isTrue(second.holds(40))
        assert.isFalse(first.holds(61))
        first.release()
        const third = yield* enter(one)
        assert.isFalse(third.holds(61))
        assert.isTrue(third.holds(60))
        const stranger = yield* enter(from("198.51.100.1", "caller:z"))
        assert.isTrue(stranger.holds(100))
        for (const place of [second, third, stranger]) place.release()
        assert.deepStrictEqual(taken(), { places: 0, bytes: 0 })
        assert.strictEqual(counted(), 0)
      }).pipe(Effect.provide(admission(9, 1000, { maxTurnsPerCaller: 2, maxBodiesPerCaller: 100 }))),
    )
  }

  for (const [what, one, other] of different) {
    it.effect(`counts apart: ${what}`, () =>
      Effect.gen(function* () {
        const { enter } = yield* Admission
        for (const who of [one, other]) {
          const place = yield* enter(who)
          assert.isTrue(place.holds(100))
        }
      }).pipe(Effect.provide(admission(9, 1000, { maxTurnsPerCaller: 1, maxBodiesPerCaller: 100 }))),
    )
  }

  it.effect.prop(
    "counts what its places say, whatever the order and the callers, never more than it may, and nothing in the end",
    [steps],
    ([drawn]) =>
      Effect.gen(function* () {
        const { counted, enter, taken } = yield* Admission
        const held = new Map<Place, { readonly who: Entering; bytes: number }>()
        const gone: Array<Place> = []
        const all = (fits: (who: Entering) => boolean) => [...held.values()].filter(({ who }) => fits(who))
        const bytesOf = (of: ReturnType<typeof all>) => of.reduce((sum, { bytes }) => sum + bytes, 0)
        const sharesOf = ({ address, scope }: Entering) => [
          all((who) => who.scope === scope),
          all((who) => who.address === address),
        ]
        for (const number of drawn) {
          const place = [...held.keys()][number % Math.max(1, held.size)]
          const mine = place === undefined ? undefined : held.get(place)
          const bytes = number % 701
          if (number % 3 === 0 || place === undefined || mine === undefined) {
            const who = from(`192.0.2.${number % 5}`, `caller:${number % 7}`)
            const isRoom = held.size < 6 && sharesOf(who).every((share) => share.length < 3)
            const entered = yield* Effect.result(enter(who))
            assert.strictEqual(Result.isSuccess(entered), isRoom)
            if (Result.isSuccess(entered)) held.set(entered.success, { who, bytes: 0 })
          } else if (number % 3 === 1) {
            const more = bytes - mine.bytes
            const isRoom =
              bytesOf(all(() => true)) + more <= 1000 &&
              sharesOf(mine.who).every((share) => bytesOf(share) + more <= 600)
            const fits = more <= 0 || isRoom
            assert.strictEqual(place.holds(bytes), fits)
            if (fits) mine.bytes = bytes
          } else {
            place.release()
            held.delete(place)
            gone.push(place)
          }
          for (const place of gone) place.release()
          assert.deepStrictEqual(taken(), { places: held.size, bytes: bytesOf(all(() => true)) })
          const names = [...held.values()].flatMap(({ who }) => [`a ${who.address}`, `s ${who.scope}`])
          assert.strictEqual(counted(), new Set(names).size)
        }
        for (const place of held.keys()) place.release()
        assert.deepStrictEqual(taken(), { places: 0, bytes: 0 })
        assert.strictEqual(counted(), 0)
      }).pipe(Effect.provide(admission(6, 1000, { maxTurnsPerCaller: 3, maxBodiesPerCaller: 600 }))),
    { arbitrary: { runs: runs(300) } },
  )
})
