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
import { randomBytes, randomUUID } from "node:crypto"
import { makeDigester } from "./Digest.ts"
import { type KnownText, longName, type Member, scanInSteps, type Span } from "./Json.ts"
import { textOf } from "./JsonString.ts"
import { atOnce, type Steps } from "./Steps.ts"

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
  /** Spans of all long strings (`maxShort`) behind the known head, in their order. */
  readonly long: ReadonlyArray<Span>
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
export const parseRequestBody = (bytes: Uint8Array, head?: BodyHead): Result.Result<RequestBody, WireError> =>
  atOnce(bodyInSteps(bytes, head))

/** The same in steps, for a body of any size. */
export function* bodyInSteps(bytes: Uint8Array, head?: BodyHead): Steps<Result.Result<RequestBody, WireError>> {
  const long: Array<Span> = []
  const known = head === undefined ? {} : { known: head.text }
  const scanned = yield* scanInSteps(bytes, { elementsOf: "input", long, ...known })
  if (Result.isFailure(scanned)) return Result.fail(new WireError(scanned.failure))
  const members = new Map<string, Member>()
  for (const found of scanned.success) {
    const name = { start: found.keyStart, end: found.keyEnd }
    const member = found.key === longName ? { ...found, key: yield* standInFor(bytes, name) } : found
    if (members.has(member.key)) {
      // The answer names the member, but must not become as large as the request.
      const named = found.key !== longName && member.key.length <= maxNamed
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
  return Result.succeed({
    bytes,
    members,
    items,
    long,
    firstItem: head?.items ?? 0,
    inputKind: inputKindOf(bytes, input),
  })
}

const names = makeDigester(randomBytes(16))

/** Stands for a name that is too long to keep; the same for the same name. The span has the quotation marks in it. */
export function* standInFor(bytes: Uint8Array, name: Span): Steps<string> {
  return `${longName} ${yield* names.text(bytes, name)}`
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

/** Of a longer member's value, in bytes as it is written, only the beginning is read. */
const maxRead = 65_536

/** The value's text, or its beginning. */
const beginning = ({ bytes }: RequestBody, { end, start }: Span): string =>
  textOf(bytes, { start, end: Math.min(end, start + maxRead) })

/**
 * A member's value as the text that the client wrote; undefined when the body has no such member. A text over 64 KiB,
 * which no upstream takes for a name, comes as its beginning with something unique behind it, so it is like no other.
 */
export const memberText = (body: RequestBody, key: string): string | undefined => {
  const span = memberSpan(body, key)
  if (span === undefined) return undefined
  return span.end - span.start > maxRead ? `${beginning(body, span)} ${randomUUID()}` : beginning(body, span)
}

/** The same in full, however long it is: for who repeats it. */
export const writtenMember = (body: RequestBody, key: string): string | undefined => {
  const span = memberSpan(body, key)
  return span === undefined ? undefined : textOf(body.bytes, span)
}

/**
 * A member's value; undefined when absent. A list or an object is returned empty: no caller reads one, and it may be
 * huge. A text or number over 64 KiB is none that anybody knows, and comes as the text of its beginning, as it is written.
 */
export const readMember = (body: RequestBody, key: string): unknown => {
  const span = memberSpan(body, key)
  if (span === undefined) return undefined
  const first = body.bytes[span.start]
  if (first === 0x5b) return []
  if (first === 0x7b) return {}
  const text = beginning(body, span)
  return span.end - span.start > maxRead ? text : (JSON.parse(text) as unknown)
}
