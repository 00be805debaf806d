/**
 * Several machines as one respool: the entry point of `respool/cluster`.
 *
 * `layer` puts an `Executor` in front of the local one, which carries each turn on the node that owns its session, and
 * listens for turns that other nodes hand over. It needs `Settings` with a cluster in them, the keys of its secret, and
 * the local `Executor` with its `BodyHeads`. Loaded only where the settings make a cluster.
 */
import { Effect, Layer } from "effect"
import type { DeriveKey } from "../config/cluster/ClusterSecret.ts"
import { Settings } from "../config/Settings.ts"
import { Executor } from "../turn/Executor.ts"
import { BodyHeads } from "../turn/memory/BodyHeads.ts"
import { Observing } from "../turn/record/Observing.ts"
import { makeDigester } from "../wire/Digest.ts"
import * as ClusterExecutor from "./ClusterExecutor.ts"
import * as AskIds from "./AskIds.ts"
import type { OwnedId } from "./ClusterIds.ts"
import { ClusterIds } from "./ClusterIds.ts"
import { Membership } from "./members/Membership.ts"
import { layerDns } from "./members/MembershipDns.ts"
import { layerPostgres } from "./members/MembershipPostgres.ts"
import { Nodes } from "./Nodes.ts"
import { Directory } from "./places/Directory.ts"
import * as Owner from "./Owner.ts"
import { Sealing } from "./sealed/Sealing.ts"

/** @stability experimental */
export { Membership } from "./members/Membership.ts"
/** @stability experimental */
export { Nodes } from "./Nodes.ts"

/** @stability experimental */
export interface ClusterOptions {
  /** The URL at which other nodes reach this one. */
  readonly address: string
  /** Makes the keys of the secret that all nodes share. */
  readonly derive: DeriveKey
  /** Succeeds when this node begins to stop, so that the others are told before its own clients' last turn is over. */
  readonly stops: Effect.Effect<void>
}

/**
 * `Executor`, `ClusterIds` and `Nodes` of a cluster. Needs a `Membership`.
 *
 * @stability experimental
 */
export const layerNoMembership = ({ address, derive, stops }: ClusterOptions) =>
  Layer.unwrap(
    Effect.sync(() => {
      const sealing = new Sealing(derive)
      const directory = new Directory()
      // Of no id, until the record of them is there, which stands above the executor.
      const none = (_ids: ReadonlyArray<string>): ReadonlyArray<OwnedId> => []
      const ids = { recorded: none }
      const executor = Layer.effect(
        Executor,
        Effect.gen(function* () {
          const { clientTimeout, drainTimeout, maxBodies, maxBody, maxBuffered, maxTurns } = yield* Settings
          const local = yield* Executor
          const heads = yield* BodyHeads
          const nodes = yield* Nodes
          const limits = { drainTimeout, maxBodies, maxBody, maxBuffered, maxTurns }
          const owner = yield* Owner.listen({
            address,
            sealing,
            local,
            heads,
            recorded: (asked) => ids.recorded(asked),
            takeLeave: nodes.takeLeave,
            askAnew: nodes.askAnew,
            directory,
            lives: (name) => nodes.ring().names.includes(name),
            ...limits,
          })
          yield* stops.pipe(Effect.andThen(owner.drain), Effect.forkScoped)
          const observing = yield* Observing
          yield* observing.gauge("turns_of_others", owner.running)
          for (const state of ["alive", "draining", "gone", "foreign"] as const) {
            yield* observing.gauge("nodes", () => nodes.all().filter((node) => node.state === state).length, { state })
          }
          const digester = makeDigester(derive("beginnings", 32))
          return yield* ClusterExecutor.make({ clientTimeout, nodes, sealing, directory, local, heads, digester })
        }),
      )
      const layerIds = Layer.effect(
        ClusterIds,
        Effect.map(Nodes, (nodes) => ({
          ask: AskIds.make(nodes, sealing),
          answerWith: (recorded: typeof ids.recorded) => {
            ids.recorded = recorded
          },
        })),
      )
      return Layer.merge(executor, layerIds).pipe(Layer.provideMerge(Nodes.layerNoDeps(address, sealing)))
    }),
  )

/** Who is there, as the settings say. */
const layerMembership = ({ address, stops }: ClusterOptions) =>
  Layer.unwrap(
    Effect.map(Settings, ({ clusterDatabase, clusterDns, clusterNodes }) => {
      if (clusterDatabase !== undefined) return layerPostgres(address, clusterDatabase, stops)
      return clusterDns === undefined ? Membership.layerList(clusterNodes) : layerDns(clusterDns, address)
    }),
  )

/**
 * The same, with the nodes that the settings name.
 *
 * @stability experimental
 */
export const layer = (options: ClusterOptions) =>
  layerNoMembership(options).pipe(Layer.provide(layerMembership(options)))
