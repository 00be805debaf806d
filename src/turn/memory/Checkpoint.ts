/**
 * What a completed turn covered, and whether a new request continues it: digests only, no content.
 *
 * The client's last input is one rolling digest, however long it is. The items of the last response are kept one by
 * one, since the next request replays them for the first time, as the client spells them; after that they are part of
 * the digest.
 */
import type { Digester } from "../../wire/Digest.ts"
import { type Item, itemOf } from "../../wire/Item.ts"
import type { Lineage, Prefix } from "./Lineage.ts"
import { itemsIn, prefixesOver, prefixOver } from "./Lineage.ts"
import type { ReasoningPolicy } from "./Matching.ts"
import { matches } from "./Matching.ts"

export interface Checkpoint {
  readonly responseId: string
  /** The prefix of the client's last input; undefined: the turn can be found only by its response's id. */
  readonly input: Prefix | undefined
  /** The items of the last response. */
  readonly output: ReadonlyArray<Item>
  /** A digest of the members that decide. */
  readonly members: string
}

/**
 * `output`: raw JSON texts of the finished items, in output order. `parent`: the checkpoint of the chain's turn before;
 * `unknown`: more was said than the lineage and a parent could tell.
 */
export const checkpointOf = (
  lineage: Lineage,
  responseId: string,
  output: ReadonlyArray<string>,
  digester: Digester,
  parent?: Checkpoint | "unknown",
): Checkpoint => {
  const known = parent === "unknown" ? undefined : inputOf(lineage, parent, digester)
  return {
    responseId,
    input: known,
    output: output.map((text) => itemOf(text, digester)),
    members: lineage.members,
  }
}

/** The prefix of all that was said before the response. */
const inputOf = (lineage: Lineage, parent: Checkpoint | undefined, digester: Digester): Prefix | undefined => {
  // An input that ends in reasoning has no end that a prefix could mark.
  if (!lineage.comparable || lineage.prefixes.at(-1)?.end !== itemsIn(lineage)) return undefined
  if (!lineage.chains) return lineage.prefixes.at(-1)
  // A client that chains by itself sent only what is new; the rest is what the chain's turn before covered.
  if (parent?.input === undefined || parent.responseId !== lineage.anchor) return undefined
  // They may lie in a known head, or be too many to be kept.
  if (lineage.items.length !== itemsIn(lineage)) return undefined
  const items = [...parent.output, ...lineage.items]
  const last = prefixesOver(parent.input, items, digester).at(-1)
  return last?.end === parent.input.end + items.length ? last : undefined
}

/** The index of the first item that the checkpoint does not cover; undefined: the lineage does not begin with it. */
export const covered = (checkpoint: Checkpoint, lineage: Lineage, policy: ReasoningPolicy): number | undefined => {
  const { input, output } = checkpoint
  const prefix = input === undefined ? undefined : prefixOver(lineage, input.count)
  if (input === undefined || prefix === undefined || prefix.digest !== input.digest) return undefined
  const allLeftOut = policy === "lenient" && prefix.reasoning === undefined
  if (prefix.reasoning !== input.reasoning && !allLeftOut) return undefined
  const consumed = matches(output, lineage.items, prefix.end - lineage.firstItem, policy)
  if (consumed === undefined) return undefined
  const from = prefix.end + consumed
  // The client put in an item that a model said, but not on this chain: only the whole history tells where it belongs.
  return lineage.lastSaid >= from - lineage.firstItem ? undefined : from
}
