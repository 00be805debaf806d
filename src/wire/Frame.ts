/**
 * Writes what goes to an upstream: a request's body with other members, and the message for a socket.
 *
 * Both are made of slices of the client's bytes.
 */
import type { Member, Span } from "./Json.ts"
import { itemCount, type RequestBody } from "./RequestBody.ts"
import { atOnce, type Steps } from "./Steps.ts"

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
const openArray = 0x5b
const closeArray = 0x5d
const closeObject = 0x7d

const textOfSet = (set: ReadonlyMap<string, string>): string =>
  [...set].map(([name, value]) => `,${JSON.stringify(name)}:${value}`).join("")

/** So many bytes are copied in one step: the first touch of new memory takes the system longer than the copy. */
const copyStep = 1 << 20

/** Fills one buffer with slices, in steps; what is small costs no generator. */
class Copied {
  readonly bytes: Uint8Array
  #at = 0
  #inStep = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }

  byte(byte: number): void {
    this.bytes[this.#at++] = byte
  }

  /** Copies the slice at once, if a step has room for it; else gives the steps that are still to be made. */
  slice(bytes: Uint8Array, { end, start }: Span): Iterable<undefined> {
    if (this.#inStep + end - start > copyStep) return this.#inSteps(bytes, start, end)
    this.#copy(bytes, start, end)
    return none
  }

  *#inSteps(bytes: Uint8Array, start: number, end: number): Steps<void> {
    for (let from = start; from < end;) {
      if (this.#inStep === copyStep) {
        yield
        this.#inStep = 0
      }
      const to = Math.min(end, from + copyStep - this.#inStep)
      this.#copy(bytes, from, to)
      from = to
    }
  }

  #copy(bytes: Uint8Array, start: number, end: number): void {
    this.bytes.set(bytes.subarray(start, end), this.#at)
    this.#at += end - start
    this.#inStep += end - start
  }
}

const none: ReadonlyArray<undefined> = []

const whole = (bytes: Uint8Array): Span => ({ start: 0, end: bytes.length })

/**
 * The client's body with the members of `set`, given as JSON texts, instead of its members of the same names, and
 * without those of `omit`.
 */
export function* withMembersInSteps(
  body: RequestBody,
  set: ReadonlyMap<string, string>,
  omit?: ReadonlySet<string>,
): Steps<Uint8Array> {
  const opening = encoder.encode(`{${textOfSet(set).slice(1)}`)
  const members = [...body.members.values()].filter(({ key }) => !set.has(key) && omit?.has(key) !== true)
  const commas = members.length - (set.size === 0 && members.length > 0 ? 1 : 0)
  const size = members.reduce(
    (sum, { end, keyEnd, keyStart, start }) => sum + keyEnd - keyStart + 1 + end - start,
    opening.length + commas + 1,
  )
  const made = new Copied(size)
  made.slice(opening, whole(opening))
  for (const [index, { end, keyEnd, keyStart, start }] of members.entries()) {
    if (set.size > 0 || index > 0) made.byte(comma)
    yield* made.slice(body.bytes, { start: keyStart, end: keyEnd })
    made.byte(colon)
    yield* made.slice(body.bytes, { start, end })
  }
  made.byte(closeObject)
  return made.bytes
}

/** What of a body goes into a message, and how large that is. */
interface Layout {
  readonly opening: Uint8Array
  readonly members: ReadonlyArray<Member>
  /** The items that are sent; undefined: `input` is sent as it is. */
  readonly suffix: Span | undefined
  readonly size: number
}

const layoutOf = (body: RequestBody, options: FrameOptions): Layout => {
  const { bytes, firstItem, items } = body
  const { fromItem, omit, previousResponseId, set, type = "response.create" } = options
  const isIndex = Number.isInteger(fromItem) && fromItem >= firstItem && fromItem <= itemCount(body)
  if (fromItem !== 0 && !isIndex) {
    throw new RangeError(`fromItem is ${fromItem}, and the input has ${itemCount(body)} items from ${firstItem} on`)
  }
  const anchor = previousResponseId === undefined ? "" : `,"previous_response_id":${JSON.stringify(previousResponseId)}`
  const opening = encoder.encode(`{"type":"${type}"${anchor}${set === undefined ? "" : textOfSet(set)}`)

  const members: Array<Member> = []
  let size = opening.length + 1
  let suffix: Span | undefined
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
      const end = items.at(-1)?.end ?? 0
      suffix = { start: items[fromItem - firstItem]?.start ?? end, end }
      valueSize = suffix.end - suffix.start + 2
    }
    size += 2 + (member.keyEnd - member.keyStart) + valueSize
    members.push(member)
  }
  return { opening, members, suffix, size }
}

/** The size in bytes of what `toFrame` would make. */
export const frameSize = (body: RequestBody, options: FrameOptions): number => layoutOf(body, options).size

/** The size in bytes of the `input` that is sent from that item on; 0 where there is none. */
export const inputSize = ({ firstItem, items, members }: RequestBody, fromItem: number): number => {
  const input = members.get("input")
  if (input === undefined) return 0
  if (fromItem === 0 || items === undefined) return input.end - input.start
  const end = items.at(-1)?.end ?? 0
  return end - (items[fromItem - firstItem]?.start ?? end) + 2
}

/**
 * The message for a request, as UTF-8 bytes: one output buffer, filled with slices of the body in steps.
 *
 * Throws a `RangeError` if `fromItem` is not the index of an item behind the known head, or of the input's end: such a
 * plan was made for another body.
 */
export function* frameInSteps(body: RequestBody, options: FrameOptions): Steps<Uint8Array> {
  const { members, opening, size, suffix } = layoutOf(body, options)
  const made = new Copied(size)
  made.slice(opening, whole(opening))
  for (const member of members) {
    made.byte(comma)
    yield* made.slice(body.bytes, { start: member.keyStart, end: member.keyEnd })
    made.byte(colon)
    if (member.key === "input" && suffix !== undefined) {
      made.byte(openArray)
      yield* made.slice(body.bytes, suffix)
      made.byte(closeArray)
    } else {
      yield* made.slice(body.bytes, member)
    }
  }
  made.byte(closeObject)
  return made.bytes
}

/** The same at once, for what is known to be small. */
export const toFrame = (body: RequestBody, options: FrameOptions): Uint8Array => atOnce(frameInSteps(body, options))
