/**
 * Reads from a request what tells whether it continues an earlier one: its items and the members that decide, as
 * digests.
 *
 * Digests are keyed and rolling, so a prefix stands for its items in their order, and no text is kept
 * (docs/life-of-a-turn.md, Memory). Reasoning has a separate rolling digest, since a client may leave it out later.
 */
import type { Digester } from "../../wire/Digest.ts"
import { type Item, readItem } from "../../wire/Item.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { memberSpan, readMember } from "../../wire/RequestBody.ts"
import { membersDigest } from "./Members.ts"

export interface Lineage {
  /** The client chains by itself: it names a `previous_response_id`, of any type. */
  readonly chains: boolean
  /** The client's own `previous_response_id`, if it is a text. */
  readonly anchor: string | undefined
  /** False: `input` is neither a list of items nor a text, or too large to look into, so nothing can be compared. */
  readonly comparable: boolean
  /** The items behind the known head; those in it are covered by its prefix. */
  readonly items: ReadonlyArray<Item>
  /** How many items come before `items`. */
  readonly firstItem: number
  /** `prefixes[0]` covers what comes before `items`; each further one covers one more item that is not reasoning. */
  readonly prefixes: readonly [Prefix, ...ReadonlyArray<Prefix>]
  /** True: the request names a `conversation`, which excludes an anchor set by respool. */
  readonly conversation: boolean
  /** A digest over the members that decide. */
  readonly members: string
}

export interface Prefix {
  readonly digest: string
  /** How many items it covers that are not reasoning. */
  readonly count: number
  /** The index of the item behind the prefix's last. */
  readonly end: number
  /** A digest of the reasoning inside and of its positions; undefined: there is none. */
  readonly reasoning: string | undefined
}

const encoder = new TextEncoder()

/** The body's items. An `input` that is a text is one message of the user. */
const itemsOf = (body: RequestBody, digester: Digester): ReadonlyArray<Item> | undefined => {
  if (body.items !== undefined) return body.items.map((span) => readItem(body.bytes, span, digester))
  const input = memberSpan(body, "input")
  if (input === undefined || body.inputKind !== "string") return undefined
  const text = body.bytes.subarray(input.start, input.end)
  const item = Buffer.concat([encoder.encode('{"role":"user","content":'), text, encoder.encode("}")])
  return [readItem(item, { start: 0, end: item.length }, digester)]
}

/** `known`: the prefix of the body's known head, if it has one. */
export const lineageOf = (body: RequestBody, digester: Digester, known?: Prefix): Lineage => {
  const anchor = readMember(body, "previous_response_id")
  const items = itemsOf(body, digester)
  const first: Prefix = known ?? { digest: digester.root, count: 0, end: 0, reasoning: undefined }
  return {
    chains: (anchor ?? null) !== null,
    anchor: typeof anchor === "string" ? anchor : undefined,
    comparable: items !== undefined,
    items: items ?? [],
    firstItem: body.firstItem,
    prefixes: prefixesOver(first, items ?? [], digester, body.firstItem),
    conversation: (readMember(body, "conversation") ?? null) !== null,
    members: membersDigest(body, digester),
  }
}

/**
 * The prefixes that the items make behind `first`, which comes first itself. `firstItem`: how many items come before
 * them.
 */
export const prefixesOver = (
  first: Prefix,
  items: ReadonlyArray<Item>,
  digester: Digester,
  firstItem = first.end,
): readonly [Prefix, ...ReadonlyArray<Prefix>] => {
  let last = first
  let { reasoning } = last
  const prefixes: [Prefix, ...Array<Prefix>] = [last]
  for (const [index, item] of items.entries()) {
    if (item.kind === "reasoning") {
      reasoning = digester.rolling(reasoning, `${last.count} ${item.form}`)
    } else {
      const digest = digester.rolling(last.digest, item.form)
      last = { digest, count: last.count + 1, end: firstItem + index + 1, reasoning }
      prefixes.push(last)
    }
  }
  return prefixes
}

/** How many items the input has. */
export const itemsIn = ({ firstItem, items }: Lineage): number => firstItem + items.length

/** The prefix over `count` items that are not reasoning; undefined: there are fewer, or it ends inside a known head. */
export const prefixOver = ({ prefixes }: Lineage, count: number): Prefix | undefined =>
  count < prefixes[0].count ? undefined : prefixes[count - prefixes[0].count]
