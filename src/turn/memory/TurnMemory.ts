/**
 * Remembers what the last completed turn of each connection covered, as digests.
 *
 * Every operation is synchronous, so that a look-up and the lease that follows from it are one step. An entry lives as
 * long as its owner: `attach` removes it with the owner's scope.
 */
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { Checkpoint } from "./Checkpoint.ts"
import { covered } from "./Checkpoint.ts"
import type { Lineage } from "./Lineage.ts"
import type { ReasoningPolicy } from "./Matching.ts"

/** Where a checkpoint can be found: inside one affinity, and inside one session if it has a name. */
export interface Place {
  readonly affinity: string
  readonly session: string | undefined
}

interface Entry extends Place {
  readonly checkpoint: Checkpoint
}

export class TurnMemory extends Context.Service<
  TurnMemory,
  {
    /** Ties the owner's entry to the current scope. */
    readonly attach: (owner: number) => Effect.Effect<void, never, Scope.Scope>
    /** Replaces the owner's checkpoint. */
    readonly record: (owner: number, place: Place, checkpoint: Checkpoint) => void
    readonly forget: (owner: number) => void
    readonly checkpointOf: (owner: number) => Checkpoint | undefined
    /** The owner whose current response this is. */
    readonly ownerOf: (affinity: string, responseId: string) => number | undefined
    /**
     * Owners whose checkpoint is the head of the lineage and has the same deciding members, longest first; in the
     * session, or in the whole affinity when none is named.
     */
    readonly recall: (place: Place, lineage: Lineage, policy: ReasoningPolicy) => ReadonlyArray<number>
    readonly size: () => number
  }
>()("respool/turn/TurnMemory") {
  static readonly layer = Layer.sync(TurnMemory, () => make())
}

/** No digest holds a line end, so the affinity in front can't run into what follows. */
const under = (affinity: string, session: string | undefined) =>
  session === undefined ? affinity : `${affinity}\n${session}`

const make = (): TurnMemory["Service"] => {
  const entries = new Map<number, Entry>()
  const lines = new Map<string, Map<string, Set<number>>>()
  const anchors = new Map<string, number>()

  const index = (line: string, prefix: string, owner: number) => {
    let prefixes = lines.get(line)
    if (prefixes === undefined) lines.set(line, (prefixes = new Map()))
    const owners = prefixes.get(prefix)
    if (owners === undefined) prefixes.set(prefix, new Set([owner]))
    else owners.add(owner)
  }

  const unindex = (line: string, prefix: string, owner: number) => {
    const prefixes = lines.get(line)
    const owners = prefixes?.get(prefix)
    if (prefixes === undefined || owners === undefined) return
    owners.delete(owner)
    if (owners.size === 0) prefixes.delete(prefix)
    if (prefixes.size === 0) lines.delete(line)
  }

  const forget = (owner: number) => {
    const entry = entries.get(owner)
    if (entry === undefined) return
    entries.delete(owner)
    const { affinity, session, checkpoint } = entry
    const anchor = under(affinity, checkpoint.responseId)
    if (anchors.get(anchor) === owner) anchors.delete(anchor)
    if (checkpoint.input === undefined) return
    unindex(affinity, checkpoint.input.digest, owner)
    if (session !== undefined) unindex(under(affinity, session), checkpoint.input.digest, owner)
  }

  const record = (owner: number, { affinity, session }: Place, checkpoint: Checkpoint) => {
    forget(owner)
    entries.set(owner, { affinity, session, checkpoint })
    anchors.set(under(affinity, checkpoint.responseId), owner)
    if (checkpoint.input === undefined) return
    index(affinity, checkpoint.input.digest, owner)
    if (session !== undefined) index(under(affinity, session), checkpoint.input.digest, owner)
  }

  const recall = ({ affinity, session }: Place, lineage: Lineage, policy: ReasoningPolicy): ReadonlyArray<number> => {
    const line = lines.get(under(affinity, session))
    if (line === undefined || !lineage.comparable) return []
    const found: Array<number> = []
    for (let index = lineage.prefixes.length - 1; index >= 0; index--) {
      for (const owner of line.get(lineage.prefixes[index]?.digest ?? "") ?? []) {
        const checkpoint = entries.get(owner)?.checkpoint
        // One with other deciding members can't be continued, and its chain may be in use: not this turn's to end.
        if (checkpoint === undefined || checkpoint.members !== lineage.members) continue
        if (covered(checkpoint, lineage, policy) !== undefined) found.push(owner)
      }
    }
    return found
  }

  return {
    attach: (owner) => Effect.addFinalizer(() => Effect.sync(() => forget(owner))),
    record,
    forget,
    checkpointOf: (owner) => entries.get(owner)?.checkpoint,
    ownerOf: (affinity, responseId) => anchors.get(under(affinity, responseId)),
    recall,
    size: () => entries.size,
  }
}
