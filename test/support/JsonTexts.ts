/**
 * JSON texts for the property tests: values as trees, spelled in many ways, and damaged on purpose.
 *
 * Everything is drawn from a list of numbers, so a failing case shrinks to a short list and to a small text.
 */
import { Arbitrary, Schema } from "effect"
import { ownMembers } from "./OwnMembers.ts"

/** A JSON value with its numbers as written and its members in order, repeated names included. */
export type Tree =
  | { readonly _tag: "Scalar"; readonly text: string }
  | { readonly _tag: "Text"; readonly value: string }
  | { readonly _tag: "List"; readonly items: ReadonlyArray<Tree> }
  | { readonly _tag: "Object"; readonly members: ReadonlyArray<readonly [string, Tree]> }

const elementAt = <A>(list: ReadonlyArray<A>, at: number): A => {
  const element = list[at]
  if (element === undefined) throw new RangeError(`nothing at ${at}`)
  return element
}

/** Numbers to draw from; when they run out every choice is the first one, which ends the drawing. */
export class Choices {
  #next = 0
  readonly #numbers: ReadonlyArray<number>
  constructor(numbers: ReadonlyArray<number>) {
    this.#numbers = numbers
  }
  /** A number from 0 to `count` - 1. */
  below(count: number): number {
    return (this.#numbers[this.#next++] ?? 0) % count
  }
  of<A>(list: ReadonlyArray<A>): A {
    return elementAt(list, this.below(list.length))
  }
}

export const numbers: Arbitrary.Arbitrary<ReadonlyArray<number>> = Arbitrary.array(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99_991 }))),
  { minLength: 8, maxLength: 300 },
)

// Few pieces, so that equal names, equal values and near misses are frequent.
const pieces = [
  "",
  "a",
  "b",
  "input",
  "é",
  "漢",
  "😀",
  "\ud83d",
  "\ude00",
  "\u0000",
  "\n",
  "\u001f",
  "/",
  "\\",
  '"',
  "\u007f",
  "\ufeff",
  "\u2028",
  " ",
  "u00e9",
]
const scalars = [
  "null",
  "true",
  "false",
  "0",
  "-0",
  "1",
  "1.0",
  "1e0",
  "10",
  "0.1",
  "-1.5E+10",
  "9007199254740993",
  "9007199254740992",
  "1e400",
]

const drawString = (choices: Choices): string => {
  let text = choices.of(pieces)
  for (let more = choices.below(4); more > 0; more--) text += choices.of(pieces)
  // Long enough to leave the short paths, now and then.
  return choices.below(12) === 11 ? text.padEnd(90, "plain text ") : text
}

export const drawTree = (choices: Choices, depth = 0): Tree => {
  const kind = choices.below(depth > 5 ? 3 : 6)
  if (kind <= 1) return { _tag: "Scalar", text: choices.of(scalars) }
  if (kind === 2) return { _tag: "Text", value: drawString(choices) }
  if (kind === 3)
    return { _tag: "List", items: Array.from({ length: choices.below(4) }, () => drawTree(choices, depth + 1)) }
  return drawObject(choices, depth)
}

export const drawObject = (choices: Choices, depth = 0): Extract<Tree, { _tag: "Object" }> => ({
  _tag: "Object",
  // Now and then more members than are sorted by insertion.
  members: Array.from({ length: choices.below(20) === 19 ? 24 : choices.below(5) }, () => [
    drawString(choices),
    drawTree(choices, depth + 1),
  ]),
})

/** Objects like a request body: names appear once, `input` is mostly a list. */
export const drawBody = (choices: Choices): Extract<Tree, { _tag: "Object" }> => {
  const members = new Map<string, Tree>()
  const names = ["model", ...ownMembers, "previous_response_id", "instructions", "x/é"]
  for (let count = choices.below(7); count > 0; count--) members.set(choices.of(names), drawTree(choices, 2))
  const list = { _tag: "List", items: Array.from({ length: choices.below(5) }, () => drawTree(choices, 2)) } as const
  if (choices.below(5) > 0) members.set("input", list)
  else members.set("input", drawTree(choices, 2))
  for (let count = choices.below(3); count > 0; count--) members.set(drawString(choices), drawTree(choices, 2))
  return { _tag: "Object", members: [...members] }
}

const spellString = (value: string, choices: Choices): string => {
  let text = '"'
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0
    const short: Record<string, string> = {
      '"': '\\"',
      "\\": "\\\\",
      "\b": "\\b",
      "\f": "\\f",
      "\n": "\\n",
      "\r": "\\r",
      "\t": "\\t",
      "/": "\\/",
    }
    const way = choices.below(3)
    const lone = code >= 0xd800 && code <= 0xdfff
    if (way === 0 && !lone && code >= 0x20 && character !== '"' && character !== "\\") text += character
    else if (way === 1 && short[character] !== undefined) text += short[character]
    else {
      for (let i = 0; i < character.length; i++) {
        const digits = character.charCodeAt(i).toString(16).padStart(4, "0")
        text += `\\u${choices.below(2) === 0 ? digits : digits.toUpperCase()}`
      }
    }
  }
  return `${text}"`
}

const space = (choices: Choices): string => (choices.below(4) === 3 ? choices.of([" ", "\n", "\r\n", "\t", "  "]) : "")

const shuffled = (members: ReadonlyArray<readonly [string, Tree]>, choices: Choices) => {
  const names = new Set(members.map(([name]) => name))
  const rest = [...members]
  if (names.size < rest.length) return rest
  const result: Array<readonly [string, Tree]> = []
  while (rest.length > 0) result.push(...rest.splice(choices.below(rest.length), 1))
  return result
}

/** One of the texts for a tree: white space, spelling and, with `shuffle`, the order of members are drawn. */
export const spell = (tree: Tree, choices: Choices, shuffle = false): string => {
  const write = (value: Tree): string => {
    switch (value._tag) {
      case "Scalar":
        return value.text
      case "Text":
        return spellString(value.value, choices)
      case "List":
        return `[${space(choices)}${value.items.map((item) => write(item) + space(choices)).join(`,${space(choices)}`)}]`
      case "Object": {
        const members = shuffle ? shuffled(value.members, choices) : value.members
        const texts = members.map(
          ([name, member]) =>
            `${spellString(name, choices)}${space(choices)}:${space(choices)}${write(member)}${space(choices)}`,
        )
        return `{${space(choices)}${texts.join(`,${space(choices)}`)}}`
      }
    }
  }
  return `${space(choices)}${write(tree)}${space(choices)}`
}

const sameAt = (a: Tree, b: Tree | undefined): boolean => b !== undefined && same(a, b)

/** Equality in the sense of the canonical form, decided on trees. */
export const same = (a: Tree, b: Tree): boolean => {
  if (a._tag === "Scalar") return b._tag === "Scalar" && a.text === b.text
  if (a._tag === "Text") return b._tag === "Text" && a.value === b.value
  if (a._tag === "List") {
    return (
      b._tag === "List" && a.items.length === b.items.length && a.items.every((item, i) => sameAt(item, b.items[i]))
    )
  }
  if (b._tag !== "Object" || a.members.length !== b.members.length) return false
  return a.members.every(([name]) => {
    const mine = a.members.filter(([other]) => other === name)
    const theirs = b.members.filter(([other]) => other === name)
    return mine.length === theirs.length && mine.every(([, value], i) => sameAt(value, theirs[i]?.[1]))
  })
}

export const hasDuplicate = (tree: Tree): boolean => {
  if (tree._tag === "List") return tree.items.some(hasDuplicate)
  if (tree._tag !== "Object") return false
  const names = new Set(tree.members.map(([name]) => name))
  return names.size < tree.members.length || tree.members.some(([, value]) => hasDuplicate(value))
}

/** The tree with one thing in it changed, or perhaps nothing. */
export const changed = (tree: Tree, choices: Choices): Tree => {
  if (tree._tag === "List" && tree.items.length > 0 && choices.below(4) > 0) {
    const at = choices.below(tree.items.length)
    if (choices.below(3) === 0) return { _tag: "List", items: tree.items.toSpliced(at, 1) }
    return { _tag: "List", items: tree.items.map((item, i) => (i === at ? changed(item, choices) : item)) }
  }
  if (tree._tag === "Object" && tree.members.length > 0 && choices.below(4) > 0) {
    const at = choices.below(tree.members.length)
    const [name, value] = elementAt(tree.members, at)
    switch (choices.below(4)) {
      case 0:
        return { _tag: "Object", members: tree.members.toSpliced(at, 1) }
      case 1:
        return { _tag: "Object", members: [...tree.members.toSpliced(at, 1), [name, value]] }
      case 2:
        return { _tag: "Object", members: tree.members.with(at, [drawString(choices), value]) }
      default:
        return { _tag: "Object", members: tree.members.with(at, [name, changed(value, choices)]) }
    }
  }
  return drawTree(choices, 4)
}

const debris = [
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  ":",
  "\\",
  "u",
  "n",
  "t",
  "0",
  "-",
  "1",
  ".",
  "e",
  "+",
  " ",
  "\t",
  "\u0001",
  "\u000b",
  "é",
  "\ufeff",
  "null",
  '"a":',
  "\\u00",
  "'",
  "/",
]

/** The text with one piece taken out, put in or put in place of another. */
export const damaged = (text: string, choices: Choices): string => {
  const at = choices.below(text.length + 1)
  const length = choices.below(3)
  return text.slice(0, at) + (choices.below(3) === 0 ? "" : choices.of(debris)) + text.slice(at + length)
}
