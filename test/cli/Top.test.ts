import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { after, screen } from "../../src/cli/top/TopScreen.ts"
import type { Frame } from "../../src/observe/live/Frame.ts"
import { outputOf } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { folder, run } from "../support/Command.ts"
import { user } from "../support/Items.ts"
import { frame } from "../support/LiveFrames.ts"
import { TestProxy } from "../support/TestProxy.ts"

const whole = { rows: 200, columns: 400 }

/** A first turn and one that goes on, of a session whose name would clear a terminal. */
const turns = Effect.gen(function* () {
  const named = { prompt_cache_key: "tidy\u001b[2Jup" }
  const first = yield* post({ ...named, input: [user("One")] }, { headers: { "x-request-id": "one" } })
  const input = [user("One"), ...outputOf(first), user("Two")]
  yield* post({ ...named, input }, { headers: { "x-request-id": "two" } })
})

describe("respool top", () => {
  it.effect("prints one frame of what the page shows", () =>
    Effect.gen(function* () {
      yield* turns
      const { port } = new URL((yield* TestProxy).url)
      const cwd = yield* folder
      const { code, stderr, stdout } = yield* run(["top", "--once", "--port", port], { cwd })
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, new RegExp(`^respool at http://127\\.0\\.0\\.1:${port}, up .* s\\n`))
      assert.match(stdout, /^turns +2, 50\.0 % as a suffix, 0 fallbacks; 0 running, 0 waiting$/m)
      assert.match(stdout, /^connections +1 of 1,024: 0 leased, 1 idle, 0 connecting$/m)
      assert.match(stdout, /^reasons +no_checkpoint 1, continued 1$/m)
      assert.match(stdout, /^\d+ s +two +tidy·\[2Jup +#1 reused +suffix 1\/4 +completed 200 .* continued$/m)
      assert.match(stdout, /^#1 +default +idle .* 2 +tidy·\[2Jup$/m)
      assert.notInclude(stdout, "\u001b")
      const away = yield* run(["top", "--once", "--port", "1"], { cwd })
      assert.strictEqual(away.code, 1)
      assert.match(away.stderr, /^respool: http:\/\/127\.0\.0\.1:1\/_respool\/events does not answer\n$/)
    }).pipe(
      Effect.scoped,
      Effect.provide([NodeFileSystem.layer, TestProxy.layerBrief()]),
      Effect.provideService(Metric.MetricRegistry, new Map()),
    ),
  )

  it.effect("fits any screen, and keeps what earlier frames told", () =>
    Effect.gen(function* () {
      yield* turns
      const one = yield* frame()
      const seen = after(undefined, one)
      const later: Frame = { ...one, now: one.now + 1000, up: one.up + 1000, turns: [], minutes: [] }
      assert.lengthOf(after(seen, later).turns, 2)
      assert.deepStrictEqual(
        screen(after(seen, later), "x", whole).filter((line) => /^(suffix|saved)/.test(line)),
        screen(seen, "x", whole).filter((line) => /^(suffix|saved)/.test(line)),
      )
      // Another process begins anew.
      assert.lengthOf(after(seen, { ...later, up: 1 }).turns, 0)
      // An hour later it is forgotten.
      assert.lengthOf(after(seen, { ...later, now: one.now + 3_600_000 }).minutes, 0)
      for (const size of [whole, { rows: 24, columns: 80 }, { rows: 5, columns: 20 }, { rows: 1, columns: 1 }]) {
        const lines = screen(seen, "x", size)
        assert.isAtMost(lines.length, size.rows)
        for (const line of lines) assert.isAtMost(line.length, size.columns)
      }
    }).pipe(Effect.provide(TestProxy.layerBrief()), Effect.provideService(Metric.MetricRegistry, new Map())),
  )
})
