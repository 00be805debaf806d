/**
 * Writes what goes to an upstream: a request's body with other members, and the message for a socket.
 *
 * Both are made of slices of the client's bytes.
 */
import type { Member, Span } from "./Json.ts"
import { itemCount, type RequestBody } from "./RequestBody.ts"

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
 * The message for a request, as UTF-8 bytes: one output buffer, filled with slices of the body.
 *
 * Throws a `RangeError` if `fromItem` is not the index of an item behind the known head, or of the input's end: such a
 * plan was made for another body.
 */
export const toFrame = (body: RequestBody, options: FrameOptions): Uint8Array => {
  const { members, opening, size, suffix } = layoutOf(body, options)
  const frame = new Uint8Array(size)
  frame.set(opening)
  let at = opening.length
  const slice = ({ end, start }: Span): void => {
    frame.set(body.bytes.subarray(start, end), at)
    at += end - start
  }
  for (const member of members) {
    frame[at++] = comma
    slice({ start: member.keyStart, end: member.keyEnd })
    frame[at++] = colon
    if (member.key === "input" && suffix !== undefined) {
      frame[at++] = 0x5b
      slice(suffix)
      frame[at++] = 0x5d
    } else {
      slice(member)
    }
  }
  frame[at] = 0x7d
  return frame
}
