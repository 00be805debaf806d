/**
 * Where the record of ids and the cluster meet: what a node has no record of, it asks the others, and they ask it.
 */
import type { Effect } from "effect"
import { Context } from "effect"

export interface OwnedId {
  readonly id: string
  readonly scope: string
}

export class ClusterIds extends Context.Service<
  ClusterIds,
  {
    /** Asks every node that lives. Of a node that does not answer nothing is known. */
    readonly ask: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<OwnedId>>
    /** From now on the others are answered by this; before, this node knows of none. */
    readonly answerWith: (recorded: (ids: ReadonlyArray<string>) => ReadonlyArray<OwnedId>) => void
  }
>()("respool/cluster/ClusterIds") {}
