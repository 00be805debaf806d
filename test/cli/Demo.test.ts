import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"

const platform = NodeChildProcessSpawner.layer.pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

const Result = Schema.fromJsonString(
  Schema.Struct({
    ok: Schema.Boolean,
    turns: Schema.Number,
    suffixTurns: Schema.Number,
    dials: Schema.Number,
    inputBytes: Schema.Number,
    directInputBytes: Schema.Number,
    uplinkBytes: Schema.Number,
    directUplinkBytes: Schema.Number,
    neededBytes: Schema.Number,
    cachedTokens: Schema.Number,
    directCachedTokens: Schema.Number,
  }),
)

describe("respool demo --json", () => {
  it.effect("runs 20 turns on one dial, 19 of them as a suffix, and sends little more than what is new", () =>
    Effect.gen(function* () {
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const printed = yield* spawner.string(
        ChildProcess.make(process.execPath, [main, "demo", "--json"], { stderr: "inherit" }),
      )
      const result = yield* Schema.decodeEffect(Result)(printed)
      assert.isTrue(result.ok)
      assert.strictEqual(result.turns, 20)
      assert.strictEqual(result.suffixTurns, 19)
      assert.strictEqual(result.dials, 1)
      assert.isAtMost(result.inputBytes, result.directInputBytes / 5)
      assert.isAtMost(result.uplinkBytes, result.neededBytes * 1.05)
      assert.isAbove(result.directUplinkBytes, result.uplinkBytes)
      assert.isAbove(result.cachedTokens, result.directCachedTokens)
    }).pipe(Effect.provide(platform)),
  )
})
