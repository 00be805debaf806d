/**
 * Reads what a client's message asks for, from the members of its body: pure data in, pure data out.
 *
 * A `response.create` is the body of `POST /responses` with members that only a socket knows (docs/protocol.md 1.2).
 * What the API refuses is refused in its words: the socket stays open (docs/protocol.md 1.7).
 */
import { Result } from "effect"
import { scanInSteps, type Span } from "../../wire/Json.ts"
import { textOf } from "../../wire/JsonString.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { itemCount, memberSpan, readMember } from "../../wire/RequestBody.ts"
import type { Steps } from "../../wire/Steps.ts"
import { ApiError, shortened } from "../ApiError.ts"

/** Names the message that an error frame answers. */
export interface Addressed {
  /** The lane; undefined: the default one, whose frames name none. */
  readonly streamId: string | undefined
  /** The client's name for its message, which an error repeats. */
  readonly eventId: string | undefined
}

export const nobody: Addressed = { streamId: undefined, eventId: undefined }

export interface Create extends Addressed {
  readonly _tag: "Create"
  /** `generate: false`: the upstream only gets ready. */
  readonly warmUp: boolean
  /** False: the request says `store: false`. */
  readonly stored: boolean
  /** The client's `previous_response_id`, if it is a text. */
  readonly anchor: string | undefined
}

export interface Steer extends Addressed {
  readonly _tag: "Steer"
  /** The response to steer; undefined: none is named. */
  readonly responseId: string | undefined
}

export interface Refused extends Addressed {
  readonly _tag: "Refused"
  readonly error: ApiError
}

/** Members of a `response.create` that are no part of the request. `stream` is implied, whatever clients send there. */
export const ofTheSocket: ReadonlySet<string> = new Set([
  "type",
  "stream",
  "stream_id",
  "generate",
  "event_id",
  "background",
])

const streamIds = /^[A-Za-z0-9_.-]{1,256}$/

const textIn = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const isGiven = (value: unknown) => value !== undefined && value !== null

export const clientEvent = (body: RequestBody): Create | Refused | Steer => {
  const streamId = readMember(body, "stream_id") ?? undefined
  const eventId = textIn(readMember(body, "event_id"))
  const known = typeof streamId === "string" && streamIds.test(streamId) ? streamId : undefined
  const to: Addressed = { streamId: known, eventId: eventId === undefined ? undefined : shortened(eventId) }
  const refused = (code: string, message: string, param: string): Refused => ({
    _tag: "Refused",
    ...to,
    error: ApiError.badRequest(code, message, param),
  })
  const type = readMember(body, "type")
  if (!isGiven(type)) return refused("missing_required_parameter", "Missing required parameter: 'type'.", "type")
  if (streamId !== undefined && known === undefined) {
    const allowed = "expected 1 to 256 characters of A-Z, a-z, 0-9, '_', '.' and '-'"
    return refused("invalid_stream_id", `Invalid 'stream_id': ${allowed}.`, "stream_id")
  }
  if (type === "response.steer") {
    return { _tag: "Steer", ...to, responseId: textIn(readMember(body, "previous_response_id")) }
  }
  if (type !== "response.create") {
    const said = shortened(typeof type === "string" ? type : typeof type)
    const supported = "'response.create' and 'response.steer'"
    return refused("invalid_value", `Invalid value: '${said}'. Supported values are: ${supported}.`, "type")
  }
  for (const [param, isAsked] of [
    ["background", readMember(body, "background") === true],
    ["background_options", isGiven(readMember(body, "background_options"))],
  ] as const) {
    if (isAsked) return refused("unsupported_parameter", `'${param}' is not supported over WebSocket.`, param)
  }
  const generate = readMember(body, "generate")
  if (isGiven(generate) && typeof generate !== "boolean") {
    return refused("invalid_type", "Invalid type for 'generate': expected a boolean.", "generate")
  }
  return {
    _tag: "Create",
    ...to,
    warmUp: generate === false,
    stored: readMember(body, "store") !== false,
    anchor: textIn(readMember(body, "previous_response_id")),
  }
}

const encoder = new TextEncoder()

/** So many UTF-16 units, or bytes, are written in one step. */
const copyStep = 1 << 19

/** A message's text as `size` bytes of UTF-8. */
export function* encoded(text: string, size: number): Steps<Uint8Array> {
  if (text.length <= copyStep) return encoder.encode(text)
  const bytes = new Uint8Array(size)
  for (let from = 0, at = 0; from < text.length;) {
    if (from > 0) yield
    let to = from + copyStep
    // A pair is one character.
    if ((text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to++
    at += encoder.encodeInto(text.slice(from, to), bytes.subarray(at)).written
    from = to
  }
  return bytes
}

/** A longer value, in bytes as it is written, is not looked at. */
const maxAddress = 65_536

/** Whom the error for a message is for that can't be read as a body: as far as its members can be told. */
export function* addressIn(message: string, size: number): Steps<Addressed> {
  const bytes = yield* encoded(message, size)
  const members = Result.getOrElse(yield* scanInSteps(bytes), () => [])
  const text = (name: string) => {
    const member = members.findLast(({ key }) => key === name)
    if (member === undefined || bytes[member.start] !== 0x22 || member.end - member.start > maxAddress) return undefined
    return textIn(JSON.parse(textOf(bytes, member)))
  }
  const streamId = text("stream_id")
  const eventId = text("event_id")
  return {
    streamId: streamId !== undefined && streamIds.test(streamId) ? streamId : undefined,
    eventId: eventId === undefined ? undefined : shortened(eventId),
  }
}

const bracket = 0x5b

/**
 * A request that continues a warm-up, as one that says everything: the warm-up's items stand before its own. Undefined
 * where the inputs are no lists.
 */
export function* expanded(warmUp: RequestBody, body: RequestBody): Steps<Uint8Array | undefined> {
  const before = memberSpan(warmUp, "input")
  const input = memberSpan(body, "input")
  if (before !== undefined && warmUp.inputKind !== "array" && warmUp.inputKind !== "string") return undefined
  if (input !== undefined && body.inputKind !== "array" && body.inputKind !== "string") return undefined
  const items = [
    ...(before === undefined ? [] : [itemsIn(warmUp, before)]),
    ...(input === undefined ? [] : [itemsIn(body, input)]),
  ].filter((parts) => parts.length > 0)
  const parts: Array<Uint8Array> = [encoder.encode('{"input":[')]
  for (const [index, part] of items.entries()) parts.push(encoder.encode(index === 0 ? "" : ","), ...part)
  parts.push(encoder.encode("]"))
  for (const { end, key, keyEnd, keyStart, start } of body.members.values()) {
    if (key === "input" || key === "previous_response_id") continue
    parts.push(encoder.encode(","), body.bytes.subarray(keyStart, keyEnd))
    parts.push(encoder.encode(":"), body.bytes.subarray(start, end))
  }
  parts.push(encoder.encode("}"))
  return yield* joined(parts)
}

function* joined(parts: ReadonlyArray<Uint8Array>): Steps<Uint8Array> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    for (let from = 0; from < part.length; from += copyStep) {
      if (from > 0) yield
      const piece = part.subarray(from, from + copyStep)
      bytes.set(piece, at)
      at += piece.length
    }
  }
  return bytes
}

/** What stands between the brackets of a list, which is nothing where it is empty; a text is one message of the user. */
const itemsIn = (body: RequestBody, { end, start }: Span): ReadonlyArray<Uint8Array> => {
  const { bytes, items } = body
  if (bytes[start] !== bracket) {
    return [encoder.encode('{"role":"user","content":'), bytes.subarray(start, end), encoder.encode("}")]
  }
  return items !== undefined && itemCount(body) === 0 ? [] : [bytes.subarray(start + 1, end - 1)]
}
