/**
 * Reads from a request what its continuity is judged by: the items as digests, and the members that decide.
 *
 * Digests are keyed and rolling, so a prefix stands for its items in their order, and no text is kept (design.md 3,
 * "Memory costs digests").
 */
import type { Digester } from "../wire/Digest.ts"
import type { RequestBody } from "../wire/RequestBody.ts"
import { memberSpan, readMember } from "../wire/RequestBody.ts"

export interface Lineage {
  /** The client's own `previous_response_id`. */
  readonly anchor: string | undefined
  /** False: `input` is not a list of items, so nothing can be compared. */
  readonly comparable: boolean
  /** One digest per input item. */
  readonly items: ReadonlyArray<string>
  /** `prefixes[k]` covers the first k items; `prefixes[0]` covers none. */
  readonly prefixes: ReadonlyArray<string>
  /** One digest over the members that decide. */
  readonly members: string
}

/**
 * The members that must be equal for a suffix. The others are sent with every turn, so they may change lawfully;
 * these bind the chain itself, or what of it the model sees.
 */
const deciding = ["model", "store", "conversation", "prompt", "truncation", "context_management", "include"] as const

export const lineageOf = (body: RequestBody, digester: Digester): Lineage => {
  const anchor = readMember(body, "previous_response_id")
  let members = ""
  for (const name of deciding) {
    const span = memberSpan(body, name)
    // A null member means the default, as a missing one does.
    const present = span !== undefined && body.bytes[span.start] !== 0x6e
    members = digester.rolling(members, present ? digester.value(body.bytes, span) : "absent")
  }
  const root = digester.rolling("", "root")
  const items: Array<string> = []
  const prefixes: Array<string> = [root]
  for (const span of body.items ?? []) {
    const item = digester.item(body.bytes, span)
    items.push(item)
    prefixes.push(digester.rolling(prefixes[prefixes.length - 1] ?? root, item))
  }
  return {
    anchor: typeof anchor === "string" ? anchor : undefined,
    comparable: body.items !== undefined,
    items,
    prefixes,
    members,
  }
}
