import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { leftOut, saying } from "../support/ByName.ts"
import { folder, run } from "../support/Command.ts"

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

const why = leftOut(import.meta.url, "it starts the demo, whose numbers stand in the README too")

describe.skipIf(why !== undefined)(`respool demo --json${saying(why)}`, () => {
  it.effect("asks no proxy that the environment names, since all of it is on this machine", () =>
    Effect.gen(function* () {
      const nowhere = "http://127.0.0.1:9"
      const env = { HTTP_PROXY: nowhere, http_proxy: nowhere, ALL_PROXY: nowhere, NO_PROXY: "" }
      const { code, stderr } = yield* run(["demo", "--json"], { cwd: yield* folder, env })
      assert.strictEqual(code, 0, stderr)
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.effect("runs 20 turns on one dial, 19 of them as a suffix, and sends little more than what is new", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(["demo", "--json"], { cwd: yield* folder })
      assert.strictEqual(code, 0, stderr)
      const result = yield* Schema.decodeEffect(Result)(stdout)
      assert.isTrue(result.ok)
      assert.strictEqual(result.turns, 20)
      assert.strictEqual(result.suffixTurns, 19)
      assert.strictEqual(result.dials, 1)
      assert.isAtMost(result.inputBytes, result.directInputBytes / 5)
      assert.isAtMost(result.uplinkBytes, result.neededBytes * 1.05)
      assert.isAbove(result.directUplinkBytes, result.uplinkBytes)
      assert.isAbove(result.cachedTokens, result.directCachedTokens)
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )
})
