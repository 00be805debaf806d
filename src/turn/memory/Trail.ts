/**
 * Marks the items of an input one by one, so that it can be told where another input begins to differ from it.
 *
 * A mark is four bytes of the item's digest. So it proves nothing, and is used for what people are told only: what is
 * sent is decided by whole digests. At most `maxMarks` items are marked, the first ones.
 */
import type { Item } from "../../wire/Item.ts"

/** The marks of the first items of an input, in their order. */
export type Trail = Uint32Array

const maxMarks = 4096

/** So many letters of a digest go into a mark: more bits than it has. */
const letters = 8

export const noTrail: Trail = new Uint32Array(0)

/** The item's mark; it is odd for reasoning, which a client may leave out. */
export const markOf = ({ form, kind }: Item): number => {
  let mark = 0x811c9dc5
  for (let at = 0; at < letters; at++) mark = Math.imul(mark ^ form.charCodeAt(at), 0x01000193)
  return ((mark << 1) | (kind === "reasoning" ? 1 : 0)) >>> 0
}

export const isOfReasoning = (mark: number): boolean => (mark & 1) === 1

/** The trail of an input up to `end`, of which `items` come behind the first `firstItem`, which `first` marks. */
export const extended = (first: Trail, firstItem: number, items: ReadonlyArray<Item>, end: number): Trail => {
  // Marks behind a gap would stand for other items.
  if (first.length < firstItem) return first
  const trail = new Uint32Array(Math.min(end, maxMarks))
  trail.set(first.subarray(0, Math.min(firstItem, trail.length)))
  for (let at = firstItem; at < trail.length; at++) {
    const item = items[at - firstItem]
    if (item !== undefined) trail[at] = markOf(item)
  }
  return trail
}
