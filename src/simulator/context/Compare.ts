/**
 * Decides when a replayed item says the same as the item it replays.
 *
 * The table of allowed differences is docs/protocol.md 7.2: ids, status, annotations, log probabilities, nulls, parsed
 * values, an absent phase, the order of keys, a string in place of one text part, arguments written anew, one message
 * in place of its several text parts. Reasoning may be left out, so it has no part in a prefix.
 */
import type { Json, JsonObject } from "../JsonText.ts"
import { isArray, isObject, stable } from "../JsonText.ts"

const ignored: ReadonlySet<string> = new Set([
  "id",
  "status",
  "annotations",
  "logprobs",
  "parsed",
  "parsed_arguments",
  "created_by",
  "phase",
  "internal_chat_message_metadata_passthrough",
])

const plain = (value: Json): Json => {
  if (isArray(value)) return value.map(plain)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, member]) => member !== null && !ignored.has(name))
      .map(([name, member]) => [name, plain(member)]),
  )
}

const textOf = (part: Json): string | undefined =>
  isObject(part) && typeof part.text === "string" && String(part.type).endsWith("_text") ? part.text : undefined

const parsed = (text: Json | undefined): string => {
  if (typeof text !== "string") return stable(text ?? null)
  try {
    return stable(JSON.parse(text) as Json)
  } catch {
    return JSON.stringify(text)
  }
}

const userParts = (content: Json | undefined): Json => {
  const parts = typeof content === "string" ? [{ type: "input_text", text: content }] : isArray(content) ? content : []
  return parts.map((part) => {
    const text = textOf(part)
    return text === undefined ? plain(part) : text
  })
}

const assistantParts = (content: Json | undefined): ReadonlyArray<string> => {
  if (typeof content === "string") return [`text ${content}`]
  if (!isArray(content) || content.length === 0) return ["nothing"]
  return content.map((part) => {
    const text = textOf(part)
    if (text !== undefined) return `text ${text}`
    return isObject(part) && part.type === "refusal" ? `refusal ${String(part.refusal)}` : stable(plain(part))
  })
}

const outputOf = (output: Json | undefined): string => {
  if (!isArray(output)) return stable(output ?? null)
  const only = output.length === 1 ? textOf(output[0] ?? null) : undefined
  return only === undefined ? stable(plain(output)) : JSON.stringify(only)
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
      return item.role === "assistant"
        ? assistantParts(item.content)
        : [`${String(item.role)} ${stable(userParts(item.content))}`]
    case "function_call":
      return [`call ${String(item.call_id)} ${String(item.name)} ${String(item.namespace)} ${parsed(item.arguments)}`]
    case "custom_tool_call":
      return [`custom ${String(item.call_id)} ${String(item.name)} ${String(item.input)}`]
    case "function_call_output":
    case "custom_tool_call_output":
      return [`${type} ${String(item.call_id)} ${outputOf(item.output)}`]
    default:
      return [stable(plain(item))]
  }
}

const summaryOf = (item: JsonObject): string => stable(plain(item.summary ?? []))

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
