import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { agent } from "../../../src/simulator/Script.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { leftOut, saying } from "../../support/ByName.ts"
import { postgres, postgresPrograms } from "../../support/Postgres.ts"
import { makeRandom } from "../../support/Random.ts"
import { runs, sample } from "../../support/Runs.ts"
import type { Case } from "./Cases.ts"
import { databaseCases, networkCases, processCases, restartCases } from "./Cases.ts"
import { spread } from "./Spread.ts"
import type { World } from "./World.ts"
import { Broken, makeWorld, roomy } from "./World.ts"

const why = leftOut(import.meta.url, "it starts, stops and kills nodes of a cluster")

const whyNoDatabase =
  why ?? (postgresPrograms === undefined ? "for Postgres is not installed (apt-get install postgresql)" : undefined)

const layer = Layer.merge(Simulator.layer({ script: agent({ rounds: 0 }) }), NodeFileSystem.layer)

/** Processes start, stand still and are given up on in their own time. */
const within = 900_000

/** Each of the cases once; by hand two in five of them. */
const all = (world: World, cases: ReadonlyArray<Case>) =>
  Effect.andThen(
    world.settled(),
    Effect.forEach(sample(cases, 0.4), ({ name, run }) =>
      Effect.mapError(run(world), ({ message }) => new Broken({ message: `${name}: ${message}` })),
    ),
  )

describe("Three nodes of a cluster, as processes", () => {
  it.live.skipIf(why !== undefined)(
    `run each turn once and tell every client, whatever happens to a node${saying(why)}`,
    () =>
      Effect.flatMap(makeWorld(makeRandom(1)), (world) => all(world, [...processCases, ...restartCases])).pipe(
        Effect.scoped,
        Effect.provide(layer),
      ),
    within,
  )

  it.live.skipIf(why !== undefined)(
    `do so whatever happens to the network between them${saying(why)}`,
    () =>
      Effect.flatMap(makeWorld(makeRandom(4), { relayed: true }), (world) => all(world, networkCases)).pipe(
        Effect.scoped,
        Effect.provide(layer),
      ),
    within,
  )

  it.live.skipIf(whyNoDatabase !== undefined)(
    `do so where they meet in a database, which may be away${saying(whyNoDatabase)}`,
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld(makeRandom(2), { database: yield* postgres })
        yield* all(world, databaseCases)
      }).pipe(Effect.scoped, Effect.provide(layer)),
    within,
  )

  it.live.skipIf(why !== undefined)(
    `continue conversations wherever their turns come in${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld(makeRandom(3), { env: roomy })
        const { handed, later, suffixes, turns } = yield* spread(world, runs(300, 30))
        assert.isAtLeast(suffixes / later, 0.99)
        assert.approximately(handed / turns, (2 / 3) * 0.9, 0.1)
        const hashed = yield* spread(world, runs(300, 30), "hash")
        assert.isAtLeast(hashed.suffixes / hashed.later, 0.99)
        assert.isBelow(hashed.handed / hashed.turns, 0.01)
      }).pipe(Effect.scoped, Effect.provide(layer)),
    within,
  )
})
