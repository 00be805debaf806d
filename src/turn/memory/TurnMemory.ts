/**
 * Remembers what the last completed turn of each chain covered, as digests.
 *
 * Every operation is synchronous, so that a look-up and the lease that follows from it are one step. An entry lives as
 * long as its chain: `attach` removes it with the scope of the chain's connection.
 */
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { Checkpoint } from "./Checkpoint.ts"
import { covered } from "./Checkpoint.ts"
import type { Lineage } from "./Lineage.ts"
import { prefixOver } from "./Lineage.ts"
import type { ReasoningPolicy } from "./Matching.ts"

/** A chain of responses on one connection, each continuing the one before: the unit of lease and memory. */
export type ChainId = number

/** Where a checkpoint can be found: inside one affinity, and inside one session if the client named it. */
export interface RecallKey {
  readonly affinity: string
  readonly session: string | undefined
}

interface Entry extends RecallKey {
  readonly checkpoint: Checkpoint
}

export class TurnMemory extends Context.Service<
  TurnMemory,
  {
    /** Ties the chain's entry to the current scope. */
    readonly attach: (chain: ChainId) => Effect.Effect<void, never, Scope.Scope>
    /** Replaces the chain's checkpoint. */
    readonly record: (chain: ChainId, key: RecallKey, checkpoint: Checkpoint) => void
    readonly forget: (chain: ChainId) => void
    readonly checkpointOf: (chain: ChainId) => Checkpoint | undefined
    /** The chain that can continue this response, since its last turn made it. */
    readonly holderOf: (affinity: string, responseId: string) => ChainId | undefined
    /**
     * The chains that the lineage continues: it begins with their checkpoint and has the same deciding members. The
     * longest comes first. They are looked for in the session, or in the whole affinity when none is named.
     */
    readonly recall: (key: RecallKey, lineage: Lineage, policy: ReasoningPolicy) => ReadonlyArray<ChainId>
    readonly size: () => number
  }
>()("respool/turn/TurnMemory") {
  static readonly layer = Layer.sync(TurnMemory, () => make())
}

/**
 * One key for an affinity and a name in it. An affinity is a digest, without line ends, so no two pairs share a key.
 */
const under = (affinity: string, session: string | undefined) =>
  session === undefined ? affinity : `${affinity}\n${session}`

const make = (): TurnMemory["Service"] => {
  const entries = new Map<ChainId, Entry>()
  /** Chains by the key that `under` makes, then by the digest of the prefix. */
  const prefixesIn = new Map<string, Map<string, Set<ChainId>>>()
  const anchors = new Map<string, ChainId>()

  const index = (group: string, prefix: string, chain: ChainId) => {
    let prefixes = prefixesIn.get(group)
    if (prefixes === undefined) prefixesIn.set(group, (prefixes = new Map()))
    const chains = prefixes.get(prefix)
    if (chains === undefined) prefixes.set(prefix, new Set([chain]))
    else chains.add(chain)
  }

  const unindex = (group: string, prefix: string, chain: ChainId) => {
    const prefixes = prefixesIn.get(group)
    const chains = prefixes?.get(prefix)
    if (prefixes === undefined || chains === undefined) return
    chains.delete(chain)
    if (chains.size === 0) prefixes.delete(prefix)
    if (prefixes.size === 0) prefixesIn.delete(group)
  }

  const forget = (chain: ChainId) => {
    const entry = entries.get(chain)
    if (entry === undefined) return
    entries.delete(chain)
    const { affinity, session, checkpoint } = entry
    const anchor = under(affinity, checkpoint.responseId)
    if (anchors.get(anchor) === chain) anchors.delete(anchor)
    if (checkpoint.input === undefined) return
    unindex(affinity, checkpoint.input.digest, chain)
    if (session !== undefined) unindex(under(affinity, session), checkpoint.input.digest, chain)
  }

  const record = (chain: ChainId, { affinity, session }: RecallKey, checkpoint: Checkpoint) => {
    forget(chain)
    entries.set(chain, { affinity, session, checkpoint })
    anchors.set(under(affinity, checkpoint.responseId), chain)
    if (checkpoint.input === undefined) return
    index(affinity, checkpoint.input.digest, chain)
    if (session !== undefined) index(under(affinity, session), checkpoint.input.digest, chain)
  }

  const recall = (
    { affinity, session }: RecallKey,
    lineage: Lineage,
    policy: ReasoningPolicy,
  ): ReadonlyArray<ChainId> => {
    const group = prefixesIn.get(under(affinity, session))
    if (group === undefined || !lineage.comparable) return []
    const found: Array<ChainId> = []
    for (const chains of beginnings(group, lineage)) {
      for (const chain of chains) {
        const checkpoint = entries.get(chain)?.checkpoint
        // A checkpoint with other deciding members can't be continued. Its chain may be in use, so it is left as it is.
        if (checkpoint === undefined || checkpoint.members !== lineage.members) continue
        if (covered(checkpoint, lineage, policy) !== undefined) found.push(chain)
      }
    }
    return found
  }

  /** The chains that remember each of the lineage's prefixes, the longest first: looked for among the fewer of the two. */
  const beginnings = (group: ReadonlyMap<string, ReadonlySet<ChainId>>, lineage: Lineage) => {
    const { prefixes } = lineage
    if (prefixes.length <= group.size) return prefixes.toReversed().flatMap(({ digest }) => group.get(digest) ?? [])
    const found: Array<readonly [count: number, chains: ReadonlySet<ChainId>]> = []
    for (const [digest, chains] of group) {
      const [chain = -1] = chains
      const count = entries.get(chain)?.checkpoint.input?.count ?? -1
      if (prefixOver(lineage, count)?.digest === digest) found.push([count, chains])
    }
    return found.sort(([a], [b]) => b - a).map(([, chains]) => chains)
  }

  return {
    attach: (chain) => Effect.addFinalizer(() => Effect.sync(() => forget(chain))),
    record,
    forget,
    checkpointOf: (chain) => entries.get(chain)?.checkpoint,
    holderOf: (affinity, responseId) => anchors.get(under(affinity, responseId)),
    recall,
    size: () => entries.size,
  }
}
