import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { fileURLToPath } from "node:url"
import { check, invariants, type Key, parse, replay } from "../../src/testing/Testing.ts"
import { leaky } from "../support/LeakyPool.ts"

const keys: ReadonlyArray<Key> = ["a1"]
/** What this pool claims to stand: one key, one cap, an upstream that never hangs up by itself. */
const claims = { keys, caps: ["total"], full: "wait", weights: { Close: 0, Frame: 0, Reload: 0, Shutdown: 0 } } as const

describe("a pool with a planted bug", () => {
  it.effect("is caught, with a schedule of a few steps that tells why", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(check(leaky, { runs: 2_000, seed: "documentation", ...claims }))
      const { steps } = yield* parse(error.schedule)
      assert.strictEqual(error.broken, "a waiter is never forgotten")
      assert.isAtMost(steps.length, 5)
      assert.include(error.schedule, "dials refuse")
      const again = yield* Effect.flip(replay(leaky, error.schedule))
      assert.strictEqual(again.message, error.message)
    }),
  )

  it.effect("is the example of the documentation, and the failure shown there is this pool's", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const read = (name: string) => fs.readFileString(fileURLToPath(new URL(name, import.meta.url)))
      const page = yield* read("../../src/testing/README.md")
      const source = (yield* read("../support/LeakyPool.ts")).replace("../../src/testing/Testing.ts", "respool/testing")
      assert.include(page, `\`\`\`ts\n${source}\`\`\``)
      const shown = /The failure:\n\n```\n([^]*?)```/.exec(page)?.[1] ?? ""
      const error = yield* Effect.flip(replay(leaky, shown.split("\n\n")[1] ?? ""))
      assert.strictEqual(`${error.message}\n`, shown)
      for (const { name } of invariants) assert.include(page, `| ${name} |`)
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )
})
