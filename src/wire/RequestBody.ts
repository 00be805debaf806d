/**
 * A request body as the client sent it: its bytes, and where its members and input items lie in them.
 *
 * The frame for the upstream is made of slices of these bytes, so numbers, key order, escapes and unknown members
 * arrive as the client wrote them. Names are compared decoded, so no spelling gets past the removal of the members that
 * only respool may set.
 *
 * `JSON.parse` and `JSON.stringify` would round numbers and respell strings. They also take 3.2 times as long for a
 * turn of 1 MB that is sent as a suffix, and 4.5 times as long for one that is sent in full (Bun 1.4.5).
 */
import { Result, Schema } from "effect"
import { type KnownText, type Member, scanObject, type Span } from "./Json.ts"
import { textOf } from "./JsonString.ts"

const WireErrorReason = Schema.Literals([
  "not_json",
  "not_object",
  "too_deep",
  "too_many_members",
  "invalid_utf8",
  "duplicate_member",
])
type WireErrorReason = typeof WireErrorReason.Type

/**
 * Why a body can't be carried. `position` is a byte offset; `member` names the one that appears twice, unless too long.
 */
export class WireError extends Schema.TaggedError<WireError>()("WireError", {
  reason: WireErrorReason,
  message: Schema.String,
  position: Schema.Number,
  member: Schema.optionalKey(Schema.String),
}) {}

export interface RequestBody {
  /** The client's bytes. They are not copied, so the caller must not change them. */
  readonly bytes: Uint8Array
  /** By decoded name, in the client's order. */
  readonly members: ReadonlyMap<string, Member>
  /**
   * Spans of the input items; undefined unless `input` is an array. Also undefined for an array that is too large to
   * look into (more than 65,536 items, or 2^19 values in all): such a turn is sent in full, and no later one continues
   * it.
   */
  readonly items: ReadonlyArray<Span> | undefined
  /** How many items come before `items`: those of a known head, which are not located again. 0 where all was read. */
  readonly firstItem: number
  readonly inputKind: "array" | "string" | "other" | "absent"
}

/**
 * The beginning of a body, up to the end of an input item, known from an earlier body that began with the same bytes.
 */
export interface BodyHead {
  readonly text: KnownText
  /** How many input items it holds. */
  readonly items: number
}

export interface FrameOptions {
  /** Index of the first input item to send; 0 sends `input` exactly as it is. */
  readonly fromItem: number
  /** Replaces the client's `previous_response_id`, if it sent one. */
  readonly previousResponseId?: string | undefined
  /** Members to set, as JSON texts; they replace the client's members of the same names. */
  readonly set?: ReadonlyMap<string, string> | undefined
  /** Further members to leave out. */
  readonly omit?: ReadonlySet<string> | undefined
  /** Default `response.create`. */
  readonly type?: string
}

const inputKindOf = (bytes: Uint8Array, input: Member | undefined): RequestBody["inputKind"] => {
  if (input === undefined) return "absent"
  const first = bytes[input.start]
  return first === 0x5b ? "array" : first === 0x22 ? "string" : "other"
}

/** The longest name that an error repeats, in UTF-16 code units. */
const maxNamed = 256

/**
 * Reads a body. The bytes are kept, not copied, and what is allocated beside them is bounded. A caller that passes a
 * `head` vouches that the body begins with the same bytes.
 */
export const parseRequestBody = (bytes: Uint8Array, head?: BodyHead): Result.Result<RequestBody, WireError> => {
  const scanned = scanObject(bytes, { elementsOf: "input", ...(head === undefined ? {} : { known: head.text }) })
  if (Result.isFailure(scanned)) return Result.fail(new WireError(scanned.failure))
  const members = new Map<string, Member>()
  for (const member of scanned.success) {
    if (members.has(member.key)) {
      // The answer names the member, but must not become as large as the request.
      const named = member.key.length <= maxNamed
      return Result.fail(
        new WireError({
          reason: "duplicate_member",
          message: `The member ${named ? JSON.stringify(member.key) : "with a long name"} appears more than once`,
          position: member.keyStart,
          ...(named ? { member: member.key } : {}),
        }),
      )
    }
    members.set(member.key, member)
  }
  const input = members.get("input")
  const items = input?.elements
  return Result.succeed({ bytes, members, items, firstItem: head?.items ?? 0, inputKind: inputKindOf(bytes, input) })
}

/** How many input items there are; 0 if `input` is no array, or one too large to look into. */
export const itemCount = ({ firstItem, items }: RequestBody): number =>
  items === undefined ? 0 : firstItem + items.length

/** Whether a value ends with this byte, whatever follows: a quote or a closing bracket. */
const isClosed = (byte: number | undefined): boolean => byte === 0x22 || byte === 0x5d || byte === 0x7d

/**
 * The body's beginning up to the end of its last input item; undefined where there is none, and where it is a number or a
 * word: in the next body more of it may follow, as `12` begins with `1`.
 */
export const headOf = (body: RequestBody): BodyHead | undefined => {
  const last = body.items?.at(-1)
  const input = body.members.get("input")
  if (last === undefined || input === undefined || !isClosed(body.bytes[last.end - 1])) return undefined
  const members: Array<Member> = []
  for (const member of body.members.values()) if (member.end <= input.keyStart) members.push(member)
  const { key, keyEnd, keyStart, start } = input
  return { text: { length: last.end, members, open: { key, keyStart, keyEnd, start } }, items: itemCount(body) }
}

/** Where a member's value lies; undefined when the body has no such member. */
export const memberSpan = (body: RequestBody, key: string): Span | undefined => body.members.get(key)

/** A member's value as the text that the client wrote; undefined when the body has no such member. */
export const memberText = (body: RequestBody, key: string): string | undefined => {
  const span = memberSpan(body, key)
  return span === undefined ? undefined : textOf(body.bytes, span)
}

/**
 * A member's value; undefined when absent. A list or an object is returned empty: no caller reads one, and it may be
 * huge.
 */
export const readMember = (body: RequestBody, key: string): unknown => {
  const span = memberSpan(body, key)
  if (span === undefined) return undefined
  const first = body.bytes[span.start]
  if (first === 0x5b) return []
  return first === 0x7b ? {} : (JSON.parse(textOf(body.bytes, span)) as unknown)
}

/** Members of a request that only respool may set, or that have no meaning on a socket (docs/protocol.md 1.2). */
const reserved: ReadonlySet<string> = new Set([
  "type",
  "stream",
  "background",
  "background_options",
  "stream_id",
  "generate",
])

const encoder = new TextEncoder()
const comma = 0x2c
const colon = 0x3a

const textOfSet = (set: ReadonlyMap<string, string>): string =>
  [...set].map(([name, value]) => `,${JSON.stringify(name)}:${value}`).join("")

/**
 * The client's body with the members of `set`, given as JSON texts, instead of its members of the same names, and
 * without those of `omit`.
 */
export const withMembers = (
  { bytes, members }: RequestBody,
  set: ReadonlyMap<string, string>,
  omit?: ReadonlySet<string>,
): Uint8Array => {
  const parts: Array<Uint8Array> = [encoder.encode(`{${textOfSet(set).slice(1)}`)]
  let comma = set.size === 0 ? "" : ","
  for (const { end, key, keyEnd, keyStart, start } of members.values()) {
    if (set.has(key) || omit?.has(key) === true) continue
    parts.push(encoder.encode(comma), bytes.subarray(keyStart, keyEnd), encoder.encode(":"), bytes.subarray(start, end))
    comma = ","
  }
  parts.push(encoder.encode("}"))
  return Buffer.concat(parts)
}

/**
 * The message for a request, as UTF-8 bytes: one output buffer, filled with slices of the body.
 *
 * Throws a `RangeError` if `fromItem` is not the index of an item behind the known head, or of the input's end: such a
 * plan was made for another body.
 */
export const toFrame = (body: RequestBody, options: FrameOptions): Uint8Array => {
  const { bytes, firstItem, items } = body
  const { fromItem, omit, previousResponseId, set, type = "response.create" } = options
  const isIndex = Number.isInteger(fromItem) && fromItem >= firstItem && fromItem <= itemCount(body)
  if (fromItem !== 0 && !isIndex) {
    throw new RangeError(`fromItem is ${fromItem}, and the input has ${itemCount(body)} items from ${firstItem} on`)
  }
  const anchor = previousResponseId === undefined ? "" : `,"previous_response_id":${JSON.stringify(previousResponseId)}`
  const opening = encoder.encode(`{"type":"${type}"${anchor}${set === undefined ? "" : textOfSet(set)}`)

  const kept: Array<Member> = []
  let size = opening.length + 1
  let suffixStart = 0
  let suffixEnd = 0
  for (const member of body.members.values()) {
    if (reserved.has(member.key) || set?.has(member.key) === true || omit?.has(member.key) === true) continue
    if (
      member.key === "previous_response_id" &&
      (previousResponseId !== undefined || bytes[member.start] === 0x6e) /* null */
    ) {
      continue
    }
    let valueSize = member.end - member.start
    if (member.key === "input" && fromItem > 0 && items !== undefined) {
      suffixEnd = items.at(-1)?.end ?? 0
      suffixStart = items[fromItem - firstItem]?.start ?? suffixEnd
      valueSize = suffixEnd - suffixStart + 2
    }
    size += 2 + (member.keyEnd - member.keyStart) + valueSize
    kept.push(member)
  }

  const frame = new Uint8Array(size)
  frame.set(opening)
  let at = opening.length
  const slice = (start: number, end: number): void => {
    frame.set(bytes.subarray(start, end), at)
    at += end - start
  }
  for (const member of kept) {
    frame[at++] = comma
    slice(member.keyStart, member.keyEnd)
    frame[at++] = colon
    if (member.key === "input" && fromItem > 0) {
      frame[at++] = 0x5b
      slice(suffixStart, suffixEnd)
      frame[at++] = 0x5d
    } else {
      slice(member.start, member.end)
    }
  }
  frame[at] = 0x7d
  return frame
}
