/**
 * Says why a request continues nothing that is remembered: pure data in, pure data out.
 *
 * It is asked only where a turn goes up in full for want of a match, and nothing that is sent depends on it. What comes
 * nearest of what is remembered tells the reason; where nothing is near, there is none to give.
 */
import { changedMembers } from "./Members.ts"
import type { Checkpoint } from "./Checkpoint.ts"
import { covered } from "./Checkpoint.ts"
import type { Lineage } from "./Lineage.ts"
import type { ReasoningPolicy } from "./Matching.ts"
import { compared } from "./Matching.ts"
import type { Plan } from "./Plan.ts"
import type { TurnRoute } from "../Executor.ts"
import { isOfReasoning, markOf } from "./Trail.ts"

/** Why a turn is sent in full, and for people what is another than before: names and places, no content. */
export interface Because {
  readonly reason: Plan["reason"]
  readonly changed?: Changed | undefined
}

type Changed = NonNullable<TurnRoute["changed"]>

/** A checkpoint that is looked at, but none that could be continued. `inAffinity`: the turn could use its connection. */
export interface Candidate {
  readonly checkpoint: Checkpoint
  readonly inAffinity: boolean
  readonly inSession: boolean
}

/** What comes nearest, the truest reason first: what would have been continued, but for one thing. */
const ranks = ["members_changed", "affinity_changed", "history_changed"] as const

interface Near extends Because {
  readonly reason: (typeof ranks)[number]
  /** How much is shared with it, where the history is what differs. */
  readonly shared: number
}

/** Compares the request with one checkpoint; undefined: it is another conversation. */
const compare = (lineage: Lineage, policy: ReasoningPolicy, candidate: Candidate): Near | undefined => {
  const { checkpoint, inAffinity, inSession } = candidate
  if (covered(checkpoint, lineage, policy) !== undefined) {
    const members = changedMembers(checkpoint.members, lineage.members)
    if (members.length === 0) return { reason: "affinity_changed", shared: Infinity }
    return { reason: "members_changed", changed: { members }, shared: Infinity }
  }
  // Without anything that a model said it is a first turn, or is asked anew.
  if (lineage.lastSaid < 0) return undefined
  const opening = lineage.prefixes.at(-1)?.opening
  const beginsAlike = opening !== undefined && opening === checkpoint.input?.opening
  if (!beginsAlike && !(inSession && inAffinity)) return undefined
  const item = differsAt(checkpoint, lineage, policy)
  if (item === undefined) return { reason: "history_changed", shared: checkpoint.input === undefined ? -1 : Infinity }
  const kind = lineage.items[item - lineage.firstItem]?.name ?? "end"
  return { reason: "history_changed", changed: { item, kind }, shared: item }
}

/** The nearest of the candidates; undefined: none is near. */
export const nearest = (
  lineage: Lineage,
  policy: ReasoningPolicy,
  candidates: Iterable<Candidate>,
): Because | undefined => {
  let best: Near | undefined
  for (const candidate of candidates) {
    const near = compare(lineage, policy, candidate)
    if (near !== undefined && (best === undefined || isNearer(near, best))) best = near
  }
  return best === undefined ? undefined : { reason: best.reason, changed: best.changed }
}

const isNearer = (one: Near, other: Near): boolean => {
  const rank = ranks.indexOf(one.reason) - ranks.indexOf(other.reason)
  return rank === 0 ? one.shared > other.shared : rank < 0
}

/**
 * The index of the first item that differs from what the checkpoint covers, where it does not cover the lineage;
 * undefined: it is not known.
 */
const differsAt = (checkpoint: Checkpoint, lineage: Lineage, policy: ReasoningPolicy): number | undefined => {
  const { input, output } = checkpoint
  const { firstItem, items } = lineage
  if (input === undefined || firstItem > 0) return undefined
  let at = 0
  let leftOut: number | undefined
  for (let index = 0; index < input.end; index++) {
    const mark = input.trail[index]
    if (mark === undefined) return undefined
    const item = items[at]
    if (item !== undefined && markOf(item) === mark) at++
    else if (policy === "lenient" && isOfReasoning(mark)) leftOut ??= at
    else return at
  }
  const answer = compared(output, items, at, policy)
  if (answer.differs) return answer.at
  // Something that a model said, but not in this conversation, was put in behind all of it.
  const said = items.findIndex(
    ({ fromModel, kind }, index) => index >= answer.at && (fromModel || kind === "reference"),
  )
  // Else only some of the reasoning was left out.
  return said < 0 ? leftOut : said
}

/** Reasons that say no more than that what the connection remembers, if anything, is not continued. */
const unmatched: ReadonlySet<Plan["reason"]> = new Set(["no_checkpoint", "history_changed", "members_changed"])

/**
 * The reason of a plan as it is told. `near` is asked only if there was no match. `tookOver`: the connection had another
 * conversation.
 */
export const becauseOf = ({ reason }: Plan, near: () => Because | undefined, tookOver: boolean): Because => {
  if (!unmatched.has(reason)) return { reason }
  return near() ?? { reason: tookOver ? "cold_taken_over" : "no_checkpoint" }
}
