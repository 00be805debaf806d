/**
 * Reads one input or output item into the digests by which it is compared; its content is not kept.
 *
 * Items of equal `form` say the same, however a client spells them (docs/protocol.md 7.2 and 7.3). What never counts: the
 * members that `ItemRules.ts` lists; annotations and logprobs of a text; the white space, key order and number spelling
 * inside a call's `arguments`; a missing `type` of a message; one text part in place of a string. Everything else counts,
 * as written. What is too large to look into (arguments over 256 KiB, more than `maxParts` parts, more members than
 * `scanObject` tells apart) is equal only to what says the same as it stands.
 */
import { Result } from "effect"
import type { MemberFilter } from "./Canonical.ts"
import type { Digester } from "./Digest.ts"
import type { Members, Span } from "./Json.ts"
import { callFilter, isModelType, itemFilter, modelPart, nameOf, ruleOf } from "./ItemRules.ts"
import { isNull, isString, notNull, notNullInElements } from "./ItemRules.ts"
import { hasTwice, memberOf, scanObject } from "./Json.ts"
import { byteAt, decodeString, textOf } from "./JsonString.ts"
import { plainNumbers } from "./JsonNumber.ts"
import { condensed, largestArguments } from "./Condensed.ts"
import { maxShort } from "./scan/JsonScan.ts"
import { atOnce, type Steps } from "./Steps.ts"

export interface Item {
  readonly kind: "message" | "reasoning" | "reference" | "other"
  /** What kind of item it is in the API's words, for people: one of a few names, never a text of the client's. */
  readonly name: string
  /** True for what a model says: assistant messages, reasoning, calls and what hosted tools and compaction leave. */
  readonly fromModel: boolean
  /** Equal for items that say the same. */
  readonly form: string
  readonly id: string | undefined
  readonly message: MessageParts | undefined
  readonly reasoning: ReasoningParts | undefined
}

export interface MessageParts {
  /** A digest of all but the parts: the role, and members unknown here. `phase` is separate, since clients lose it. */
  readonly frame: string
  readonly phase: string | undefined
  /** One digest per content part. */
  readonly parts: ReadonlyArray<string>
  /** A digest of all the text in one piece; undefined if any part is not text. */
  readonly text: string | undefined
}

interface ReasoningParts {
  /** A digest of all but the parts: members unknown here. */
  readonly frame: string
  readonly encrypted: string | undefined
  /** Undefined: the item has no summary, or an empty one. */
  readonly summary: string | undefined
  readonly content: string | undefined
}

/** A phase that is no string is nothing anybody knows, so it counts like any unknown member. */
const messageFilter = (idCounts: boolean): MemberFilter => {
  const counts = itemFilter({ idCounts, statusCounts: false, apart: new Set(["type", "content"]) })
  return (depth, key, bytes, start, end) =>
    counts(depth, key, bytes, start, end) && !(depth === 0 && key === "phase" && isString(bytes, start))
}
const messageFrame = messageFilter(false)
const emptyMessageFrame = messageFilter(true)
const reasoningFrame = itemFilter({
  idCounts: false,
  statusCounts: false,
  apart: new Set(["encrypted_content", "summary", "content"]),
})

/** Parts of one message that are told apart; of more, none is. */
const maxParts = 1024

/**
 * Reads the item at `span`, which `scanObject` has vouched for as part of a larger text, with all its long strings.
 * Undefined: it is too large to look into.
 */
export function* itemInSteps(
  bytes: Uint8Array,
  span: Span,
  long: ReadonlyArray<Span>,
  digester: Digester,
): Steps<Item | undefined> {
  if (span.end - span.start <= maxShort) return readItem(bytes, span, digester)
  const item = yield* condensed(bytes, span, long, digester)
  return item === undefined ? undefined : readItem(item.bytes, item.span, digester)
}

/** Reads a text that is one item, at once. An item that is too large to look into is equal to no other. */
export const itemOf = (text: string, digester: Digester): Item => {
  const bytes = encoder.encode(text)
  const long: Array<Span> = []
  if (bytes.length > maxShort) scanObject(bytes, { isUtf8: true, long })
  return atOnce(itemInSteps(bytes, { start: 0, end: bytes.length }, long, digester)) ?? opaque("too large")
}

const readItem = (bytes: Uint8Array, span: Span, digester: Digester): Item => {
  const members = membersOf(bytes, span, "content")
  // Without an object, or with a name twice, its meaning is not certain: only the same value is equal to it.
  if (members === undefined) return opaque(digester.item(bytes, span))
  const type = stringAt(bytes, members, "type")
  const id = stringAt(bytes, members, "id")
  if (type === undefined && present(bytes, members, "type")) return opaque(digester.item(bytes, span))
  if (type === "reasoning") return readReasoning(bytes, span, members, id, digester)
  const reference = memberOf(members, "id")
  if ((type === "item_reference" || type === undefined) && reference !== undefined && pointsOnly(bytes, members)) {
    return {
      ...opaque(digester.rolling("reference", digester.value(bytes, reference))),
      kind: "reference",
      name: "item_reference",
      id,
    }
  }
  if (type === "message" || (type === undefined && present(bytes, members, "role"))) {
    return readMessage(bytes, span, members, id, digester)
  }
  const rule = ruleOf(type)
  const idCounts = rule.named === undefined || !present(bytes, members, rule.named)
  const args = memberOf(members, "arguments")
  const argumentsApart = args !== undefined && isString(bytes, args.start)
  const action = rule.declared === undefined ? undefined : memberOf(members, rule.declared)
  const actionApart = action !== undefined && byteAt(bytes, action.start) === 0x7b
  const filter = callFilter(idCounts, rule.status === "counts", (argumentsApart ? 1 : 0) + (actionApart ? 2 : 0))
  // Of a reference that says more than which item it stands for, all counts.
  const keep = type === "item_reference" ? notNull : filter
  const form = digester.list([
    digester.item(bytes, span, keep),
    argumentsApart ? argumentsForm(bytes, args, digester) : "-",
    actionApart ? digester.value(bytes, action, notNull) : "-",
  ])
  return { ...opaque(form), name: nameOf(type), id, fromModel: type !== undefined && isModelType(type) }
}

const opaque = (form: string): Item => ({
  kind: "other",
  name: nameOf(),
  fromModel: false,
  form,
  id: undefined,
  message: undefined,
  reasoning: undefined,
})

const membersOf = (bytes: Uint8Array, { end, start }: Span, elementsOf?: string): Members | undefined => {
  const known = { start, end, isUtf8: true }
  const scanned = scanObject(bytes, elementsOf === undefined ? known : { ...known, elementsOf })
  if (Result.isFailure(scanned)) return undefined
  return hasTwice(scanned.success) ? undefined : scanned.success
}

const present = (bytes: Uint8Array, members: Members, key: string): boolean => {
  const member = memberOf(members, key)
  return member !== undefined && !isNull(bytes, member.start)
}

/** Whether an item says no more than which item it stands for. What else it says is for the upstream to judge. */
const pointsOnly = (bytes: Uint8Array, members: Members): boolean => {
  for (const { key, start } of members) {
    if (key === "id" ? !isString(bytes, start) : key !== "type" && !isNull(bytes, start)) return false
  }
  return true
}

const stringAt = (bytes: Uint8Array, members: Members, key: string): string | undefined => {
  const member = memberOf(members, key)
  return member === undefined || !isString(bytes, member.start)
    ? undefined
    : decodeString(bytes, member.start, member.end)
}

const encoder = new TextEncoder()

/** A scanner skips one, a parser does not. */
const byteOrderMark = "\ufeff"

/**
 * The JSON value that a call's `arguments` spell, or the string itself where they spell none or are too long. Half of a
 * pair is no text that an upstream could read, while its escape is: such a string is compared as it is, too.
 */
const argumentsForm = (bytes: Uint8Array, member: Span, digester: Digester): string => {
  if (member.end - member.start > largestArguments) return digester.item(bytes, member)
  const text = decodeString(bytes, member.start, member.end)
  if (!text.isWellFormed() || text.startsWith(byteOrderMark)) return digester.item(bytes, member)
  if (Result.isFailure(scanObject(encoder.encode(text), { isUtf8: true }))) return digester.item(bytes, member)
  const plain = encoder.encode(plainNumbers(text))
  return digester.value(plain, { start: 0, end: plain.length })
}

const emptyList = /^\[\s*\]$/

const readReasoning = (
  bytes: Uint8Array,
  span: Span,
  members: Members,
  id: string | undefined,
  digester: Digester,
): Item => {
  const digestOf = (key: string) => {
    const member = memberOf(members, key)
    if (member === undefined || isNull(bytes, member.start)) return undefined
    if (key === "encrypted_content") return digester.value(bytes, member)
    return emptyList.test(textOf(bytes, member)) ? undefined : digester.value(bytes, member, notNullInElements)
  }
  const frame = digester.item(bytes, span, reasoningFrame)
  const reasoning = {
    frame,
    encrypted: digestOf("encrypted_content"),
    summary: digestOf("summary"),
    content: digestOf("content"),
  }
  // Without encrypted content the upstream can find the reasoning only by the item's id, so the id counts.
  const { content, encrypted, summary } = reasoning
  const known = id === undefined || encrypted !== undefined ? undefined : memberOf(members, "id")
  const said = [encrypted, summary, content, known === undefined ? undefined : digester.value(bytes, known)]
  const form = digester.list([frame, ...said.map((part) => part ?? "-")])
  return { ...opaque(form), kind: "reasoning", name: nameOf("reasoning"), fromModel: true, id, reasoning }
}

const readMessage = (
  bytes: Uint8Array,
  span: Span,
  members: Members,
  id: string | undefined,
  digester: Digester,
): Item => {
  const hasContent = present(bytes, members, "content")
  const frame = digester.item(bytes, span, hasContent ? messageFrame : emptyMessageFrame)
  const phase = stringAt(bytes, members, "phase")
  const content = hasContent ? memberOf(members, "content") : undefined
  const texts: Array<Span | undefined> = []
  const parts: Array<string> = []
  const add = (text: Span | undefined, part: string) => {
    texts.push(text)
    parts.push(part)
  }
  if (content !== undefined && isString(bytes, content.start)) {
    add(content, digester.value(bytes, content))
  } else {
    const elements = (content?.elements?.length ?? 0) > maxParts ? undefined : content?.elements
    for (const part of elements ?? []) {
      const { keep, text } = readPart(bytes, part)
      add(text, text === undefined ? digester.item(bytes, part, keep) : digester.value(bytes, text))
    }
    // Content that is neither a string nor a list counts as one part.
    if (elements === undefined && content !== undefined) add(undefined, digester.item(bytes, content))
  }
  const said = phase === undefined ? undefined : memberOf(members, "phase")
  const form = digester.list([frame, said === undefined ? "no phase" : digester.value(bytes, said), ...parts])
  const role = stringAt(bytes, members, "role")
  return {
    ...opaque(form),
    kind: "message",
    name: nameOf("message", role),
    fromModel: role === "assistant",
    id,
    message: { frame, phase, parts, text: wholeText(bytes, texts, parts, digester) },
  }
}

/** Where the text of a part lies, if it is nothing but its text; and which members of it count. */
const readPart = (bytes: Uint8Array, part: Span): { readonly text: Span | undefined; readonly keep: MemberFilter } => {
  const members = membersOf(bytes, part)
  const type = members === undefined ? undefined : stringAt(bytes, members, "type")
  const keep = type === "output_text" || type === "refusal" ? modelPart : notNull
  const text = members === undefined ? undefined : memberOf(members, "text")
  const isText = (type === "input_text" || type === "output_text") && text !== undefined && isString(bytes, text.start)
  if (members === undefined || !isText) return { text: undefined, keep }
  for (const { end, key, start } of members) {
    if (key !== "type" && key !== "text" && keep(0, key, bytes, start, end)) return { text: undefined, keep }
  }
  return { text, keep }
}

const wholeText = (
  bytes: Uint8Array,
  texts: ReadonlyArray<Span | undefined>,
  parts: ReadonlyArray<string>,
  digester: Digester,
): string | undefined => {
  if (texts.length === 1) return texts[0] === undefined ? undefined : parts[0]
  let whole = ""
  for (const text of texts) {
    if (text === undefined) return undefined
    const piece = decodeString(bytes, text.start, text.end)
    // Two halves of a pair are not the character that they would make in one piece.
    if (!piece.isWellFormed()) return undefined
    whole += piece
  }
  const joined = encoder.encode(JSON.stringify(whole))
  return digester.value(joined, { start: 0, end: joined.length })
}
