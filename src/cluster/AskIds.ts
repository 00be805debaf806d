/**
 * Asks the other nodes whose ids are of which this node has no record.
 *
 * Each is asked in a sealed request of its own, and only an answer that shows the secret is believed. A node that does
 * not answer within a second is left out: then an id that it alone knows is one that nobody knows.
 */
import { Effect, Schema } from "effect"
import type { OwnedId } from "./ClusterIds.ts"
import type { Node, Nodes } from "./Nodes.ts"
import { asked } from "./sealed/Question.ts"
import type { Sealing } from "./sealed/Sealing.ts"

export const idsPath = "/respool/ids"

const within = "1 second"

const Ids = Schema.fromJsonString(Schema.Array(Schema.String))
const Owned = Schema.fromJsonString(Schema.Array(Schema.Struct({ id: Schema.String, scope: Schema.String })))

export const readIds = Schema.decodeUnknownOption(Ids)
const readOwned = Schema.decodeUnknownOption(Owned)

export const make = (nodes: Nodes["Service"], sealing: Sealing) => {
  const ownedAt = async (node: Node, boot: string, ids: string, signal: AbortSignal) => {
    const said = await asked(sealing, node, boot, idsPath, ids, signal)
    const owned = said === undefined ? undefined : readOwned(said)
    return owned?._tag === "Some" ? owned.value : undefined
  }

  const one = (node: Node, ids: string): Effect.Effect<ReadonlyArray<OwnedId> | undefined> => {
    // One that stops answers this still, and is reached no more for turns.
    const reached = node.state === "draining" ? Effect.succeed(node) : nodes.reach(node.name)
    return reached.pipe(
      Effect.flatMap(({ boot }) =>
        boot === undefined ? Effect.undefined : Effect.promise((signal) => ownedAt(node, boot, ids, signal)),
      ),
      Effect.timeoutOrElse({ duration: within, orElse: () => Effect.undefined }),
      Effect.orElseSucceed(() => undefined),
    )
  }

  return Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const question = JSON.stringify(ids)
    const live = nodes.all().filter(({ state }) => state === "alive" || state === "draining")
    const owned = yield* Effect.forEach(
      live,
      (node) =>
        Effect.flatMap(one(node, question), (said) => {
          if (said !== undefined) return Effect.succeed(said)
          // It may have started anew since it was asked last.
          nodes.refused(node, "restarted")
          return Effect.map(one(node, question), (again) => again ?? [])
        }),
      { concurrency: "unbounded" },
    )
    return owned.flat()
  })
}
