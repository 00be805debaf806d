/**
 * Reads the upstream's events, each one JSON text: their type, their form as SSE, and what a turn's end needs of them.
 *
 * The type of an event that begins with `{"type":"` is read without a parse. Only the few events on which a turn's end
 * depends are scanned. What is taken out of an event is text, so numbers, key order and escapes stay as the upstream
 * wrote them. Where a name appears twice the last member counts, as it does for `JSON.parse`.
 *
 * The type is read by hand because every event needs it: for a delta of 180 bytes `JSON.parse` takes 30 times as long,
 * and for a last event of 22 KB some 400 times (Bun 1.4.5).
 */
import { Result } from "effect"
import { type Member, scanObject } from "./Json.ts"
import { type Span, textOf } from "./JsonString.ts"

const opening = '{"type":"'

/** A type is read without a parse only if it holds no escape, and so needs no decoding. */
const plainType = /^[\w.-]+$/

/** The longest type that is kept, in UTF-16 units. */
const maxKept = 128

interface Opening {
  /** The beginning of such an event, up to the comma behind its type. */
  readonly text: string
  /** The same string object for all events of a type, so that comparing two types need not look at their characters. */
  readonly type: string
}

/** The latest event's opening, which is tried first, since deltas come in runs of one type. */
let latest: Opening = { text: "\0", type: "" }

const openings = new Map<string, Opening>()

/** The API has some sixty types; the bound keeps an upstream that makes types up from filling the memory. */
const maxOpenings = 256

const openingOf = (type: string): Opening => {
  let known = openings.get(type)
  if (known === undefined) {
    // A copy, since a slice keeps the event's whole text alive, which may be megabytes.
    const copy = Buffer.from(type).toString()
    known = { text: `${opening}${copy}",`, type: copy }
    if (openings.size < maxOpenings) openings.set(copy, known)
  }
  return known
}

/**
 * An event's `type`; undefined when the text is not a JSON object with a string of that name.
 *
 * A text that begins with its type and ends in a brace is taken for valid JSON without a look at the rest.
 */
export const eventType = (frame: string): string | undefined => {
  if (frame.startsWith(latest.text) && frame.endsWith("}")) return latest.type
  if (frame.startsWith(opening)) {
    const quote = frame.indexOf('"', opening.length)
    const type = frame.slice(opening.length, quote)
    const after = frame[quote + 1]
    if (plainType.test(type) && (after === "," || after === "}") && frame.endsWith("}")) {
      if (after === "}" || type.length > maxKept) return type
      latest = openingOf(type)
      return latest.type
    }
  }
  let event: unknown
  try {
    event = JSON.parse(frame)
  } catch {
    return undefined
  }
  if (typeof event !== "object" || event === null || !("type" in event)) return undefined
  return typeof event.type === "string" ? event.type : undefined
}

/** Whether an event ends its turn (docs/protocol.md 2.1). */
export const isTerminal = (type: string): boolean => {
  switch (type) {
    case "response.completed":
    case "response.failed":
    case "response.incomplete":
    case "response.cancelled":
    case "error":
      return true
    default:
      return false
  }
}

/** Whether an event tells of the turn's state only, and holds nothing of its answer. */
export const isLifecycle = (type: string): boolean => {
  switch (type) {
    case "response.created":
    case "response.queued":
    case "response.in_progress":
    case "response.metadata":
    case "responsesapi.websocket_timing":
    case "keepalive":
      return true
    default:
      return type.startsWith("codex.")
  }
}

/**
 * Replaces line ends, which end a field of SSE. In JSON they stand only between tokens, where a space means the same.
 */
const oneLine = (text: string): string =>
  text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]+/g, " ") : text

const beforeData = (type: string): string => `event: ${oneLine(type)}\ndata: `

/** What stands before the latest event's data, made once for a run of events of one type. */
const latestSse = { type: "", before: beforeData("") }

/** One server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export const toSse = (type: string, frame: string): string => {
  if (type !== latestSse.type) {
    if (type.length > maxKept) return `${beforeData(type)}${oneLine(frame)}\n\n`
    latestSse.type = type
    latestSse.before = beforeData(type)
  }
  return `${latestSse.before}${oneLine(frame)}\n\n`
}

const encoder = new TextEncoder()

const membersIn = (bytes: Uint8Array, span: Span): ReadonlyArray<Member> =>
  Result.getOrElse(scanObject(bytes, { ...span, isUtf8: true }), () => [])

const memberIn = (bytes: Uint8Array, span: Span, key: string): Member | undefined =>
  membersIn(bytes, span).findLast((member) => member.key === key)

const spanAt = (bytes: Uint8Array, path: ReadonlyArray<string>): Span | undefined => {
  let span: Span | undefined = { start: 0, end: bytes.length }
  for (const key of path) {
    span = memberIn(bytes, span, key)
    if (span === undefined) return undefined
  }
  return span
}

/** Raw text of the value at a path of member names; undefined when it is not there or the text is not JSON. */
export const textAt = (frame: string, path: ReadonlyArray<string>): string | undefined => {
  const bytes = encoder.encode(frame)
  const span = spanAt(bytes, path)
  return span === undefined ? undefined : textOf(bytes, span)
}

/** A finished output item: its raw text, and its index in `response.output`. */
export interface DoneItem {
  readonly item: string
  readonly outputIndex: number
}

/** The item of a `response.output_item.done`; undefined when the event lacks the item or its index. */
export const doneItem = (frame: string): DoneItem | undefined => {
  const bytes = encoder.encode(frame)
  let item: Member | undefined
  let index: Member | undefined
  for (const member of membersIn(bytes, { start: 0, end: bytes.length })) {
    if (member.key === "item") item = member
    else if (member.key === "output_index") index = member
  }
  if (item === undefined || index === undefined || bytes[item.start] !== 0x7b) return undefined
  const outputIndex = Number(textOf(bytes, index))
  return Number.isInteger(outputIndex) && outputIndex >= 0 ? { item: textOf(bytes, item), outputIndex } : undefined
}

/** Raw text of the response that an event carries. */
export const responseText = (frame: string): string | undefined => textAt(frame, ["response"])
