/**
 * What a completed turn covered, and whether a new request begins with it: digests only, no content.
 *
 * The client's own last input is one rolling digest, whatever its size. The items of the last response are kept one by one,
 * since the next request replays them for the first time, in the client's own way; after that they are part of the digest.
 */
import type { Digester } from "../../wire/Digest.ts"
import { type Item, readItem } from "../../wire/Item.ts"
import type { Lineage, Prefix } from "./Lineage.ts"
import { itemsIn, prefixOver } from "./Lineage.ts"
import type { ReasoningPolicy } from "./Matching.ts"
import { matches } from "./Matching.ts"

export interface Checkpoint {
  readonly responseId: string
  /** Of the client's own last input; undefined: it can't be found by content, only by its id. */
  readonly input: Prefix | undefined
  /** Items of the last response. */
  readonly output: ReadonlyArray<Item>
  /** Digest of the members that decide. */
  readonly members: string
}

const encoder = new TextEncoder()

/** `output`: raw JSON texts of the finished items, in output order. */
export const checkpointOf = (
  lineage: Lineage,
  responseId: string,
  output: ReadonlyArray<string>,
  digester: Digester,
): Checkpoint => {
  const last = lineage.prefixes.at(-1)
  // A client that chains by itself sent only a delta. An input that ends in reasoning has no end that a prefix could mark.
  const whole = lineage.anchor === undefined && lineage.comparable && last?.end === itemsIn(lineage)
  return {
    responseId,
    input: whole ? last : undefined,
    output: output.map((text) => {
      const bytes = encoder.encode(text)
      return readItem(bytes, { start: 0, end: bytes.length }, digester)
    }),
    members: lineage.members,
  }
}

/** Index of the first item of the lineage that the checkpoint does not cover; undefined when it is not its head. */
export const covered = (checkpoint: Checkpoint, lineage: Lineage, policy: ReasoningPolicy): number | undefined => {
  const { input, output } = checkpoint
  const head = input === undefined ? undefined : prefixOver(lineage, input.count)
  if (input === undefined || head === undefined || head.digest !== input.digest) return undefined
  const allLeftOut = policy === "lenient" && head.reasoning === undefined
  if (head.reasoning !== input.reasoning && !allLeftOut) return undefined
  const consumed = matches(output, lineage.items, head.end - lineage.firstItem, policy)
  if (consumed === undefined) return undefined
  const from = head.end + consumed
  // What a model said and this chain did not: the client put it there, and only the whole history tells where it belongs.
  for (let i = from - lineage.firstItem; i < lineage.items.length; i++) {
    const item = lineage.items[i]
    if (item?.fromModel === true || item?.kind === "reference") return undefined
  }
  return from
}
