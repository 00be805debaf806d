/**
 * Decides when a replayed item says the same as the item it replays.
 *
 * The table of allowed differences is docs/protocol.md 7.2: the id of an item that another member names, a status
 * `completed`, annotations, log probabilities, an item's own members that are null, parsed values, an absent phase, the
 * order of keys, a string in place of one text part, arguments written anew, one message in place of its several text
 * parts. Reasoning may be left out, so it has no part in a prefix.
 */
import type { Json, JsonObject } from "../JsonText.ts"
import { isArray, isObject, stable } from "../JsonText.ts"

const ignored: ReadonlySet<string> = new Set([
  "parsed_arguments",
  "created_by",
  "phase",
  "internal_chat_message_metadata_passthrough",
])

/** Added to what the model wrote, or left out of it. */
const ignoredInParts: ReadonlySet<string> = new Set(["annotations", "logprobs", "parsed"])

const calls = ["function", "custom_tool", "computer", "shell", "apply_patch"].flatMap((tool) => [
  `${tool}_call`,
  `${tool}_call_output`,
])

/** What names an item, so that its own id says nothing. The id of any other is by what the upstream finds the rest of it. */
const names: ReadonlyMap<string, string> = new Map([
  ["message", "content"],
  ["reasoning", "encrypted_content"],
  ["compaction", "encrypted_content"],
  ["local_shell_call_output", "call_id"],
  ...calls.map((type) => [type, "call_id"] as const),
])

/** Items of which `completed` is no news. Of a patch it is the outcome, and of unknown items nothing is known. */
const finished: ReadonlySet<string> = new Set([
  ...[...names.keys()].filter((type) => type !== "apply_patch_call_output"),
  ...["local_shell", "web_search", "file_search", "image_generation", "code_interpreter", "mcp"].map(
    (tool) => `${tool}_call`,
  ),
])

const without = (value: JsonObject, dropped: (name: string, member: Json) => boolean): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([name, member]) => member !== null && !dropped(name, member)))

/** Null is a value in data, so only members of the item itself, of a call's action and of a part may be null for missing. */
const plain = (item: JsonObject): JsonObject => {
  const type = typeOf(item)
  const name = names.get(type)
  const isNamed = name !== undefined && (item[name] ?? null) !== null
  const counted = without(item, (member, value) =>
    member === "id" ? isNamed : member === "status" ? value === "completed" && finished.has(type) : ignored.has(member),
  )
  const { action } = counted
  return isObject(action) && finished.has(type) ? { ...counted, action: without(action, () => false) } : counted
}

const plainPart = (part: Json): Json =>
  isObject(part)
    ? without(part, (name) => ignoredInParts.has(name) && (part.type === "output_text" || part.type === "refusal"))
    : part

const textOf = (part: Json): string | undefined =>
  isObject(part) && typeof part.text === "string" && String(part.type).endsWith("_text") ? part.text : undefined

const scalar = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g

/** In digits: 12.50e1 is 125, however many there are, and -0 is not 0. */
const exact = (number: string): string => {
  const [, sign = "", integer = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(number) ?? []
  const digits = (integer + fraction).replace(/^0+/, "")
  const significant = digits.replace(/0+$/, "")
  if (significant === "") return `${sign}0`
  return `${sign}${significant}e${BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length)}`
}

/** Half of a pair is no text that a parser of the API's would see, while its escape is. */
const parsed = (text: Json | undefined): string => {
  if (typeof text !== "string") return stable(text ?? null)
  if (!text.isWellFormed()) return JSON.stringify(text)
  try {
    JSON.parse(text)
    const exactly = text.replace(scalar, (found) => (found.startsWith('"') ? found : `{"":"${exact(found)}"}`))
    return `=${stable(JSON.parse(exactly) as Json)}`
  } catch {
    return JSON.stringify(text)
  }
}

const userParts = (content: Json | undefined): Json => {
  const parts = typeof content === "string" ? [{ type: "input_text", text: content }] : isArray(content) ? content : []
  return parts.map((part) => {
    const text = textOf(part)
    return text === undefined ? plainPart(part) : text
  })
}

const assistantParts = (content: Json | undefined): ReadonlyArray<string> => {
  if (typeof content === "string") return [`text ${JSON.stringify(content)}`]
  if (!isArray(content) || content.length === 0) return ["nothing"]
  return content.map((part) => {
    const text = textOf(part)
    if (text !== undefined) return `text ${JSON.stringify(text)}`
    return stable(plainPart(part))
  })
}

const outputOf = (output: Json | undefined): string => {
  if (!isArray(output)) return stable(output ?? null)
  const only = output.length === 1 ? textOf(output[0] ?? null) : undefined
  return only === undefined ? stable(output.map(plainPart)) : JSON.stringify(only)
}

export const typeOf = (item: JsonObject): string =>
  typeof item.type === "string"
    ? item.type
    : item.role !== undefined
      ? "message"
      : item.id !== undefined
        ? "item_reference"
        : "unknown"

/** What the item says, in units that add up over items; equal items have equal units. Reasoning has none. */
export const unitsOf = (item: JsonObject): ReadonlyArray<string> => {
  const type = typeOf(item)
  switch (type) {
    case "reasoning":
      return []
    case "message":
      if ((item.content ?? null) === null) return [stable(plain(item))]
      return item.role === "assistant"
        ? assistantParts(item.content)
        : [`${String(item.role)} ${stable(userParts(item.content))}`]
    case "function_call":
    case "mcp_call":
      return [`${stable(without(plain(item), (name) => name === "arguments"))} ${parsed(item.arguments)}`]
    case "function_call_output":
    case "custom_tool_call_output":
      return [`${stable(without(plain(item), (name) => name === "output"))} ${outputOf(item.output)}`]
    default:
      return [stable(plain(item))]
  }
}

const summaryOf = ({ summary }: JsonObject): string =>
  stable(
    isArray(summary) ? summary.map((part) => (isObject(part) ? without(part, () => false) : part)) : (summary ?? []),
  )

/** Whether `given` says something else than the `issued` item with the same id. */
export const isEdited = (issued: JsonObject, given: JsonObject): boolean => {
  if (typeOf(issued) !== typeOf(given)) return true
  if (typeof given.phase === "string" && given.phase !== issued.phase) return true
  if (typeOf(issued) === "reasoning") {
    return typeof given.encrypted_content === "string"
      ? given.encrypted_content !== issued.encrypted_content
      : summaryOf(given) !== summaryOf(issued)
  }
  const before = unitsOf(issued)
  const after = unitsOf(given)
  return before.length !== after.length || before.some((unit, index) => unit !== after[index])
}
