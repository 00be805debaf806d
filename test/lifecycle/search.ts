/**
 * Looks for a schedule that the pool does not stand, far longer than a test run does:
 * `bun run schedules --runs 1000000 --seed 1`. Ends with 1 and prints the shrunk schedule when it finds one.
 */
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Effect } from "effect"
import { parseArgs } from "node:util"
import { check, RespoolPool } from "../../src/testing/Testing.ts"

const { values } = parseArgs({
  options: { runs: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" } },
})

const part = 20_000

/** Each part starts from short schedules again, under a seed of its own, and half of them wait at a cap. */
const program = Effect.gen(function* () {
  const runs = Number(values.runs)
  let done = 0
  for (let round = 0; done < runs; round++) {
    const started = performance.now()
    const full =
      round % 2 === 0 ? {} : { full: "wait" as const, weights: { Dials: 12, Answer: 16, Cancel: 14, Pass: 8 } }
    const options = { runs: Math.min(part, runs - done), seed: `${values.seed} ${round}`, ...full }
    const passed = yield* check(RespoolPool.subject, options)
    done += passed
    const rate = (passed / (performance.now() - started)) * 1000
    yield* Console.log(`${done} of ${runs} schedules passed, ${rate.toFixed(0)} a second`)
  }
})

program.pipe(
  Effect.tapError((error) => Console.error(error.message)),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
