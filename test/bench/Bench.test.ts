import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { bench, scenarioNames } from "./Bench.ts"
import { reportLines } from "./harness/Table.ts"
import { isFull, sample } from "../support/Runs.ts"

const chosen = sample(scenarioNames)

// Each starts several processes. What respool does in them has tests of its own; these hold that the scenarios run.
describe.concurrent(`the benchmark${isFull ? "" : ", of which a sample runs by hand,"}`, () => {
  for (const name of scenarioNames) {
    it.live.skipIf(!chosen.includes(name))(`runs ${name} at a tiny size`, () =>
      Effect.gen(function* () {
        const settings = {
          size: "smoke",
          rounds: 1,
          profile: undefined,
          targets: undefined,
          say: () => Effect.void,
        } as const
        const { reports } = yield* bench([name], settings)
        assert.deepStrictEqual(
          reports.map(({ scenario }) => scenario),
          [name],
        )
        for (const report of reports) {
          assert.include(reportLines(report).join("\n"), "respool")
          for (const { failed, name, rounds } of report.rows) {
            assert.isUndefined(failed, name)
            assert.lengthOf(rounds, 1, name)
          }
        }
      }).pipe(Effect.provide(NodeFileSystem.layer)),
    )
  }
})
