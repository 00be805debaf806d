/**
 * Reads from a request what tells whether it continues an earlier one: its items and the members that decide, as
 * digests.
 *
 * Digests are keyed and rolling, so a prefix stands for its items in their order, and no text is kept
 * (docs/life-of-a-turn.md, Memory). Reasoning has a separate rolling digest, since a client may leave it out later.
 */
import type { Digester } from "../../wire/Digest.ts"
import { condensed } from "../../wire/Condensed.ts"
import { type Item, itemInSteps } from "../../wire/Item.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { itemCount, memberSpan, readMember } from "../../wire/RequestBody.ts"
import { atOnce, type Steps, stepSize } from "../../wire/Steps.ts"
import { membersInSteps } from "./Members.ts"
import { extended, noTrail, type Trail } from "./Trail.ts"

export interface Lineage {
  /** The client chains by itself: it names a `previous_response_id`, of any type. */
  readonly chains: boolean
  /** The client's own `previous_response_id`, if it is a text. */
  readonly anchor: string | undefined
  /** False: `input` is neither a list of items nor a text, or `costly`, so nothing can be compared. */
  readonly comparable: boolean
  /** True: what would be compared is not looked into, since that would cost more than sending it. */
  readonly costly: boolean
  /** The items behind the known head; those in it are covered by its prefix. */
  readonly items: ReadonlyArray<Item>
  /** How many items the input has, whether they are looked into or not. */
  readonly count: number
  /** The index in `items` of the last one that a model said or that only points to one; -1: there is none. */
  readonly lastSaid: number
  /** How many items come before `items`. */
  readonly firstItem: number
  /** `prefixes[0]` covers what comes before `items`; each further one covers one more item that is not reasoning. */
  readonly prefixes: readonly [Prefix, ...ReadonlyArray<Prefix>]
  /** True: the request names a `conversation`, which excludes an anchor set by respool. */
  readonly conversation: boolean
  /** The digests of the members that decide, in one text: equal where all of them are. */
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
  /** The digest of the prefix that ends in the user's first message; undefined: it is not inside. */
  readonly opening: string | undefined
  /** A mark of each item up to `end`. Only the last prefix of a lineage has it, and one that is kept. */
  readonly trail: Trail
}

const encoder = new TextEncoder()

/** What reading one item costs beside its size, as bytes: some digests. */
const itemCost = 1024

/** For so many items a prefix is made in one step. */
const itemsInStep = 256

const noPrefix = (digest: string): Prefix => ({
  digest,
  count: 0,
  end: 0,
  reasoning: undefined,
  opening: undefined,
  trail: noTrail,
})

/**
 * What an item and its prefix take in memory beside their texts, in bytes, what a message takes beside that, and each of
 * its parts: 345 and 340 bytes were measured for an item and for a message of one part (Bun 1.4.5).
 */
const itemSize = 384
const messageSize = 256
const partSize = 64

const sizeOf = ({ id, message }: Item): number =>
  itemSize +
  (id?.length ?? 0) +
  (message === undefined ? 0 : messageSize + message.parts.length * partSize + (message.phase?.length ?? 0))

/** The body's items. An `input` that is a text is one message of the user. Undefined: they are not looked into. */
function* itemsOf(body: RequestBody, digester: Digester, room: Room): Steps<ReadonlyArray<Item> | undefined> {
  const { bytes, long } = body
  const items: Array<Item> = []
  let held = 0
  if (body.items !== undefined) {
    if (!room(body.items.length * itemSize)) return undefined
    let work = 0
    for (const span of body.items) {
      work += span.end - span.start + itemCost
      if (work > stepSize) {
        yield
        work = 0
      }
      const item = yield* itemInSteps(bytes, span, long, digester)
      if (item === undefined) return undefined
      items.push(item)
      held += sizeOf(item)
    }
    return room(held) ? items : undefined
  }
  const input = memberSpan(body, "input")
  if (input === undefined || body.inputKind !== "string") return undefined
  const text = yield* condensed(bytes, input, long, digester)
  if (text === undefined) return undefined
  const said = text.bytes.subarray(text.span.start, text.span.end)
  const message = Buffer.concat([encoder.encode('{"role":"user","content":'), said, encoder.encode("}")])
  const item = yield* itemInSteps(message, { start: 0, end: message.length }, [], digester)
  return item === undefined ? undefined : [item]
}

/** Reads it at once; `lineageInSteps` is for bodies of any size. */
export const lineageOf = (body: RequestBody, digester: Digester, known?: Prefix): Lineage =>
  atOnce(lineageInSteps(body, digester, { known }))

/** Told how many bytes are held; false: there is no room for them. */
type Room = (bytes: number) => boolean

const anyRoom: Room = () => true

/** `known`: the prefix of the body's known head, if it has one. Items for which there is no `room` are not looked into. */
export function* lineageInSteps(
  body: RequestBody,
  digester: Digester,
  { known, room = anyRoom }: { readonly known?: Prefix | undefined; readonly room?: Room | undefined } = {},
): Steps<Lineage> {
  const items = yield* itemsOf(body, digester, room)
  const members = yield* membersInSteps(body, digester)
  const costly = members === undefined || (items === undefined && isReadable(body))
  const first = known ?? noPrefix(digester.root)
  const prefixes = yield* prefixesInSteps(first, items ?? [], digester, body.firstItem)
  return {
    ...unread(body),
    comparable: items !== undefined && !costly,
    costly,
    items: items ?? [],
    prefixes,
    lastSaid: (items ?? []).findLastIndex(({ fromModel, kind }) => fromModel || kind === "reference"),
    members: members ?? "",
  }
}

/** The prefixes that the items make behind `first`, which comes first itself; `firstItem` come before them. */
function* prefixesInSteps(
  first: Prefix,
  items: ReadonlyArray<Item>,
  digester: Digester,
  firstItem: number,
): Steps<readonly [Prefix, ...ReadonlyArray<Prefix>]> {
  let last = first
  let { opening, reasoning } = last
  const prefixes: [Prefix, ...Array<Prefix>] = [last]
  for (const [index, item] of items.entries()) {
    if (index % itemsInStep === itemsInStep - 1) yield
    if (item.kind === "reasoning") {
      reasoning = digester.rolling(reasoning, `${last.count} ${item.form}`)
    } else {
      const digest = digester.rolling(last.digest, item.form)
      if (item.name === "user_message") opening ??= digest
      last = { digest, count: last.count + 1, end: firstItem + index + 1, reasoning, opening, trail: noTrail }
      prefixes.push(last)
    }
  }
  const trail = extended(first.trail, firstItem, items, last.end)
  if (last !== first) prefixes[prefixes.length - 1] = { ...last, trail }
  return prefixes
}

const isReadable = ({ inputKind }: RequestBody): boolean => inputKind === "array" || inputKind === "string"

/** The lineage of a body of which nothing is looked into. */
const unread = (body: RequestBody): Lineage => {
  const anchor = readMember(body, "previous_response_id")
  return {
    chains: (anchor ?? null) !== null,
    anchor: typeof anchor === "string" ? anchor : undefined,
    comparable: false,
    costly: true,
    items: [],
    count: itemCount(body),
    lastSaid: -1,
    firstItem: body.firstItem,
    prefixes: [noPrefix("")],
    conversation: (readMember(body, "conversation") ?? null) !== null,
    members: "",
  }
}

/** Bytes that the items of a client which chains by itself may take until the turn's end. */
const maxKept = 256 * 1024

const isSmall = (items: ReadonlyArray<Item>): boolean => {
  let size = 0
  return items.every((item) => (size += sizeOf(item)) <= maxKept)
}

/** The prefixes that few items make behind `first`, which comes first itself. */
export const prefixesOver = (first: Prefix, items: ReadonlyArray<Item>, digester: Digester) =>
  atOnce(prefixesInSteps(first, items, digester, first.end))

/** How many items the input has. A text is one. */
export const itemsIn = ({ count, firstItem, items }: Lineage): number => Math.max(count, firstItem + items.length)

/**
 * What is enough for the checkpoint of a turn that has been planned: it may go on for an hour. Only where the client
 * chains by itself, the checkpoint is made of the items, if they are not too many to be kept for so long.
 */
export const planned = (lineage: Lineage): Lineage => ({
  ...lineage,
  count: itemsIn(lineage),
  items: lineage.chains && isSmall(lineage.items) ? lineage.items : [],
  prefixes: [lineage.prefixes.at(-1) ?? lineage.prefixes[0]],
})

/** The prefix over `count` items that are not reasoning; undefined: there are fewer, or it ends inside a known head. */
export const prefixOver = ({ prefixes }: Lineage, count: number): Prefix | undefined =>
  count < prefixes[0].count ? undefined : prefixes[count - prefixes[0].count]
