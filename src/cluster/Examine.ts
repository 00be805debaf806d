/**
 * Looks at a cluster from outside, for `respool check`: whether each node answers, and is one of this cluster.
 */
import { Effect, Option } from "effect"
import { lookup } from "node:dns/promises"
import { addressOf, hostAndPort } from "../config/Address.ts"
import type { DeriveKey } from "../config/cluster/ClusterSecret.ts"
import type { ClusterSettings } from "../config/cluster/ClusterSettings.ts"
import { monotonicMillis } from "../turn/Elapsed.ts"
import { version } from "./Envelope.ts"
import { tableOf } from "./members/MembershipPostgres.ts"
import * as Hello from "./sealed/Hello.ts"
import { Sealing } from "./sealed/Sealing.ts"

export interface NodeReport {
  readonly address: string
  readonly outcome: "ok" | "FAIL"
  readonly ms: number
  readonly message: string
}

/** How long a node, a name or a database may take to answer, in milliseconds. */
const within = 3_000

/** Undefined: it does not answer in time. */
const inTime = <A>(ask: (signal: AbortSignal) => Promise<A>): Effect.Effect<A | undefined> =>
  Effect.map(Effect.timeoutOption(Effect.option(Effect.tryPromise(ask)), within), (answer) =>
    Option.getOrUndefined(Option.flatten(answer)),
  )

/** Where the nodes are; undefined: what should tell does not answer. */
const addressesOf = Effect.fnUntraced(function* (settings: ClusterSettings, own: string) {
  const { clusterDatabase: database, clusterDns: name, clusterNodes } = settings
  if (database !== undefined) return yield* inTime(() => tableOf(database))
  if (name === undefined) return clusterNodes
  const found = yield* inTime(() => lookup(name, { all: true }))
  const { port } = addressOf(new URL(own))
  return found?.map(({ address }) => `http://${hostAndPort({ hostname: address, port })}`)
})

const examined = Effect.fnUntraced(function* (sealing: Sealing, address: string) {
  const began = yield* monotonicMillis
  const answer = yield* inTime((signal) => Hello.greet(sealing, address, signal))
  const ms = (yield* monotonicMillis) - began
  const said = (outcome: NodeReport["outcome"], message: string): NodeReport => ({ address, outcome, ms, message })
  if (answer === undefined) return said("FAIL", "nothing answers: it does not run, or is not reached from here")
  const { hello } = answer
  if (hello === undefined) return said("FAIL", "what answers has another secret, or is no node")
  if (hello.version !== version) return said("FAIL", "it hands turns over in another way: run the same version")
  return said("ok", `${hello.node}${hello.draining ? ", which stops" : ""}`)
})

/** One report for each node that should be there, this one's own among them. */
export const examine = Effect.fnUntraced(function* (settings: ClusterSettings, own: string, derive: DeriveKey) {
  const addresses = yield* addressesOf(settings, own)
  const sealing = new Sealing(derive)
  const nodes = yield* Effect.forEach(new Set([own, ...(addresses ?? [])]), (address) => examined(sealing, address), {
    concurrency: "unbounded",
  })
  if (addresses !== undefined) return nodes
  const message = "neither the name nor the database that should tell the nodes answers"
  return [...nodes, { address: "members", outcome: "FAIL", ms: 0, message } satisfies NodeReport]
})
