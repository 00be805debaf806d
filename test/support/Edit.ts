/**
 * One change to a client's input, of the kinds that make it another history: a character, an item, a place.
 */
import type { Choices } from "./JsonTexts.ts"
import { isList, isObject, type Json, type JsonObject, Num, read, respelled, write } from "./JsonValue.ts"

/** Members that never count, and an arguments' copy. Whether a status does depends on the item. */
const silent: ReadonlySet<string> = new Set([
  "annotations",
  "logprobs",
  "parsed",
  "parsed_arguments",
  "created_by",
  "unknown",
])

type Path = ReadonlyArray<string | number>

/** Paths of all values in an item that count. */
const pathsOf = (value: Json, path: Path = []): ReadonlyArray<Path> => {
  if (isList(value)) return [path, ...value.flatMap((element, index) => pathsOf(element, [...path, index]))]
  if (!isObject(value)) return [path]
  return [
    path,
    ...Object.entries(value)
      .filter(([name]) => !silent.has(name))
      .flatMap(([name, member]) => pathsOf(member, [...path, name])),
  ]
}

const at = (value: Json, path: Path): Json => {
  const [step, ...rest] = path
  if (step === undefined) return value
  const next = isList(value) ? value[Number(step)] : isObject(value) ? value[step] : undefined
  return at(next ?? null, rest)
}

const set = (value: Json, path: Path, to: (before: Json) => Json): Json => {
  const [step, ...rest] = path
  if (step === undefined) return to(value)
  if (isList(value)) return value.map((element, index) => (index === step ? set(element, rest, to) : element))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, name === step ? set(member, rest, to) : member]),
  )
}

const characters = ["a", "b", " ", "0", "\n", "é", "\ud83d", "\ude00", "\ufffd", "\u0000"]

const otherText = (text: string, choices: Choices): string => {
  const place = choices.below(text.length + 1)
  switch (choices.below(4)) {
    case 0:
      return text.slice(0, place) + text.slice(place + 1)
    case 1:
      return text.slice(0, place) + choices.of(characters) + text.slice(place)
    case 2:
      return text.normalize("NFC")
    default:
      return text.slice(0, place) + choices.of(characters) + text.slice(place + 1)
  }
}

const otherValue = (value: Json, choices: Choices): Json => {
  if (typeof value === "string") return otherText(value, choices)
  if (value instanceof Num)
    return new Num(choices.of(["1", "1.0", "0", "9007199254740992", "9007199254740993", "1e400"]))
  if (typeof value === "boolean") return !value
  if (value === null) return choices.of<Json>([false, "", new Num("0"), []])
  if (isList(value)) {
    const place = choices.below(Math.max(1, value.length))
    const element = value[place]
    if (element === undefined) return ["a"]
    switch (choices.below(4)) {
      case 0:
        return value.toSpliced(place, 1)
      case 1:
        return value.toSpliced(place, 0, element)
      case 2:
        return [...value.toSpliced(place, 1), element]
      default:
        return [...value, "a"]
    }
  }
  const names = Object.keys(value)
  const name = names[choices.below(Math.max(1, names.length))] ?? ""
  switch (choices.below(3)) {
    case 0:
      return Object.fromEntries(Object.entries(value).filter(([other]) => other !== name))
    case 1:
      return { ...value, more: choices.of<Json>(["a", new Num("1"), false, {}]) }
    default:
      return Object.fromEntries(
        Object.entries(value).map(([other, member]) => [other === name ? `${other}x` : other, member]),
      )
  }
}

const lone = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

/** An object without one of the members that are null, or with one more. */
const otherNulls = (value: Json, choices: Choices): Json => {
  if (!isObject(value)) return value
  const names = Object.keys(value).filter((name) => value[name] === null)
  if (names.length === 0) return { ...value, [choices.of(["const", "default", "a"])]: null }
  const name = choices.of(names)
  return Object.fromEntries(Object.entries(value).filter(([other]) => other !== name))
}

const halves = ["\ud83d", "\ude00", "\ufffd"]

const mark = "\ufeff"

/** What stands behind a byte order mark, in other words, with more behind it, or with another value in it. */
const behindMark = (text: string, choices: Choices): string => {
  const value = read(text.slice(mark.length))
  if (value === undefined) return text
  switch (choices.below(4)) {
    case 0:
      return mark + respelled(value, choices)
    case 1:
      return `${text}${choices.of([" ", "\n", " \t"])}`
    case 2:
      return text.replace(/\b(\d+)\b(?![.eE"])/, "$1.0")
    default:
      return mark + write(otherValue(value, choices), choices.of(["", " "] as const))
  }
}

/** Texts that some reader takes for the same JSON. */
const otherSpelling = (text: string, choices: Choices): string => {
  switch (choices.below(6)) {
    case 0:
      return text.replace(lone, (half) => `\\u${half.charCodeAt(0).toString(16)}`)
    case 1:
      return text.replace(/\\u(d83d|de00)/, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
    case 2:
      return text.replace(/(?<=[:,[\s])(-?)0(?=[\s,\]}])/, (_, sign: string) => (sign === "" ? "-0" : "0"))
    case 3:
      return text.startsWith(mark) ? text.slice(mark.length) : `${mark}${text}`
    case 4:
      return text.replace(lone, () => choices.of(halves))
    default: {
      const value = read(text)
      return value === undefined ? text : write(otherNulls(value, choices))
    }
  }
}

const statuses: ReadonlyArray<Json> = ["completed", "failed", "incomplete", new Num("1"), null, null]

const ids: ReadonlyArray<Json> = ["msg_0_0", "rs_0_1", "ws_x", "\ud83d", "\ude00", new Num("1"), null]

const argumentsOf = (item: JsonObject): string => (typeof item["arguments"] === "string" ? item["arguments"] : "")

const pair = /[\ud800-\udbff][\udc00-\udfff]/

/** The text of an assistant's message that is nothing but one; else an empty one. */
const saidBy = ({ content, role }: JsonObject): string => {
  const [part, ...more] = isList(content) ? content : [{ text: content ?? null }]
  const text = role === "assistant" && more.length === 0 && isObject(part) ? part["text"] : undefined
  return typeof text === "string" ? text : ""
}

/** The text in two parts, each with half of its first pair: two pieces make no character. */
const inHalves = (text: string): Json => {
  const middle = text.search(pair) + 1
  return [text.slice(0, middle), text.slice(middle)].map((half) => ({ type: "output_text", text: half }))
}

/** Changes of what some rule may take for nothing, in items that have it. */
const slight: ReadonlyArray<{
  readonly of: (item: JsonObject) => boolean
  readonly change: (item: JsonObject, choices: Choices) => Json
}> = [
  { of: () => true, change: (item, choices) => ({ ...item, id: choices.of(ids) }) },
  {
    of: ({ id }) => typeof id === "string" && lone.test(id),
    change: (item, choices) => ({ ...item, id: choices.of(halves) }),
  },
  {
    of: ({ status }) => status !== undefined,
    change: (item, choices) => ({ ...item, status: choices.of(statuses) }),
  },
  {
    of: () => true,
    change: (item, choices) => {
      const path = choices.of(pathsOf(item).filter((path) => isObject(at(item, path))))
      return set(item, path, (before) => otherNulls(before, choices))
    },
  },
  {
    of: (item) => typeof item["arguments"] === "string",
    change: (item, choices) => ({ ...item, arguments: otherSpelling(argumentsOf(item), choices) }),
  },
  {
    of: (item) => argumentsOf(item).startsWith(mark),
    change: (item, choices) => ({ ...item, arguments: behindMark(argumentsOf(item), choices) }),
  },
  {
    of: (item) => lone.test(argumentsOf(item)),
    change: (item, choices) => ({ ...item, arguments: argumentsOf(item).replace(lone, () => choices.of(halves)) }),
  },
  { of: (item) => pair.test(saidBy(item)), change: (item) => ({ ...item, content: inHalves(saidBy(item)) }) },
  {
    of: () => true,
    change: (item, choices) => ({
      ...item,
      [choices.of(["created_by", "parsed_arguments", "more"])]: choices.of<Json>(["a", [], null]),
    }),
  },
]

/** One of those that the input has a place for: what is rare in a history must not be rare among its edits, too. */
const slightly = (input: ReadonlyArray<JsonObject>, choices: Choices): ReadonlyArray<JsonObject> => {
  const possible = slight.flatMap(({ change, of }) => {
    const places = [...input.keys()].filter((place) => of(input[place] ?? {}))
    return places.length === 0 ? [] : [{ change, places }]
  })
  if (possible.length === 0) return input
  const { change, places } = choices.of(possible)
  const place = choices.of(places)
  const changed = change(input[place] ?? {}, choices)
  return isObject(changed) ? input.with(place, changed) : input
}

/** Values of members that decide what an item is. */
const members: ReadonlyArray<readonly [string, ReadonlyArray<Json>]> = [
  ["role", ["user", "assistant", "developer", "system"]],
  ["phase", ["commentary", "final_answer", null]],
  ["type", ["message", "reasoning", "function_call", "function_call_output", "compaction", "item_reference"]],
  ["name", ["get_weather", "get_time", "apply"]],
  ["call_id", ["call_0_0", "call_0_1", "call_1_0", "call_1_1"]],
  ["id", ["msg_0_0", "rs_0_0", "rs_0_1", "rs_1_0", "msg_1_1"]],
  ["encrypted_content", ["ENC same", "ENC rs_0_0", null]],
]

const foreign: ReadonlyArray<JsonObject> = [
  { role: "user", content: "a" },
  { role: "assistant", content: "a" },
  { type: "item_reference", id: "msg_0_0" },
  { type: "reasoning", id: "rs_x", summary: [] },
  { type: "reasoning", summary: [], encrypted_content: "ENC same" },
  { type: "function_call", call_id: "call_0_0", name: "get_time", arguments: "{}" },
]

/** The input with one thing changed, or, now and then, with nothing. */
export const edited = (input: ReadonlyArray<JsonObject>, choices: Choices): ReadonlyArray<JsonObject> => {
  const place = choices.below(Math.max(1, input.length))
  const other = choices.below(Math.max(1, input.length))
  const item = input[place]
  const second = input[other]
  if (item === undefined || second === undefined) return input
  const inside = (change: (item: JsonObject) => Json) => {
    const result = change(item)
    return isObject(result) ? input.with(place, result) : input
  }
  switch (choices.below(18)) {
    case 0:
      return input.toSpliced(place, 1)
    case 1:
      return input.with(place, second).with(other, item)
    case 2:
      return input.toSpliced(place, 0, item)
    case 3:
      return input.toSpliced(place, 1).toSpliced(other, 0, item)
    case 4:
      return input.toSpliced(place, 0, choices.of(foreign))
    case 5: {
      const [name, values] = choices.of(members)
      return inside((item) => ({ ...item, [name]: choices.of(values) }))
    }
    case 6: {
      // The text of one message moves over to the next.
      const [a, b] = [item["content"], input[place + 1]?.["content"]]
      if (typeof a !== "string" || typeof b !== "string") return input
      return input.with(place, { ...item, content: "" }).with(place + 1, { ...input[place + 1], content: a + b })
    }
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
      return slightly(input, choices)
    default: {
      const path = choices.of(pathsOf(item))
      return inside((item) => set(item, path, () => otherValue(at(item, path), choices)))
    }
  }
}
