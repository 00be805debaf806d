import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { leftOut, saying } from "../support/ByName.ts"

const platform = NodeChildProcessSpawner.layer.pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

const why = leftOut(import.meta.url, "it starts Deno")

describe("Deno", () => {
  it.effect.skipIf(why !== undefined)(
    `loads the layers and runs a turn over a socket of layerDialerWs${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
        const printed = yield* spawner.string(
          ChildProcess.make(
            pathOf("../../node_modules/.bin/deno"),
            [
              "run",
              "--allow-all",
              "--no-lock",
              "--node-modules-dir=manual",
              "--unstable-sloppy-imports",
              pathOf("./turn.ts"),
              simulator.url,
            ],
            { stderr: "inherit" },
          ),
        )
        const turn: unknown = JSON.parse(printed)
        assert.include(turn, { type: "response.completed", transport: "websocket" })
        assert.strictEqual(simulator.counters.upgrades, 1)
        assert.strictEqual(simulator.counters.websocketTurns, 1)
      }).pipe(Effect.provide([Simulator.layer(), platform])),
  )
})
