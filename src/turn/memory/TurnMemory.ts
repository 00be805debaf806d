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
import type { Because, Candidate } from "./Near.ts"
import { nearest } from "./Near.ts"

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

/** The groups in which an entry is found, and by which digest in each. */
const placesOf = ({ affinity, checkpoint: { input }, session }: Entry): ReadonlyArray<readonly [string, string]> => {
  const places: Array<readonly [string, string]> = []
  if (session !== undefined) places.push([ofSession(session), ""])
  if (input === undefined) return places
  places.push([affinity, input.digest])
  if (session !== undefined) places.push([under(affinity, session), input.digest])
  if (input.opening !== undefined) places.push([byOpening(affinity), input.opening])
  return places
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
    /** Why a lineage for which there was no chain to lease continues nothing; undefined: nothing comes near it. */
    readonly near: (key: RecallKey, lineage: Lineage, policy: ReasoningPolicy) => Because | undefined
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

/** The group of all chains of a session, in whatever affinity. No affinity is empty, so it is none of `under`'s. */
const ofSession = (session: string) => `\nsession ${session}`

/** The group of all chains of an affinity, in which they are found by how the conversation opens. */
const byOpening = (affinity: string) => `\nopening ${affinity}`

/** So many chains are looked at for the one that comes nearest. */
const maxCandidates = 64

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
    const { affinity, checkpoint } = entry
    const anchor = under(affinity, checkpoint.responseId)
    if (anchors.get(anchor) === chain) anchors.delete(anchor)
    for (const [group, prefix] of placesOf(entry)) unindex(group, prefix, chain)
  }

  const record = (chain: ChainId, { affinity, session }: RecallKey, checkpoint: Checkpoint) => {
    forget(chain)
    const entry = { affinity, session, checkpoint }
    entries.set(chain, entry)
    anchors.set(under(affinity, checkpoint.responseId), chain)
    for (const [group, prefix] of placesOf(entry)) index(group, prefix, chain)
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

  function* candidates({ affinity, session }: RecallKey, lineage: Lineage): Iterable<Candidate> {
    const opening = lineage.prefixes.at(-1)?.opening
    const chains =
      session === undefined
        ? opening === undefined
          ? undefined
          : prefixesIn.get(byOpening(affinity))?.get(opening)
        : prefixesIn.get(ofSession(session))?.get("")
    let left = maxCandidates
    for (const chain of chains ?? []) {
      const entry = entries.get(chain)
      if (entry !== undefined) {
        const inAffinity = entry.affinity === affinity
        yield { checkpoint: entry.checkpoint, inAffinity, inSession: session !== undefined }
      }
      if (--left === 0) return
    }
  }

  const near = (key: RecallKey, lineage: Lineage, policy: ReasoningPolicy): Because | undefined => {
    if (!lineage.comparable) return undefined
    if (recall(key, lineage, policy).length > 0) return { reason: "chain_busy" }
    const found = nearest(lineage, policy, candidates(key, lineage))
    if (key.session === undefined || (found !== undefined && found.reason !== "history_changed")) return found
    const elsewhere = recall({ affinity: key.affinity, session: undefined }, lineage, policy)
    return elsewhere.length === 0 ? found : { reason: "session_changed" }
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
    near,
    size: () => entries.size,
  }
}
