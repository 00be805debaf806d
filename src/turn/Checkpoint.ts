/**
 * What a completed turn covered, and whether a new request begins with it.
 *
 * Matching is a relation between what was recorded and what is replayed: the recorded input must be the head of the new
 * one, and the recorded output must follow it.
 */
import type { Lineage } from "./Lineage.ts"

/** Digests only, no content. */
export interface Checkpoint {
  readonly responseId: string
  /** Rolling digest over the client's own last input, and how many items that was; undefined: it was only a delta. */
  readonly prefix: string | undefined
  readonly inputCount: number
  /** One digest per item of the last response, which the next request replays for the first time. */
  readonly output: ReadonlyArray<string>
  /** Digest of the members that decide. */
  readonly members: string
}

/** How many of `replayed` the recorded items account for, starting at `from`; undefined when they don't match. */
export const matches = (
  recorded: ReadonlyArray<string>,
  replayed: ReadonlyArray<string>,
  from: number,
): number | undefined => {
  if (replayed.length < from + recorded.length) return undefined
  for (let i = 0; i < recorded.length; i++) {
    if (recorded[i] !== replayed[from + i]) return undefined
  }
  return recorded.length
}

/** Index of the first item of the lineage that the checkpoint does not cover; undefined when it is not its head. */
export const covered = (checkpoint: Checkpoint, lineage: Lineage): number | undefined => {
  if (checkpoint.prefix === undefined || lineage.prefixes[checkpoint.inputCount] !== checkpoint.prefix) return undefined
  const consumed = matches(checkpoint.output, lineage.items, checkpoint.inputCount)
  return consumed === undefined ? undefined : checkpoint.inputCount + consumed
}
