/**
 * Reads the text of a create request and refuses what the API refuses before it looks at any conversation.
 */
import type { Json, JsonObject, Member } from "../JsonText.ts"
import { byteLength, elements, isArray, isObject, members } from "../JsonText.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid, wrongType } from "../Refusal.ts"
import { backgroundOnSocket, wrongBackgroundOptions } from "./Background.ts"

export type Transport = "websocket" | "http"

/** One item of the input with its text as received. */
export interface InputItem {
  readonly raw: string
  readonly value: JsonObject
  /** How many bytes it took in the request. */
  readonly bytes: number
}

export interface CreateRequest {
  readonly _tag: "CreateRequest"
  readonly text: string
  readonly value: JsonObject
  readonly items: ReadonlyArray<InputItem>
  readonly inputBytes: number
  /** Bytes of the members beside the input that a client has to send: keys, values and separators. */
  readonly otherBytes: number
  /** The text of a top-level member's value, as received. */
  readonly raw: (name: string) => string | undefined
  /** The lane's name; undefined: the default lane. */
  readonly streamId: string | undefined
  readonly previousResponseId: string | undefined
  readonly conversation: string | undefined
  readonly store: boolean
  readonly generate: boolean
  readonly stream: boolean
}

const onlyOnSocket = ["type", "stream_id", "generate"]
const notNeeded: ReadonlySet<string> = new Set(["previous_response_id", "type", "stream", "input"])

const parse = (text: string): Json | undefined => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

/** The request as JSON if it is an object, even one that is refused. */
export const parseObject = (text: string): JsonObject | undefined => {
  const value = parse(text)
  return isObject(value) ? value : undefined
}

const unknownParameter = (name: string) =>
  invalid(`Unknown parameter: '${name}'.`, { code: "unknown_parameter", param: name })

const itemsOf = (
  text: string,
  member: Member | undefined,
  value: Json | undefined,
): ReadonlyArray<InputItem> | Refusal => {
  if (member === undefined || value === undefined || value === null) return []
  if (typeof value === "string") {
    const raw = `{"role":"user","content":${text.slice(member.valueStart, member.end)}}`
    return [
      { raw, value: { role: "user", content: value }, bytes: byteLength(text.slice(member.valueStart, member.end)) },
    ]
  }
  if (!isArray(value)) return wrongType("input", "a string or an array of items")
  const items: Array<InputItem> = []
  for (const [index, raw] of elements(text, member.valueStart).entries()) {
    const item = value[index]
    if (!isObject(item)) return wrongType(`input[${index}]`, "an object")
    items.push({ raw, value: item, bytes: byteLength(raw) })
  }
  return items
}

const conversationId = (value: Json | undefined): string | undefined =>
  typeof value === "string" ? value : isObject(value) && typeof value.id === "string" ? value.id : undefined

const illTyped = (value: JsonObject): Refusal | undefined => {
  const expected: ReadonlyArray<readonly [string, string]> = [
    ["store", "boolean"],
    ["stream", "boolean"],
    ["generate", "boolean"],
    ["background", "boolean"],
    ["previous_response_id", "string"],
    ["instructions", "string"],
  ]
  for (const [name, type] of expected) {
    const member = value[name]
    if (member !== undefined && member !== null && typeof member !== type) return wrongType(name, `a ${type}`)
  }
  return value.tools !== undefined && value.tools !== null && !isArray(value.tools)
    ? wrongType("tools", "an array")
    : undefined
}

/** The request, or why it is refused before any conversation is looked at. */
export const readCreateRequest = (text: string, transport: Transport): CreateRequest | Refusal => {
  const value = parse(text)
  if (value === undefined) return invalid("We could not parse the JSON body of your request.", { code: "invalid_json" })
  if (!isObject(value)) return invalid("Invalid request: expected a JSON object.", { code: "invalid_type" })
  const found = members(text)
  const byName = new Map<string, Member>()
  for (const member of found) {
    if (byName.has(member.name)) {
      return invalid(`Duplicate parameter: '${member.name}'.`, { code: "duplicate_parameter", param: member.name })
    }
    byName.set(member.name, member)
  }
  if (transport === "websocket" && value.type !== "response.create") {
    return value.type === undefined
      ? invalid("Missing required parameter: 'type'.", { code: "missing_required_parameter", param: "type" })
      : invalid(`Invalid value: '${String(value.type)}'. Supported values are: 'response.create'.`, {
          code: "invalid_value",
          param: "type",
        })
  }
  const foreign = transport === "http" ? onlyOnSocket.find((name) => byName.has(name)) : undefined
  if (foreign !== undefined) return unknownParameter(foreign)
  const streamId = value.stream_id
  if (streamId !== undefined && !(typeof streamId === "string" && /^[A-Za-z0-9_.-]{1,256}$/.test(streamId))) {
    return invalid("Invalid 'stream_id': expected 1 to 256 characters of A-Z, a-z, 0-9, '_', '.', '-'.", {
      code: "invalid_stream_id",
      param: "stream_id",
    })
  }
  const notOnSocket = transport === "websocket" ? backgroundOnSocket(value) : undefined
  if (notOnSocket !== undefined) return notOnSocket
  if (typeof value.model !== "string" && !isObject(value.prompt)) {
    return invalid("Missing required parameter: 'model'.", { code: "missing_required_parameter", param: "model" })
  }
  const wrong = illTyped(value) ?? wrongBackgroundOptions(value)
  if (wrong !== undefined) return wrong
  const previousResponseId = typeof value.previous_response_id === "string" ? value.previous_response_id : undefined
  const conversation = conversationId(value.conversation)
  if (previousResponseId !== undefined && conversation !== undefined) {
    return invalid(
      "Mutually exclusive parameters. Ensure you are only providing one of: 'previous_response_id' or 'conversation'.",
      { code: "mutually_exclusive_parameters" },
    )
  }
  const input = byName.get("input")
  const items = itemsOf(text, input, value.input)
  if ("_tag" in items) return items
  const raw = (name: string) => {
    const member = byName.get(name)
    return member === undefined ? undefined : text.slice(member.valueStart, member.end)
  }
  return {
    _tag: "CreateRequest",
    text,
    value,
    items,
    inputBytes: byteLength(raw("input") ?? ""),
    otherBytes: found
      .filter(({ name }) => !notNeeded.has(name))
      .reduce((sum, member) => sum + byteLength(text.slice(member.start, member.end)) + 1, 0),
    raw,
    streamId,
    previousResponseId,
    conversation,
    store: value.store !== false,
    generate: value.generate !== false,
    stream: value.stream === true,
  }
}
