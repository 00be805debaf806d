/**
 * JSON values whose numbers stay as they are written, for tests in which `1.0` and `1`, or 2^53 and 2^53+1, differ.
 */
import { type Choices, spell, type Tree } from "./JsonTexts.ts"

export class Num {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Json = null | boolean | string | Num | ReadonlyArray<Json> | JsonObject

export interface JsonObject {
  readonly [name: string]: Json
}

export const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !isList(value) && !(value instanceof Num)

/** Python's `json.dumps` has a space behind `:` and `,`; `JSON.stringify` has none. */
export const write = (value: Json, space: "" | " " = ""): string => {
  if (value === null || typeof value === "boolean") return String(value)
  if (typeof value === "string") return JSON.stringify(value)
  if (value instanceof Num) return value.text
  if (isList(value)) return `[${value.map((element) => write(element, space)).join(`,${space}`)}]`
  const members = Object.entries(value).map(
    ([name, member]) => `${JSON.stringify(name)}:${space}${write(member, space)}`,
  )
  return `{${members.join(`,${space}`)}}`
}

const toTree = (value: Json): Tree => {
  if (value === null || typeof value === "boolean") return { _tag: "Scalar", text: String(value) }
  if (typeof value === "string") return { _tag: "Text", value }
  if (value instanceof Num) return { _tag: "Scalar", text: value.text }
  if (isList(value)) return { _tag: "List", items: value.map(toTree) }
  return { _tag: "Object", members: Object.entries(value).map(([name, member]) => [name, toTree(member)]) }
}

/** The same value with white space, escapes and the order of members drawn. */
export const respelled = (value: Json, choices: Choices): string => spell(toTree(value), choices, true).trim()

const scalar = /\s*(?:("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)|(true|false|null)|([[{]))/y

/** Undefined for a text that is no JSON. Of a name that stands twice the last one counts, as for `JSON.parse`. */
export const read = (text: string): Json | undefined => {
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  let at = 0
  const skip = (expected: string): boolean => {
    while (" \t\r\n".includes(text[at] ?? "x")) at++
    if (text[at] !== expected) return false
    at++
    return true
  }
  const value = (): Json => {
    scalar.lastIndex = at
    const [whole = "", string, number, literal, opening] = scalar.exec(text) ?? []
    at += whole.length
    if (string !== undefined) return JSON.parse(string) as string
    if (number !== undefined) return new Num(number)
    if (literal !== undefined) return literal === "null" ? null : literal === "true"
    if (opening === "[") {
      const elements: Array<Json> = []
      if (skip("]")) return elements
      do elements.push(value())
      while (skip(","))
      skip("]")
      return elements
    }
    const members: Array<[string, Json]> = []
    if (skip("}")) return {}
    do {
      const name = String(value())
      skip(":")
      members.push([name, value()])
    } while (skip(","))
    skip("}")
    return Object.fromEntries(members)
  }
  return value()
}
