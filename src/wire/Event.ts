/**
 * The upstream's events, one JSON text each: what kind they are, how they look as SSE, and the parts a turn's end needs.
 *
 * What every event goes through reads no more than it must: an event whose text begins with its `type` is told apart
 * without parsing. Only the few events that a turn's end depends on are scanned. What is taken out of them or put into
 * them is text: numbers, key order and escapes stay as the upstream wrote them. Of a name that appears twice the last
 * counts, as it does for `JSON.parse`.
 */
import { Result } from "effect"
import { type Member, scanObject } from "./Json.ts"
import { type Span, textOf } from "./JsonString.ts"

const opening = '{"type":"'

/** The fast path takes a type only if it is made of these, so that it needs no decoding. */
const plainType = /^[\w.-]+$/

/** The longest type that is kept, in UTF-16 units. */
const maxKept = 128

interface Opening {
  /** How such an event begins, up to the comma behind its type. */
  readonly text: string
  /** One string for all events of a type, so that two of them are compared without looking at their text. */
  readonly type: string
}

/** That of the latest event: deltas come in runs of one type. */
let latest: Opening = { text: "\0", type: "" }

const openings = new Map<string, Opening>()

/** There are some sixty types. */
const maxOpenings = 256

const openingOf = (type: string): Opening => {
  let known = openings.get(type)
  if (known === undefined) {
    // A slice keeps the whole text alive, which may be megabytes.
    const own = Buffer.from(type).toString()
    known = { text: `${opening}${own}",`, type: own }
    if (openings.size < maxOpenings) openings.set(own, known)
  }
  return known
}

/**
 * An event's `type`; undefined when the text is not a JSON object with a string of that name.
 *
 * Of a text that begins with its type and ends in a brace, the rest is believed.
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

/** Whether an event says only that, and where, a turn goes on: nothing of its answer has been seen yet. */
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

/** In valid JSON a line end can only stand between tokens, where one space means the same. */
const oneLine = (text: string): string =>
  text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]+/g, " ") : text

const sseHead = (type: string): string => `event: ${oneLine(type)}\ndata: `

/** How the latest one began. */
const latestSse = { type: "", head: sseHead("") }

/** One server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export const toSse = (type: string, frame: string): string => {
  if (type !== latestSse.type) {
    if (type.length > maxKept) return `${sseHead(type)}${oneLine(frame)}\n\n`
    latestSse.type = type
    latestSse.head = sseHead(type)
  }
  return `${latestSse.head}${oneLine(frame)}\n\n`
}

const encoder = new TextEncoder()

const membersIn = (bytes: Uint8Array, span: Span): ReadonlyArray<Member> =>
  Result.getOrElse(scanObject(bytes, span), () => [])

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

/** A finished output item: its raw text, and its place in `response.output`. */
export interface DoneItem {
  readonly item: string
  readonly outputIndex: number
}

/** The item of a `response.output_item.done`; undefined when the event lacks the item or its place. */
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
