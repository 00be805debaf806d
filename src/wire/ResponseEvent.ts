/**
 * An event that carries a response, as every terminal event does, read once for all that is asked of it.
 *
 * A finished response repeats the request's instructions and tools, so it is by far the longest event of a turn. What is
 * taken out of it or put into it is text: everything else stays as the upstream wrote it, to the byte.
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
  /** Members of the response; `output` with its elements, unless they are too many to tell apart. */
  readonly members: ReadonlyArray<Member>
}

const encoder = new TextEncoder()

/** Undefined when the text is not JSON, or holds no object of that name. */
export const readResponse = (frame: string): ResponseEvent | undefined => {
  const bytes = encoder.encode(frame)
  const response = Result.getOrElse(scanObject(bytes), () => []).findLast(({ key }) => key === "response")
  if (response === undefined || bytes[response.start] !== 0x7b) return undefined
  const { end, start } = response
  const members = scanObject(bytes, { start, end, elementsOf: "output" })
  return Result.isSuccess(members) ? { frame, bytes, response, members: members.success } : undefined
}

/** Of a name that appears twice the last counts, as it does for `JSON.parse`. */
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

/** The event with `items` as its response's `output`, if it has none there: absent, null or empty (protocol.md 2.2). */
export const fillOutput = (event: ResponseEvent, items: ReadonlyArray<string>): string => {
  const { bytes, frame, members, response } = event
  if (items.length === 0) return frame
  const list = `[${items.join(",")}]`
  const splice = (start: number, end: number, text: string): string =>
    textIn(event, { start: 0, end: start }) + text + textIn(event, { start: end, end: bytes.length })
  const output = memberOf(event, "output")
  if (output === undefined) {
    const last = response.end - 1
    return splice(last, last, `${members.length === 0 ? "" : ","}"output":${list}`)
  }
  return /^(null|\[\s*\])$/.test(textIn(event, output)) ? splice(output.start, output.end, list) : frame
}
