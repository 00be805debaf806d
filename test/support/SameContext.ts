/**
 * Says whether two contexts say the same, by the table of what may differ (docs/protocol.md 7), and by no code of the
 * product.
 *
 * Never counts: members that are null, of an item, of a part and of a hosted call's `action`; a status `completed`, but
 * where it is a verdict; the `id` of an item that something else in it stands for; `created_by`, `parsed_arguments`; a
 * part's `annotations`, `logprobs`, `parsed`; the type of a message; whether a text is a string or one part; the spelling of
 * a call's arguments; how an assistant's text is cut into parts, and its parts into messages; a `phase` that is left out.
 * Everything else does.
 */
import { isList, isObject, type Json, type JsonObject, Num, read } from "./JsonValue.ts"

/** What the model said, by item id: an `item_reference` stands for it. */
export type Known = ReadonlyMap<string, JsonObject>

/** 12.50e1 is 125, exactly, however many digits it has. */
const exact = (number: string): string => {
  const [, sign = "", integer = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(number) ?? []
  let mantissa = BigInt(integer + fraction)
  let power = BigInt(exponent) - BigInt(fraction.length)
  if (mantissa === 0n) return `${sign}0`
  for (; mantissa % 10n === 0n; power++) mantissa /= 10n
  return `${sign}${mantissa}e${power}`
}

/** One text per value. A lone surrogate is a character of its own, which no encoding may swallow. */
const textOf = (value: Json, inside: "item" | "arguments"): string => {
  if (value === null || typeof value === "boolean") return String(value)
  if (typeof value === "string") return JSON.stringify(value)
  if (value instanceof Num) return inside === "arguments" ? exact(value.text) : value.text
  if (isList(value)) return `[${value.map((element) => textOf(element, inside)).join()}]`
  return `{${Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${textOf(value[name] ?? null, inside)}`)
    .join()}}`
}

/** Null is a value in data, and a missing member where the API says which members there are. */
const given = (value: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null))

const without = (value: JsonObject, names: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))

/** Items that are named by what another member says, and whose own id therefore says nothing. */
const namedBy: Readonly<Record<string, string>> = {
  message: "content",
  reasoning: "encrypted_content",
  compaction: "encrypted_content",
  ...Object.fromEntries(
    ["function", "custom_tool", "computer", "shell", "apply_patch"]
      .flatMap((tool) => [`${tool}_call`, `${tool}_call_output`])
      .concat("local_shell_call_output")
      .map((type) => [type, "call_id"]),
  ),
}

/** Items that other members say everything about when they are done. */
const doneWhenCompleted = [
  ...Object.keys(namedBy).filter((type) => type !== "apply_patch_call_output"),
  ...["local_shell", "web_search", "file_search", "image_generation", "code_interpreter", "mcp"].map(
    (tool) => `${tool}_call`,
  ),
  "mcp_list_tools",
  "mcp_approval_request",
]

/** What of an item's own members counts at all. */
const counted = (item: JsonObject): JsonObject => {
  const type = String(typeOf(item))
  return Object.fromEntries(
    Object.entries(given(item)).filter(([name, member]) => {
      if (name === "id") return typeof member !== "string" || (item[namedBy[type] ?? ""] ?? null) === null
      if (name === "status") return member !== "completed" || !doneWhenCompleted.includes(type)
      if (name === "created_by") return typeof member !== "string"
      return !(name === "parsed_arguments" && typeof item["arguments"] === "string")
    }),
  )
}

const typeOf = (item: JsonObject): Json => {
  const type = item["type"] ?? null
  if (type !== null) return type
  return (item["role"] ?? null) !== null ? "message" : "item_reference"
}

const withAction = ["computer_call", "shell_call", "local_shell_call", "web_search_call"]

/** Of an item that is neither message nor reasoning. */
const formOf = (item: JsonObject): string => {
  if (typeOf(item) === "item_reference") return textOf({ ...given(item), type: "item_reference" }, "item")
  const action = item["action"]
  const typed = isObject(action) && withAction.includes(String(item["type"]))
  const rest = textOf({ ...without(counted(item), ["arguments"]), ...(typed ? { action: given(action) } : {}) }, "item")
  const spelled = item["arguments"]
  if (typeof spelled !== "string") return `${rest} ${textOf(spelled ?? null, "item")}`
  const value = spelled.isWellFormed() ? read(spelled) : undefined
  return `${rest} ${isObject(value) ? `=${textOf(value, "arguments")}` : textOf(spelled, "item")}`
}

interface Part {
  readonly form: string
  readonly text: string | undefined
}

const partsOf = (item: JsonObject): ReadonlyArray<Part> => {
  const content = item["content"] ?? null
  if (content === null) return []
  if (typeof content === "string") return [{ form: `text ${JSON.stringify(content)}`, text: content }]
  if (!isList(content)) return [{ form: textOf(content, "item"), text: undefined }]
  return content.map((part) => {
    if (!isObject(part)) return { form: textOf(part, "item"), text: undefined }
    const byModel = part["type"] === "output_text" || part["type"] === "refusal"
    const added = ["annotations", "logprobs"].filter((name) => isList(part[name]))
    const { text, type, ...rest } = given(byModel ? without(part, [...added, "parsed"]) : part)
    const isText = (type === "input_text" || type === "output_text") && typeof text === "string"
    if (isText && Object.keys(rest).length === 0) return { form: `text ${JSON.stringify(text)}`, text }
    return { form: textOf({ ...rest, text: text ?? null, type: type ?? null }, "item"), text: undefined }
  })
}

const formsOf = (parts: ReadonlyArray<Part>) => parts.map(({ form }) => form).join("\n")

/** Halves of a pair in several pieces make no character. */
const wholeText = (parts: ReadonlyArray<Part>) =>
  parts.every(({ text }) => text !== undefined && (parts.length === 1 || text.isWellFormed()))
    ? parts.map(({ text }) => text).join("")
    : undefined

const fits = (theirs: JsonObject, mine: JsonObject): boolean => {
  const rest = (item: JsonObject) =>
    textOf(
      without({ ...counted(item), said: (item["content"] ?? null) !== null }, [
        "type",
        "content",
        ...(typeof item["phase"] === "string" ? ["phase"] : []),
      ]),
      "item",
    )
  const phase = mine["phase"] ?? null
  return (
    typeOf(mine) === "message" &&
    rest(theirs) === rest(mine) &&
    (typeof phase !== "string" || phase === theirs["phase"])
  )
}

const sameReasoning = (theirs: JsonObject, mine: JsonObject): boolean => {
  const shown = (item: JsonObject, name: string) => {
    const value = item[name] ?? null
    if (!isList(value) || name === "encrypted_content") return value === null ? undefined : textOf(value, "item")
    const parts = value.map((part) => (isObject(part) ? given(part) : part))
    return parts.length === 0 ? undefined : textOf(parts, "item")
  }
  const compared = ["encrypted_content", "summary", "content"]
  const rest = (item: JsonObject) =>
    textOf(without(counted(item), [...compared, ...(typeof item["id"] === "string" ? ["id"] : [])]), "item")
  if (rest(theirs) !== rest(mine)) return false
  for (const name of compared) {
    const shownByMe = shown(mine, name)
    if (shownByMe !== undefined && shownByMe !== shown(theirs, name)) return false
  }
  if (shown(mine, "encrypted_content") !== undefined) return true
  if (shown(mine, "id") !== undefined && shown(theirs, "id") !== undefined)
    return shown(mine, "id") === shown(theirs, "id")
  return shown(mine, "summary") === shown(theirs, "summary")
}

/** How many of `mine`, from `at`, may stand for one item of theirs. */
const lengths = (theirs: JsonObject, mine: ReadonlyArray<JsonObject>, at: number): ReadonlyArray<number> => {
  const first = mine[at]
  if (first === theirs) return [1]
  if (first === undefined || typeOf(first) !== typeOf(theirs)) return []
  if (typeOf(theirs) === "reasoning") return sameReasoning(theirs, first) ? [1] : []
  if (typeOf(theirs) !== "message") return formOf(theirs) === formOf(first) ? [1] : []
  if (!fits(theirs, first)) return []
  const whole = partsOf(theirs)
  const text = theirs["role"] === "assistant" ? wholeText(whole) : undefined
  const found: Array<number> = []
  const parts: Array<Part> = []
  for (let count = 1; count <= Math.max(1, whole.length); count++) {
    const next = mine[at + count - 1]
    if (next === undefined || !fits(theirs, next) || (count > 1 && next["role"] !== "assistant")) break
    parts.push(...partsOf(next))
    if (formsOf(parts) === formsOf(whole) || (text !== undefined && text === wholeText(parts))) found.push(count)
  }
  return found
}

/** `leftOut`: the client may have left reasoning out, and nothing else. */
export const sameContext = (
  theirs: ReadonlyArray<JsonObject>,
  mine: ReadonlyArray<JsonObject>,
  known: Known,
  leftOut: boolean,
): boolean => {
  const resolve = (item: JsonObject) =>
    (typeOf(item) === "item_reference" ? known.get(String(item["id"])) : undefined) ?? item
  const upstream = theirs.map(resolve)
  const client = mine.map(resolve)
  const failed = new Set<number>()
  const from = (i: number, j: number): boolean => {
    const item = upstream[i]
    if (item === undefined) return j === client.length
    const place = i * (client.length + 1) + j
    if (failed.has(place)) return false
    if (lengths(item, client, j).some((length) => from(i + 1, j + length))) return true
    if (leftOut && typeOf(item) === "reasoning" && from(i + 1, j)) return true
    failed.add(place)
    return false
  }
  return from(0, 0)
}
