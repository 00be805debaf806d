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

/** The chains that one thing leads to: one, in nearly all cases, for which a set would be an object too many. */
type Chains = ChainId | Set<ChainId>

/** Chains by a digest or a name, the latest behind the others. */
type Index = Map<string, Chains>

const listed = (chains: Chains): Iterable<ChainId> => (typeof chains === "number" ? [chains] : chains)

const add = (index: Index, name: string, chain: ChainId) => {
  const before = index.get(name)
  if (before === undefined || before === chain) {
    index.set(name, chain)
  } else if (typeof before === "number") {
    index.set(name, new Set([before, chain]))
  } else {
    before.delete(chain)
    before.add(chain)
  }
}

const remove = (index: Index, name: string, chain: ChainId) => {
  const before = index.get(name)
  if (before === undefined) return
  if (typeof before === "number" ? before === chain : before.delete(chain) && before.size === 0) index.delete(name)
}

/** What is found inside of one affinity. */
class Found {
  readonly prefixes: Index = new Map()
  readonly openings: Index = new Map()
  readonly sessions = new Map<string, Index>()
  /** Chains by the id of their latest response. */
  readonly anchors = new Map<string, ChainId>()

  /** By the prefix, in a session, or in the whole affinity where none is named. */
  of(session: string | undefined): Index | undefined {
    return session === undefined ? this.prefixes : this.sessions.get(session)
  }

  add(chain: ChainId, { checkpoint: { input, responseId }, session }: Entry) {
    this.anchors.set(responseId, chain)
    if (input === undefined) return
    add(this.prefixes, input.digest, chain)
    if (input.opening !== undefined) add(this.openings, input.opening, chain)
    if (session === undefined) return
    const mine = this.sessions.get(session)
    if (mine === undefined) this.sessions.set(session, new Map([[input.digest, chain]]))
    else add(mine, input.digest, chain)
  }

  /** `stays` is the chain's entry now, in this affinity: what both are found by stays. */
  remove(chain: ChainId, { checkpoint: { input, responseId }, session }: Entry, stays: Entry | undefined) {
    const now = stays?.checkpoint
    if (responseId !== now?.responseId && this.anchors.get(responseId) === chain) this.anchors.delete(responseId)
    if (input === undefined) return
    const { digest, opening } = input
    if (opening !== undefined && opening !== now?.input?.opening) remove(this.openings, opening, chain)
    const isSame = digest === now?.input?.digest
    if (!isSame) remove(this.prefixes, digest, chain)
    const mine = session === undefined ? undefined : this.sessions.get(session)
    if (session === undefined || mine === undefined || (isSame && session === stays?.session)) return
    remove(mine, digest, chain)
    if (mine.size === 0) this.sessions.delete(session)
  }

  get isEmpty(): boolean {
    return this.anchors.size === 0 && this.prefixes.size === 0
  }
}

/** So many chains are looked at for the one that comes nearest. */
const maxCandidates = 64

const make = (): TurnMemory["Service"] => {
  const entries = new Map<ChainId, Entry>()
  const foundIn = new Map<string, Found>()
  /** All chains of a session, in whatever affinity. */
  const inSession: Index = new Map()

  const removed = (chain: ChainId, entry: Entry, stays: Entry | undefined) => {
    const { affinity, session } = entry
    const found = foundIn.get(affinity)
    found?.remove(chain, entry, stays?.affinity === affinity ? stays : undefined)
    if (found?.isEmpty === true) foundIn.delete(affinity)
    if (session !== undefined && session !== stays?.session) remove(inSession, session, chain)
  }

  const forget = (chain: ChainId) => {
    const entry = entries.get(chain)
    if (entry === undefined) return
    entries.delete(chain)
    removed(chain, entry, undefined)
  }

  const record = (chain: ChainId, { affinity, session }: RecallKey, checkpoint: Checkpoint) => {
    const before = entries.get(chain)
    const entry = { affinity, session, checkpoint }
    entries.set(chain, entry)
    let found = foundIn.get(affinity)
    if (found === undefined) foundIn.set(affinity, (found = new Found()))
    found.add(chain, entry)
    if (session !== undefined) add(inSession, session, chain)
    // Last, so that no map is emptied and made again.
    if (before !== undefined) removed(chain, before, entry)
  }

  const recall = (
    { affinity, session }: RecallKey,
    lineage: Lineage,
    policy: ReasoningPolicy,
  ): ReadonlyArray<ChainId> => {
    const group = foundIn.get(affinity)?.of(session)
    if (group === undefined || !lineage.comparable) return []
    const found: Array<ChainId> = []
    for (const chains of beginnings(group, lineage)) {
      for (const chain of listed(chains)) {
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
          : foundIn.get(affinity)?.openings.get(opening)
        : inSession.get(session)
    let left = maxCandidates
    for (const chain of chains === undefined ? [] : listed(chains)) {
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
  const beginnings = (group: Index, lineage: Lineage): ReadonlyArray<Chains> => {
    const { prefixes } = lineage
    if (prefixes.length <= group.size) return prefixes.toReversed().flatMap(({ digest }) => group.get(digest) ?? [])
    const found: Array<readonly [count: number, chains: Chains]> = []
    for (const [digest, chains] of group) {
      const [chain = -1] = listed(chains)
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
    holderOf: (affinity, responseId) => foundIn.get(affinity)?.anchors.get(responseId),
    recall,
    near,
    size: () => entries.size,
  }
}
