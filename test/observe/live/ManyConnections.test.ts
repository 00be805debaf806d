import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Settings } from "../../../src/config/Settings.ts"
import { mostRunning, rowsPerPage } from "../../../src/observe/live/Frame.ts"
import { Overview } from "../../../src/observe/live/Overview.ts"
import type { Connection } from "../../../src/upstream/pool/Connection.ts"
import { show } from "../../../src/upstream/pool/PoolLog.ts"
import * as Observing from "../../../src/turn/record/Observing.ts"
import type { RunningTurn } from "../../../src/turn/record/TurnRecord.ts"

const layer = Overview.layerNoDeps.pipe(
  Layer.provideMerge(Observing.layer),
  Layer.provide(Settings.layer({})),
  Layer.provide([NodeFileSystem.layer, NodePath.layer]),
)

const states = ["leased", "idle", "idle", "connecting"] as const

/** As much of a pool's connection as is shown, which tells how often it was looked at. */
const connection = (index: number, looked: { times: number }) => {
  const state = states[index % states.length] ?? "idle"
  const scope = "caller"
  return {
    id: index + 1,
    affinity: { scope, upstream: { name: "default" } },
    session: `${scope.length}:${scope}${"s".repeat(250)}${index}`,
    idleSince: state === "idle" ? 1 : undefined,
    get state() {
      looked.times++
      return state === "connecting"
        ? { _tag: "Connecting" }
        : { _tag: "Open", openedAt: 0, chains: [{ turns: index % 40 }] }
    },
  } as unknown as Connection
}

const running = (index: number) =>
  ({
    turn: {
      turnId: `turn-${index}`,
      session: { key: "", name: "n".repeat(256) },
      startedAt: 0,
      body: { bytes: new Uint8Array(), members: new Map() },
    },
    way: undefined,
    events: 3,
  }) as unknown as RunningTurn

describe("A frame of five thousand connections and as many turns", () => {
  it.effect("has one page of them, and is no larger for all the others", () =>
    Effect.gen(function* () {
      const observing = yield* Observing.Observing
      const overview = yield* Overview
      const looked = { times: 0 }
      const all = Array.from({ length: 5000 }, (_, index) => connection(index, looked))
      yield* show({ observing, connections: () => all, most: 5000, waiting: () => 0, now: () => 9000 })
      for (let index = 0; index < 5000; index++) observing.turnStarted(running(index))
      const at = (from: number, state?: string) => overview.reader({ from, state })()
      const first = at(0)
      // One walk for all that is counted, and then the rows alone.
      assert.isAtMost(looked.times, 5000 + 3 * rowsPerPage)
      assert.deepStrictEqual(
        ["leased", "idle", "connecting"].map((state) => first.gauges[`connections_${state}`]),
        [1250, 2500, 1250],
      )
      assert.strictEqual(first.connections.rows[1]?.session?.startsWith("sss"), true)
      assert.deepStrictEqual([first.connections.fitting, first.connections.rows.length], [5000, rowsPerPage])
      assert.lengthOf(first.running, mostRunning)
      assert.isBelow(JSON.stringify({ ...first, settings: [] }).length, 40_000)
      const ids = (from: number, state?: string) => at(from, state).connections.rows.map(({ id }) => id)
      assert.deepStrictEqual(ids(4990), [4991, 4992, 4993, 4994, 4995, 4996, 4997, 4998, 4999, 5000])
      assert.deepStrictEqual(ids(0, "connecting").slice(0, 3), [4, 8, 12])
      assert.strictEqual(at(0, "idle").connections.fitting, 2500)
      assert.deepStrictEqual(ids(5000), [])
      assert.deepStrictEqual(ids(0, "no such state"), [])
      // What is read in one step is counted once; what is read later, anew.
      yield* Effect.promise(async () => {})
      looked.times = 0
      all.length = 4
      assert.strictEqual(at(0).connections.fitting, 4)
      assert.strictEqual(at(0, "idle").gauges["connections_idle"], 2)
      assert.isAtMost(looked.times, 4 + 4 * 4)
    }).pipe(Effect.scoped, Effect.provide(layer)),
  )
})
