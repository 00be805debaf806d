/**
 * How an owner refuses a turn, and what the entry node does then. The word is what header, log and metric show.
 */
import { Data } from "effect"

/** Why the entry node runs a turn that is not its own: nothing of it can have run elsewhere. */
export type TakeoverReason =
  /** Nothing listens there, or it does not answer a hello. */
  | "owner_unreachable"
  /** It stops, and takes no new turns. */
  | "owner_draining"
  /** It has as many turns or bytes as it takes. */
  | "owner_busy"
  /** It has started anew since it was asked last. */
  | "owner_restarted"
  /** It takes this node for none of its cluster: another secret, or another version. */
  | "owner_foreign"

const reasons: ReadonlySet<string> = new Set([
  "owner_unreachable",
  "owner_draining",
  "owner_busy",
  "owner_restarted",
  "owner_foreign",
] satisfies ReadonlyArray<TakeoverReason>)

/** The owner has the turn already, so that it may run: another must not. */
export const takenBefore = "taken_before"

export const refuse = (status: number, word: TakeoverReason | typeof takenBefore): Response =>
  new Response(word, { status })

export const isTakeover = (word: string): word is TakeoverReason => reasons.has(word)

/** The owner did not take the turn. */
export class NotTaken extends Data.TaggedError("NotTaken")<{ readonly reason: TakeoverReason }> {}
