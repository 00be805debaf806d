/**
 * Reads one input or output item into the digests by which it is compared; its content is not kept.
 *
 * Items of equal `form` say the same, however a client spells them (docs/protocol.md 7.2 and 7.3). What never counts:
 * members that are null; `id`, `status`, `created_by` and the parsed copies that SDKs add; annotations and logprobs of
 * a text; the white space, key order and number spelling inside a call's `arguments`; whether a message has its `type`;
 * whether its text is one part or a string. Everything else counts, as written. What is too large to look into
 * (arguments over 1 MiB, more parts or members than `scanObject` tells apart) is equal only to what is written the same
 * way.
 */
import { Result } from "effect"
import type { MemberFilter } from "./Canonical.ts"
import type { Digester } from "./Digest.ts"
import type { Member, Span } from "./Json.ts"
import { scanObject } from "./Json.ts"
import { byteAt, decodeString, textOf } from "./JsonString.ts"
import { plainNumbers } from "./JsonNumber.ts"

export interface Item {
  readonly kind: "message" | "reasoning" | "reference" | "other"
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

type Members = ReadonlyMap<string, Member>

const isNull = (bytes: Uint8Array, start: number) => byteAt(bytes, start) === 0x6e
const isString = (bytes: Uint8Array, start: number) => byteAt(bytes, start) === 0x22

/** Members of an item that do not change what it says. */
const silent: ReadonlySet<string> = new Set([
  "id",
  "status",
  "created_by",
  "parsed_arguments",
  "internal_chat_message_metadata_passthrough",
])

const counts: MemberFilter = (depth, key, bytes, start) => !isNull(bytes, start) && !(depth === 0 && silent.has(key))

/** Refuses the members of an item that get digests apart from the others. */
const countsBut =
  (apart: ReadonlySet<string>): MemberFilter =>
  (depth, key, bytes, start, end) =>
    counts(depth, key, bytes, start, end) && !(depth === 0 && apart.has(key))

/** A `phase` that is not a string has no known meaning, so it counts like any unknown member. */
const messageFrame: MemberFilter = (depth, key, bytes, start, end) =>
  counts(depth, key, bytes, start, end) &&
  !(depth === 0 && (key === "type" || key === "content" || (key === "phase" && isString(bytes, start))))
const callFrame = countsBut(new Set(["arguments"]))
const reasoningFrame = countsBut(new Set(["encrypted_content", "summary", "content"]))
const partCounts: MemberFilter = (depth, key, bytes, start) =>
  !isNull(bytes, start) && !(depth === 0 && (key === "annotations" || key === "logprobs" || key === "parsed"))

/** Reads the item at `span`, which `scanObject` has vouched for as part of a larger text. */
export const readItem = (bytes: Uint8Array, span: Span, digester: Digester): Item => {
  const members = membersOf(bytes, span, "content")
  // Without an object, or with a name twice, its meaning is not certain: only the same value is equal to it.
  if (members === undefined) return opaque(digester.item(bytes, span))
  const type = stringAt(bytes, members, "type")
  const id = stringAt(bytes, members, "id")
  if (type === undefined && present(bytes, members, "type")) return opaque(digester.item(bytes, span))
  if (type === "reasoning") return readReasoning(bytes, span, members, id, digester)
  if ((type === "item_reference" || type === undefined) && id !== undefined && pointsOnly(bytes, members)) {
    return { ...opaque(digester.rolling("reference", id)), kind: "reference", id }
  }
  if (type === "message" || (type === undefined && present(bytes, members, "role"))) {
    return readMessage(bytes, span, members, id, digester)
  }
  const args = members.get("arguments")
  // The id counts where an output has no call id, since then it names the call (a local shell's output does so), and
  // where the item says nothing else (a generated image is replayed so).
  const idCounts =
    (type?.endsWith("_output") === true && !present(bytes, members, "call_id")) || pointsOnly(bytes, members)
  const form =
    args !== undefined && isString(bytes, args.start)
      ? digester.rolling(digester.item(bytes, span, callFrame), argumentsForm(bytes, args, digester))
      : digester.rolling(digester.item(bytes, span, counts), idCounts ? `id ${id ?? ""}` : "")
  return { ...opaque(form), id, fromModel: type !== undefined && isModelType(type) }
}

const opaque = (form: string): Item => ({
  kind: "other",
  fromModel: false,
  form,
  id: undefined,
  message: undefined,
  reasoning: undefined,
})

/** Item types that only a model or a hosted tool writes (docs/protocol.md 7.1). */
const isModelType = (type: string) =>
  type.endsWith("_call") || type === "compaction" || type === "mcp_list_tools" || type === "mcp_approval_request"

const membersOf = (bytes: Uint8Array, { end, start }: Span, elementsOf?: string): Members | undefined => {
  const scanned = scanObject(bytes, elementsOf === undefined ? { start, end } : { start, end, elementsOf })
  if (Result.isFailure(scanned)) return undefined
  const members = new Map(scanned.success.map((member) => [member.key, member]))
  return members.size === scanned.success.length ? members : undefined
}

const present = (bytes: Uint8Array, members: Members, key: string): boolean => {
  const member = members.get(key)
  return member !== undefined && !isNull(bytes, member.start)
}

/** Whether an item says no more than which item it stands for. */
const pointsOnly = (bytes: Uint8Array, members: Members): boolean => {
  for (const [key, { start }] of members) {
    if (key !== "type" && !silent.has(key) && !isNull(bytes, start)) return false
  }
  return true
}

const stringAt = (bytes: Uint8Array, members: Members, key: string): string | undefined => {
  const member = members.get(key)
  return member === undefined || !isString(bytes, member.start)
    ? undefined
    : decodeString(bytes, member.start, member.end)
}

const encoder = new TextEncoder()

const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** Writes each half of a surrogate pair as the escape that means the same, since UTF-8 has no bytes for it. */
const wellFormed = (text: string): string =>
  text.replace(loneSurrogate, (half) => `\\u${half.charCodeAt(0).toString(16)}`)

/** Longer arguments, in bytes, are compared as a string: reading their numbers costs some hundred times their size. */
const largestRead = 1 << 20

/** The JSON value that a call's `arguments` spell, or the string itself where they spell none or are too long. */
const argumentsForm = (bytes: Uint8Array, member: Span, digester: Digester): string => {
  if (member.end - member.start > largestRead) return digester.item(bytes, member)
  const text = wellFormed(decodeString(bytes, member.start, member.end))
  if (Result.isFailure(scanObject(encoder.encode(text)))) return digester.item(bytes, member)
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
    const member = members.get(key)
    if (member === undefined || isNull(bytes, member.start)) return undefined
    return emptyList.test(textOf(bytes, member)) ? undefined : digester.value(bytes, member, counts)
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
  const said = [encrypted, summary, content, encrypted === undefined ? id : undefined]
  const form = digester.list([frame, ...said.map((part) => part ?? "-")])
  return { ...opaque(form), kind: "reasoning", fromModel: true, id, reasoning }
}

const readMessage = (
  bytes: Uint8Array,
  span: Span,
  members: Members,
  id: string | undefined,
  digester: Digester,
): Item => {
  const frame = digester.item(bytes, span, messageFrame)
  const phase = stringAt(bytes, members, "phase")
  const content = members.get("content")
  const texts: Array<Span | undefined> = []
  const parts: Array<string> = []
  const add = (text: Span | undefined, part: string) => {
    texts.push(text)
    parts.push(part)
  }
  if (content !== undefined && isString(bytes, content.start)) {
    add(content, digester.value(bytes, content))
  } else {
    const elements = content?.elements
    for (const part of elements ?? []) {
      const text = textPart(bytes, part)
      add(text, text === undefined ? digester.item(bytes, part, partCounts) : digester.value(bytes, text))
    }
    // Content that is neither a string nor a list counts as one part.
    if (elements === undefined && content !== undefined) add(undefined, digester.item(bytes, content))
  }
  const said = phase === undefined ? "no phase" : `phase ${phase}`
  const form = digester.list([frame, said, ...parts])
  return {
    ...opaque(form),
    kind: "message",
    fromModel: stringAt(bytes, members, "role") === "assistant",
    id,
    message: { frame, phase, parts, text: wholeText(bytes, texts, parts, digester) },
  }
}

/** Members that a part may have and still say no more than its text. */
const textPartMembers: ReadonlySet<string> = new Set(["type", "text", "annotations", "logprobs", "parsed"])

/** Where the text of a part lies; undefined for a part that says more than its text, or has none. */
const textPart = (bytes: Uint8Array, part: Span): Span | undefined => {
  const members = membersOf(bytes, part)
  const type = members === undefined ? undefined : stringAt(bytes, members, "type")
  if (members === undefined || (type !== "input_text" && type !== "output_text")) return undefined
  for (const [key, member] of members) {
    if (!textPartMembers.has(key) && !isNull(bytes, member.start)) return undefined
  }
  const text = members.get("text")
  return text !== undefined && isString(bytes, text.start) ? text : undefined
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
    whole += decodeString(bytes, text.start, text.end)
  }
  const joined = encoder.encode(JSON.stringify(whole))
  return digester.value(joined, { start: 0, end: joined.length })
}
