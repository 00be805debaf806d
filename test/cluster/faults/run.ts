/**
 * Does to three nodes of a cluster whatever there is, at random moments, and looks for what must never happen:
 * `bun run cluster:faults --runs 500 --seed 1`, with `--case "all nodes"` for those of that name only. The nodes reach each
 * other directly, through relays, and in turn meet in a Postgres. Ends with 1 and names the seed of a run that fails.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Cause, Console, Effect, Layer } from "effect"
import { parseArgs } from "node:util"
import { agent } from "../../../src/simulator/Script.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { postgres, postgresPrograms } from "../../support/Postgres.ts"
import { makeRandom } from "../../support/Random.ts"
import type { Case, Seen } from "./Cases.ts"
import { databaseCases, networkCases, processCases, restartCases } from "./Cases.ts"
import { Broken, makeWorld, must } from "./World.ts"

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
    case: { type: "string", default: "" },
  },
})

interface Kind {
  readonly cases: ReadonlyArray<Case>
  readonly relayed: boolean
  readonly database: boolean
}

/** What a part of the runs is about, in turn. */
const kinds = [
  { cases: [...processCases, ...restartCases], relayed: false, database: false },
  { cases: networkCases, relayed: true, database: false },
  { cases: [...databaseCases, ...processCases], relayed: false, database: true },
]
  .map((kind): Kind => ({ ...kind, cases: kind.cases.filter(({ name }) => name.includes(values.case)) }))
  .filter(({ cases, database }) => cases.length > 0 && (!database || postgresPrograms !== undefined))

const quantile = (sorted: ReadonlyArray<number>, share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

const figures = (millis: ReadonlyArray<number>) => {
  const sorted = millis.toSorted((one, other) => one - other)
  const shown = [0.5, 0.99, 1].map((share) => quantile(sorted, share).toFixed(0))
  return `${millis.length}, p50 ${shown[0]} ms, p99 ${shown[1]} ms, at most ${shown[2]} ms`
}

/** The slowest of other conversations' turns may take so much longer than before any fault. */
const slower = 1.5

/** Processes are started anew after so many runs, so that one that goes wrong has not seen hundreds of them. */
const ofPart = 12

const seen = new Map<string, Array<Seen>>()
const calmTurns: Array<number> = []
const descriptors: Array<string> = []

/** Some runs on nodes of their own. */
const part = Effect.fnUntraced(
  function* ({ cases, database, relayed }: Kind, first: number, count: number) {
    const random = makeRandom(Number(values.seed) * 1_000_003 + first)
    const world = yield* makeWorld(random, { relayed, database: database ? yield* postgres : undefined })
    yield* world.settled()
    const calm = yield* Effect.forEach([0, 1, 2], (owner) => world.talkOwnedBy(owner))
    const { others } = yield* world.meanwhile(calm, world.indices, Effect.sleep(2_000))
    calmTurns.push(...others)
    const before = yield* Effect.forEach(world.indices, world.descriptors)
    for (let index = 0; index < count; index++) {
      const one = cases[random(cases.length)]
      if (one === undefined) return
      const began = performance.now()
      const result = yield* Effect.mapError(
        one.run(world),
        ({ message }) =>
          new Broken({ message: `run ${first + index} of seed ${values.seed}, ${one.name}: ${message}` }),
      )
      seen.set(one.name, [...(seen.get(one.name) ?? []), result])
      const told = result.told === undefined ? "" : `, told after ${result.told.toFixed(0)} ms`
      yield* Console.log(`${first + index + 1}: ${one.name}: ${(performance.now() - began).toFixed(0)} ms${told}`)
    }
    const after = yield* Effect.forEach(world.indices, world.descriptors)
    descriptors.push(`${before.join(" ")} → ${after.join(" ")}`)
  },
  Effect.scoped,
  Effect.provide(Layer.merge(Simulator.layer({ script: agent({ rounds: 0 }) }), NodeFileSystem.layer)),
)

const program = Effect.gen(function* () {
  const runs = Number(values.runs)
  const parts = Array.from({ length: Math.ceil(runs / ofPart) }, (_, index) => index * ofPart)
  for (const [index, first] of parts.entries()) {
    const kind = kinds[index % kinds.length]
    if (kind !== undefined) yield* part(kind, first, Math.min(ofPart, runs - first))
  }
  yield* Console.log(`turns before any fault: ${figures(calmTurns)}`)
  for (const [name, all] of seen) {
    const told = all.flatMap(({ told }) => (told === undefined ? [] : [told]))
    yield* Console.log(`${name}: ${all.length} runs`)
    if (told.length > 0) yield* Console.log(`  told: ${figures(told)}`)
    yield* Console.log(`  turns of others meanwhile: ${figures(all.flatMap(({ others }) => others))}`)
  }
  const p99 = (millis: ReadonlyArray<number>) =>
    quantile(
      millis.toSorted((one, other) => one - other),
      0.99,
    )
  const meanwhile = [...seen.values()].flatMap((all) => all.flatMap(({ others }) => others))
  const ratio = p99(meanwhile) / p99(calmTurns)
  yield* Console.log(`turns of others, p99 meanwhile ÷ before: ${ratio.toFixed(2)} (at most ${slower})`)
  yield* Console.log(`descriptors but for connections upstream: ${descriptors.join(", ")}`)
  yield* must(ratio <= slower, () => `the turns of others are ${ratio.toFixed(2)} × as slow as before`)
  yield* Console.log(`passed: ${runs} runs; each turn ran at most once, and every conversation is a suffix again`)
})

program.pipe(
  Effect.tapCause((cause) => Console.error(Cause.pretty(cause))),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
