/**
 * Who is there: by a name, and by a table of a database that may be away.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { setImmediate } from "node:timers/promises"
import { Membership } from "../../src/cluster/members/Membership.ts"
import { layerDns } from "../../src/cluster/members/MembershipDns.ts"
import type { NodeTable } from "../../src/cluster/members/MembershipPostgres.ts"
import { layerTable } from "../../src/cluster/members/MembershipPostgres.ts"

const built = <E>(layer: Layer.Layer<Membership, E>) =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, Membership))

/** Lets what was asked of a promise come back. */
const settle = Effect.promise(() => setImmediate())

describe("a name", () => {
  it.effect("is asked again, and what it said last holds while it can't be resolved", () =>
    Effect.gen(function* () {
      const said: Array<ReadonlyArray<string> | undefined> = [["10.0.0.1", "fd00::1"], undefined, [], ["10.0.0.2"]]
      const resolve = async () => {
        const next = said.shift()
        if (next === undefined) throw new Error("not found")
        return next
      }
      const { addresses } = yield* built(layerDns("nodes", "http://10.0.0.1:8090", resolve))
      const before = ["http://10.0.0.1:8090", "http://[fd00::1]:8090"]
      assert.deepStrictEqual(addresses(), before)
      for (const expected of [before, before, ["http://10.0.0.2:8090"]]) {
        yield* TestClock.adjust("5 seconds")
        yield* settle
        assert.deepStrictEqual(addresses(), expected)
      }
    }).pipe(Effect.scoped),
  )
})

describe("a table", () => {
  /** A table of a database in this process, which may be away. */
  const database = () => {
    const rows = new Map<string, number>()
    const state = { away: false, resets: 0 }
    const asked = <A>(answer: () => A) => (state.away ? Promise.reject(new Error("away")) : Promise.resolve(answer()))
    const table: NodeTable = {
      beat: (address) =>
        asked(() => {
          rows.set(address, (rows.get(address) ?? 0) + 1)
          return [...rows].map(([address, beats]) => ({ address, beats: String(beats) }))
        }),
      remove: (address) => asked(() => void rows.delete(address)),
      reset: () => {
        state.resets++
      },
      close: () => Promise.resolve(),
    }
    return { rows, state, table }
  }

  const ticks = Effect.fnUntraced(function* (seconds: number, each: () => void = () => {}) {
    for (let passed = 0; passed < seconds; passed += 2) {
      each()
      yield* TestClock.adjust("2 seconds")
      yield* settle
    }
  })

  it.effect("tells who counts up, and not who has stopped to, nor who has left", () =>
    Effect.gen(function* () {
      const { rows, table } = database()
      rows.set("http://b:1", 7)
      const stops = yield* Deferred.make<void>()
      const { addresses } = yield* built(layerTable("http://a:1", table, Deferred.await(stops)))
      const both = ["http://a:1", "http://b:1"]
      assert.sameMembers([...addresses()], both)
      yield* ticks(20, () => rows.set("http://b:1", (rows.get("http://b:1") ?? 0) + 1))
      assert.sameMembers([...addresses()], both)
      yield* ticks(18)
      assert.deepStrictEqual(addresses(), ["http://a:1"])
      assert.isTrue(rows.has("http://b:1"))
      yield* ticks(600)
      assert.isFalse(rows.has("http://b:1"))
      yield* Deferred.succeed(stops, undefined)
      yield* settle
      yield* ticks(4)
      assert.deepStrictEqual([...rows.keys()], [])
    }).pipe(Effect.scoped),
  )

  it.effect("that is away leaves who was known, for as long as it is, and connects anew", () =>
    Effect.gen(function* () {
      const { rows, state, table } = database()
      rows.set("http://b:1", 1)
      const { addresses } = yield* built(layerTable("http://a:1", table, Effect.never))
      state.away = true
      yield* ticks(60)
      assert.sameMembers([...addresses()], ["http://a:1", "http://b:1"])
      assert.isAbove(state.resets, 20)
      state.away = false
      yield* ticks(4, () => rows.set("http://b:1", (rows.get("http://b:1") ?? 0) + 1))
      assert.sameMembers([...addresses()], ["http://a:1", "http://b:1"])
    }).pipe(Effect.scoped),
  )
})
