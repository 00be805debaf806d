/**
 * An event that carries a response, as every terminal event does, scanned once for all that a turn reads from it.
 *
 * A finished response repeats the request's instructions and tools, so it is by far the longest event of a turn. What
 * is taken out of it or put into it is text: everything else stays as the upstream wrote it, to the byte. That is why
 * it is scanned: `JSON.parse` and `JSON.stringify` would round numbers and respell strings, though they take only 0.3
 * to 0.5 times as long (22 KB of ASCII, Bun 1.4.5).
 */
import { Result } from "effect"
import { type Member, scanObject } from "./Json.ts"
import { type Span, textOf } from "./JsonString.ts"

export interface ResponseEvent {
  /** The event's JSON text. */
  readonly frame: string
  readonly bytes: Uint8Array
  /** Where the response lies in the bytes; it is an object. */
  readonly response: Span
  /** The response's members; `output` has its elements, unless they are too many to tell apart. */
  readonly members: ReadonlyArray<Member>
}

const encoder = new TextEncoder()

/** Undefined when the text is not JSON, or holds no object of that name. */
export const readResponse = (frame: string): ResponseEvent | undefined => {
  const bytes = encoder.encode(frame)
  const response = Result.getOrElse(scanObject(bytes, { isUtf8: true }), () => []).findLast(
    ({ key }) => key === "response",
  )
  if (response === undefined || bytes[response.start] !== 0x7b) return undefined
  const { end, start } = response
  const members = scanObject(bytes, { start, end, isUtf8: true, elementsOf: "output" })
  return Result.isSuccess(members) ? { frame, bytes, response, members: members.success } : undefined
}

/** Where a name appears twice the last member counts, as it does for `JSON.parse`. */
const memberOf = ({ members }: ResponseEvent, name: string): Member | undefined =>
  members.findLast(({ key }) => key === name)

const textIn = ({ bytes, frame }: ResponseEvent, span: Span): string =>
  bytes.length === frame.length ? frame.slice(span.start, span.end) : textOf(bytes, span)

/** Raw text of a member of the response; undefined when absent. */
export const memberTextIn = (event: ResponseEvent, name: string): string | undefined => {
  const member = memberOf(event, name)
  return member === undefined ? undefined : textIn(event, member)
}

/** The response's id. */
export const responseIdIn = (event: ResponseEvent): string | undefined => {
  const text = memberTextIn(event, "id")
  const id: unknown = text === undefined ? undefined : JSON.parse(text)
  return typeof id === "string" ? id : undefined
}

/** Raw texts of the output's items; undefined when they are too many to tell apart. */
export const outputIn = (event: ResponseEvent): ReadonlyArray<string> | undefined => {
  const output = memberOf(event, "output")
  if (output === undefined || event.bytes[output.start] !== 0x5b) return []
  return output.elements?.map((span) => textIn(event, span))
}

export interface Changes {
  /** The response's items: set where its `output` is absent, null, or has fewer (docs/protocol.md 2.2). */
  readonly output: ReadonlyArray<string>
  /**
   * True: the client sent no `previous_response_id`, so it must read null there, as if its request had gone up as it
   * is.
   */
  readonly withoutAnchor: boolean
}

interface Splice {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The event's text with the changes made; everything else stays as it is. */
export const changed = (event: ResponseEvent, { output, withoutAnchor }: Changes): string => {
  const splices: Array<Splice> = withoutAnchor ? anchorSplices(event) : []
  if (output.length > 0) {
    const splice = outputSplice(event, output)
    if (splice !== undefined) splices.push(splice)
  }
  if (splices.length === 0) return event.frame
  let text = ""
  let at = 0
  for (const splice of splices.sort((a, b) => a.start - b.start)) {
    text += textIn(event, { start: at, end: splice.start }) + splice.text
    at = splice.end
  }
  return text + textIn(event, { start: at, end: event.bytes.length })
}

const outputSplice = (event: ResponseEvent, items: ReadonlyArray<string>): Splice | undefined => {
  const output = memberOf(event, "output")
  const list = () => `[${items.join(",")}]`
  if (output === undefined) {
    const last = event.response.end - 1
    return { start: last, end: last, text: `${event.members.length === 0 ? "" : ","}"output":${list()}` }
  }
  const { end, start } = output
  const misses =
    output.elements === undefined ? textIn(event, output) === "null" : output.elements.length < items.length
  return misses ? { start, end, text: list() } : undefined
}

const anchor = "previous_response_id"

const anchorSplices = ({ members }: ResponseEvent): Array<Splice> =>
  members.flatMap(({ end, key, start }) => (key === anchor ? [{ start, end, text: "null" }] : []))

const anchorMember = /"previous_response_id"\s*:\s*("[^"\\]*")/g

/**
 * An event that is not the last, without the `previous_response_id` that respool set.
 *
 * Such an event may repeat 20 KB of instructions and tools, and a scan of it takes 14 to 19 times as long as this
 * search (about 100 µs, Bun 1.4.5). In JSON text the name between its quotes can only be a member's, since quotes
 * inside a string are escaped. So where it stands once, with respool's value behind it, it is the response's; any other
 * event is scanned.
 */
export const withoutAnchor = (frame: string, value: string): string => {
  if (!frame.includes(anchor)) return frame
  const found = [...frame.matchAll(anchorMember)]
  const [only] = found
  if (only === undefined) return frame
  if (found.length === 1 && only[1] === JSON.stringify(value)) {
    const end = only.index + only[0].length
    return `${frame.slice(0, end - only[1].length)}null${frame.slice(end)}`
  }
  const event = readResponse(frame)
  return event === undefined ? frame : changed(event, { output: [], withoutAnchor: true })
}
