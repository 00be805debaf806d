/**
 * Reads from a request what its continuity is judged by: the items as digests, and the members that decide.
 *
 * Digests are keyed and rolling, so a prefix stands for its items in their order, and no text is kept (design.md 3, "Memory
 * costs digests"). Reasoning rolls apart from the rest, since a client may leave it out later.
 */
import type { Digester } from "../wire/Digest.ts"
import { type Item, readItem } from "../wire/Item.ts"
import type { RequestBody } from "../wire/RequestBody.ts"
import { memberSpan, readMember } from "../wire/RequestBody.ts"
import { membersDigest } from "./Members.ts"

export interface Lineage {
  /** The client's own `previous_response_id`. */
  readonly anchor: string | undefined
  /** False: `input` is neither a list of items nor a text, or too large to look into, so nothing can be compared. */
  readonly comparable: boolean
  readonly items: ReadonlyArray<Item>
  /** `prefixes[k]` covers the first k items that are no reasoning; `prefixes[0]` covers none. */
  readonly prefixes: ReadonlyArray<Prefix>
  /** True: state is kept in a `conversation`, which excludes an anchor of ours. */
  readonly conversation: boolean
  /** One digest over the members that decide. */
  readonly members: string
}

export interface Prefix {
  readonly digest: string
  /** Index of the item behind the prefix's last. */
  readonly end: number
  /** Digest of the reasoning inside, with its places; undefined: there is none. */
  readonly reasoning: string | undefined
}

const encoder = new TextEncoder()

/** A text as input is one message of the user. */
const itemsOf = (body: RequestBody, digester: Digester): ReadonlyArray<Item> | undefined => {
  if (body.items !== undefined) return body.items.map((span) => readItem(body.bytes, span, digester))
  const input = memberSpan(body, "input")
  if (input === undefined || body.inputKind !== "string") return undefined
  const text = body.bytes.subarray(input.start, input.end)
  const item = Buffer.concat([encoder.encode('{"role":"user","content":'), text, encoder.encode("}")])
  return [readItem(item, { start: 0, end: item.length }, digester)]
}

export const lineageOf = (body: RequestBody, digester: Digester): Lineage => {
  const anchor = readMember(body, "previous_response_id")
  const items = itemsOf(body, digester)
  let digest = digester.rolling(undefined, "root")
  let reasoning: string | undefined
  const prefixes: Array<Prefix> = [{ digest, end: 0, reasoning }]
  for (const [index, item] of (items ?? []).entries()) {
    if (item.kind === "reasoning") {
      reasoning = digester.rolling(reasoning, `${prefixes.length - 1} ${item.form}`)
    } else {
      digest = digester.rolling(digest, item.form)
      prefixes.push({ digest, end: index + 1, reasoning })
    }
  }
  return {
    anchor: typeof anchor === "string" ? anchor : undefined,
    comparable: items !== undefined,
    items: items ?? [],
    prefixes,
    conversation: (readMember(body, "conversation") ?? null) !== null,
    members: membersDigest(body, digester),
  }
}
