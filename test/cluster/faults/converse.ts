/**
 * Many conversations of ten turns over three nodes of a cluster, whose turns come in anywhere: `bun run cluster:spread
 * --conversations 10000`, with `--balancer hash` each at one node, by a hash that the nodes know nothing of. Says how many later turns were suffixes, and how many turns were handed from node to node.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Cause, Console, Effect, Layer } from "effect"
import { parseArgs } from "node:util"
import { agent } from "../../../src/simulator/Script.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { makeRandom } from "../../support/Random.ts"
import { spread } from "./Spread.ts"
import { makeWorld, roomy } from "./World.ts"

const { values } = parseArgs({
  options: {
    conversations: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    balancer: { type: "string", default: "none" },
  },
})

const share = (part: number, whole: number) => `${((part / whole) * 100).toFixed(2)} %`

const program = Effect.gen(function* () {
  const world = yield* makeWorld(makeRandom(Number(values.seed)), { env: roomy })
  const began = performance.now()
  const { handed, later, suffixes, turns } = yield* spread(
    world,
    Number(values.conversations),
    values.balancer === "hash" ? "hash" : "none",
  )
  yield* Console.log(`${turns} turns in ${((performance.now() - began) / 1000).toFixed(0)} s`)
  yield* Console.log(`later turns that were suffixes: ${share(suffixes, later)}`)
  yield* Console.log(`turns handed from node to node: ${share(handed, turns)}`)
}).pipe(
  Effect.scoped,
  Effect.provide(
    Layer.merge(Simulator.layer({ script: agent({ rounds: 0, words: 3 }), recordLimit: 200 }), NodeFileSystem.layer),
  ),
)

program.pipe(
  Effect.tapCause((cause) => Console.error(Cause.pretty(cause))),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
