/**
 * How the clients people use write the model's items back into the next request (docs/protocol.md 7.2).
 *
 * A style sees one item at a time. What it makes of an item depends on nothing that later turns change, except where the
 * real client behaves so.
 */
import { isList, isObject, type Json, type JsonObject, Num, read, write } from "./JsonValue.ts"

interface Place {
  /** The exchange the item is from, and where in it. */
  readonly turn: number
  readonly index: number
  /** The exchange that is asked for now. */
  readonly now: number
}

export interface ReplayStyle {
  readonly name: string
  /** Input items for one item of the model. */
  readonly replay: (item: JsonObject, place: Place) => ReadonlyArray<JsonObject>
  /** How it writes what is its own. */
  readonly own?: (item: JsonObject, place: Place) => JsonObject
}

const without = (item: JsonObject, ...names: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(Object.entries(item).filter(([name]) => !names.includes(name)))

const only = (item: JsonObject, ...names: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(names.flatMap((name) => (item[name] === undefined ? [] : [[name, item[name]]])))

/** What a hosted tool did has no other name than its id, so every client keeps that. */
const withoutId = (item: JsonObject, ...more: ReadonlyArray<string>): JsonObject =>
  without(item, ...(isMessage(item) || isReasoning(item) || isCall(item) ? ["id"] : []), ...more)

const partsOf = (item: JsonObject): ReadonlyArray<JsonObject> => {
  const content = item["content"]
  return isList(content) ? content.filter(isObject) : []
}

const isMessage = (item: JsonObject) => item["type"] === "message"
const isReasoning = (item: JsonObject) => item["type"] === "reasoning"
const isCall = (item: JsonObject) => item["type"] === "function_call" || item["type"] === "custom_tool_call"

const reversed = (item: JsonObject): JsonObject => Object.fromEntries(Object.entries(item).toReversed())

const bare = (part: JsonObject): JsonObject => only(part, "type", "text", "refusal")

const asParts = (item: JsonObject): JsonObject =>
  typeof item["content"] === "string" ? { ...item, content: [{ type: "input_text", text: item["content"] }] } : item

const isOutput = (item: JsonObject) => typeof item["type"] === "string" && item["type"].endsWith("call_output")

/** As JSON.stringify does: numbers are doubles. */
const throughJavaScript = (value: Json): Json => {
  if (value instanceof Num) {
    const number = Number(value.text)
    return Number.isFinite(number) ? new Num(JSON.stringify(number)) : null
  }
  if (isList(value)) return value.map(throughJavaScript)
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, throughJavaScript(member)]))
    : value
}

/** As Python does: integers of any size, everything else a double. */
const throughPython = (value: Json): Json => {
  if (value instanceof Num) {
    if (value.text === "-0") return new Num("0")
    if (/^-?\d+$/.test(value.text)) return value
    const text = String(Number(value.text))
    return new Num(/^-?\d+$/.test(text) ? `${text}.0` : text.replace("Infinity", "1e400"))
  }
  if (isList(value)) return value.map(throughPython)
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, throughPython(member)]))
    : value
}

const rewritten = (item: JsonObject, through: (value: Json) => Json, space: "" | " "): JsonObject => {
  const spelled = item["arguments"]
  const value = typeof spelled === "string" ? read(spelled) : undefined
  return isObject(value) ? { ...item, arguments: write(through(value), space) } : item
}

const parsed = (item: JsonObject): JsonObject => {
  if (isMessage(item)) return { ...item, content: partsOf(item).map((part) => ({ ...part, parsed: null })) }
  if (item["type"] !== "function_call") return item
  return { ...item, parsed_arguments: read(String(item["arguments"])) ?? null }
}

const codex = (item: JsonObject, { index, turn }: Place): JsonObject =>
  isOutput(item)
    ? { ...item, ...(item["id"] === undefined ? { id: `fco_${turn}_${index}` } : {}) }
    : { ...asParts(item), type: item["type"] ?? "message", id: `msg_client_${turn}_${index}` }

/** One message per text part. */
const perPart = (item: JsonObject, write: (part: JsonObject) => JsonObject): ReadonlyArray<JsonObject> =>
  partsOf(item).length === 0 ? [{ role: "assistant", content: [] }] : partsOf(item).map(write)

/** Everything that may be written in more than one way, chosen by where it stands. */
const mixed: ReplayStyle = {
  name: "all of them mixed, differently each turn where that says the same",
  replay: (item, { index, now, turn }) => {
    const fixed = turn * 7 + index * 3
    const free = fixed + now * 5
    const known = item["type"] !== "telepathy_call"
    const done: JsonObject = known ? { status: item["status"] ?? "completed" } : {}
    const noise: JsonObject = free % 3 === 0 ? { ...done, created_by: null, unknown: null } : {}
    const named = free % 2 === 0 ? item : withoutId(item, ...(item["status"] === "completed" ? ["status"] : []))
    if (isReasoning(item)) {
      if (fixed % 4 === 0) return [{ id: item["id"] ?? null }]
      // Kept whole: an item that shows less is the same only while it is the last response's.
      return [{ ...item, ...noise }]
    }
    if (isMessage(item)) {
      if (fixed % 5 === 0) return [{ type: "item_reference", id: item["id"] ?? null, status: null }]
      const phase = fixed % 2 === 0 ? only(item, "phase") : {}
      const texts = partsOf(item).map((part) => part["text"])
      if (fixed % 3 === 0 && texts.length > 0 && texts.every((text) => typeof text === "string")) {
        return [{ ...phase, ...noise, role: "assistant", content: texts.join("") }]
      }
      if (fixed % 3 === 1 && texts.length > 1) {
        return perPart(item, (part) => ({
          ...phase,
          type: "message",
          role: "assistant",
          content: [bare(part)],
          ...noise,
        }))
      }
      return [reversed({ ...without(named, "phase"), ...phase, ...noise })]
    }
    return [reversed({ ...rewritten(named, (value) => value, free % 2 === 0 ? " " : ""), ...noise })]
  },
  own: (item, { now }) => {
    if (item["role"] === undefined) return { ...item, unknown: null }
    const text = item["content"]
    const content = now % 2 === 0 && typeof text === "string" ? [{ type: "input_text", text }] : (text ?? null)
    return { ...(now % 3 === 0 ? { type: "message", id: `own_${now}` } : { phase: null }), ...item, content }
  },
}

export const styles: ReadonlyArray<ReplayStyle> = [
  { name: "openai create", replay: (item) => [item] },
  { name: "openai responses.stream()", replay: (item) => [parsed(item)] },
  { name: "openai toResponseInputItems", replay: (item) => [without(item, "created_by")] },
  {
    name: "agents-js",
    replay: (item) => [reversed(item)],
    own: (item) => (isOutput(item) ? { ...item, status: "completed" } : item),
  },
  { name: "agents-js that omits ids", replay: (item) => [withoutId(item)] },
  {
    name: "agents-js with a session",
    replay: (item, { now, turn }) => [isCall(item) && turn < now - 1 ? without(item, "id") : item],
    own: (item) => (isOutput(item) ? { ...item, status: "completed" } : item),
  },
  {
    name: "Codex",
    replay: (item) => [isReasoning(item) ? { content: null, ...item } : item],
    own: codex,
  },
  {
    name: "older Codex",
    replay: (item) => {
      if (isMessage(item)) return [{ ...only(item, "type", "role", "phase"), content: partsOf(item).map(bare) }]
      if (!isReasoning(item)) return [without(item, "status")]
      return [{ ...only(item, "type", "id", "summary"), encrypted_content: item["encrypted_content"] ?? null }]
    },
    own: codex,
  },
  {
    name: "AI SDK",
    replay: (item) => {
      if (isCall(item)) return [without(item, "id", "status")]
      return [{ type: "item_reference", id: item["id"] ?? null }]
    },
  },
  {
    name: "AI SDK with store: false",
    replay: (item) => {
      if (isMessage(item)) {
        return perPart(item, (part) => ({
          role: "assistant",
          content: typeof part["text"] === "string" ? part["text"] : [bare(part)],
          ...only(item, "phase"),
        }))
      }
      if (!isReasoning(item)) return [withoutId(item, "status")]
      return item["encrypted_content"] === undefined ? [] : [only(item, "type", "id", "encrypted_content", "summary")]
    },
  },
  {
    name: "older AI SDK",
    replay: (item) => {
      if (!isMessage(item)) return [without(item, "status")]
      return perPart(item, (part) => ({ role: "assistant", content: [bare(part)], ...only(item, "id") }))
    },
  },
  {
    name: "Effect 3",
    replay: (item) => {
      if (isMessage(item)) return [{ role: "assistant", content: partsOf(item).map(bare) }]
      return isReasoning(item) ? [] : [withoutId(item, "status")]
    },
    own: (item) => (item["role"] === "user" ? asParts(item) : item),
  },
  {
    name: "Effect 4",
    replay: (item) => {
      if (isMessage(item)) {
        const content = partsOf(item).map((part) => ({ ...bare(part), annotations: [], logprobs: [] }))
        return [{ ...only(item, "id", "type", "role"), status: "completed", content }]
      }
      if (isReasoning(item)) return [only(item, "id", "type", "summary", "encrypted_content")]
      return [rewritten(without(item, "status"), throughJavaScript, "")]
    },
    own: asParts,
  },
  {
    name: "LangChain",
    replay: (item) => {
      if (isReasoning(item) && item["encrypted_content"] === undefined) return []
      return [isCall(item) ? rewritten(without(item, "id"), throughPython, " ") : withoutId(item)]
    },
  },
  mixed,
]
