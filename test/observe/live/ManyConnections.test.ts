import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Settings } from "../../../src/config/Settings.ts"
import { mostRunning, rowsPerPage } from "../../../src/observe/live/Frame.ts"
import { Overview } from "../../../src/observe/live/Overview.ts"
import type { ShownConnection } from "../../../src/turn/record/Observing.ts"
import * as Observing from "../../../src/turn/record/Observing.ts"
import type { RunningTurn } from "../../../src/turn/record/TurnRecord.ts"

const layer = Overview.layerNoDeps.pipe(
  Layer.provideMerge(Observing.layer),
  Layer.provide(Settings.layer({})),
  Layer.provide([NodeFileSystem.layer, NodePath.layer]),
)

const states = ["leased", "idle", "idle", "connecting"] as const

const connection = (index: number): ShownConnection => ({
  id: index + 1,
  upstream: "default",
  state: states[index % states.length] ?? "idle",
  age: index,
  session: `${"s".repeat(250)}${index}`,
  turns: index % 40,
})

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
      yield* observing.connections(() => Array.from({ length: 5000 }, (_, index) => connection(index)))
      for (let index = 0; index < 5000; index++) observing.turnStarted(running(index))
      const at = (from: number, state?: string) => overview.reader({ from, state })()
      const first = at(0)
      assert.deepStrictEqual([first.connections.fitting, first.connections.rows.length], [5000, rowsPerPage])
      assert.lengthOf(first.running, mostRunning)
      assert.isBelow(JSON.stringify({ ...first, settings: [] }).length, 40_000)
      const ids = (from: number, state?: string) => at(from, state).connections.rows.map(({ id }) => id)
      assert.deepStrictEqual(ids(4990), [4991, 4992, 4993, 4994, 4995, 4996, 4997, 4998, 4999, 5000])
      assert.deepStrictEqual(ids(0, "connecting").slice(0, 3), [4, 8, 12])
      assert.strictEqual(at(0, "idle").connections.fitting, 2500)
      assert.deepStrictEqual(ids(5000), [])
      assert.deepStrictEqual(ids(0, "no such state"), [])
    }).pipe(Effect.scoped, Effect.provide(layer)),
  )
})
