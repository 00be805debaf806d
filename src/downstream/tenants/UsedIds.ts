/**
 * Finds what a tenant's body may not hold: an id that it has no right to, or a member twice, of which it is not known
 * which one the upstream reads.
 *
 * One pass over the bytes, which `parseRequestBody` has checked. No value is made of them but short strings, and there is
 * a pause every 64 KiB, so a large body stops nobody else.
 */
import { type RequestBody, standInFor } from "../../wire/RequestBody.ts"
import type { Member } from "../../wire/Json.ts"
import { byteAt, decodeString, textOf } from "../../wire/JsonString.ts"
import type { Steps } from "../../wire/Steps.ts"
import type { ItemSeen } from "./IdPlaces.ts"
import * as Places from "./IdPlaces.ts"
import { foreignIn, foreignInBytes } from "./IdTexts.ts"

/** What is known of ids, as one scope sees it. */
export interface Rights {
  readonly mayUse: (id: string) => boolean
  readonly isForeign: (id: string) => boolean
  /** Whether there are ids of other signs than letters, digits, `_` and `-`. */
  readonly hasOdd: boolean
}

/** `param`: the top-level member it stands in, as the API's errors name it. */
export type Finding =
  | { readonly _tag: "Duplicate"; readonly param: string }
  | { readonly _tag: "Id"; readonly id: string; readonly param: string }

/** An open object or array. */
interface Frame {
  isObject: boolean
  /** Of the member that is being read; of an array, the name it stands under. */
  name: string
  canonical: string
  /** The name that the object stands under. */
  under: string
  /** A string that comes next is a member's name. */
  isKey: boolean
  free: boolean
  /** Under a name that fetches. */
  fetched: boolean
  /** An object here is an input item. */
  holdsItems: boolean
  isItem: boolean
  readonly item: ItemSeen
  /** The names so far; in a set as well, once they are many. */
  readonly names: Array<string>
  many: Set<string> | undefined
}

const newFrame = (): Frame => ({
  isObject: false,
  name: "",
  canonical: "",
  under: "",
  isKey: false,
  free: false,
  fetched: false,
  holdsItems: false,
  isItem: false,
  item: { ...Places.noItemYet },
  names: [],
  many: undefined,
})

const sliceBytes = 64 * 1024

/** Of one object, names that are told apart. */
const maxNames = 65_536

/** A longer name, in bytes, is read in windows, and a stand-in tells it apart. */
const maxName = 1024

/** The longest string that is read as a value; what is longer is no id. */
const maxValue = 1024

const quote = 0x22
const backslash = 0x5c

/**
 * Where the string ends of which the bytes from `from` on are left; negated, where to go on behind an escaped quotation
 * mark. A quotation mark is found 20 times as fast as the next byte that is to be looked at.
 */
const behindQuote = (bytes: Uint8Array, from: number): number => {
  const at = bytes.indexOf(quote, from)
  let escapes = 0
  while (bytes[at - 1 - escapes] === backslash) escapes++
  return escapes % 2 === 0 ? at + 1 : -(at + 1)
}

/** Whether a name is the first of its kind in its object; false as well where there are too many to tell. */
const isNew = (frame: Frame, name: string): boolean => {
  const { names } = frame
  if (names.length >= 16) {
    const many = (frame.many ??= new Set(names))
    if (many.has(name) || many.size === maxNames) return false
    many.add(name)
  } else if (names.includes(name)) return false
  else names.push(name)
  return true
}

const beginning = (bytes: Uint8Array, start: number): string =>
  textOf(bytes, { start: start + 1, end: start + 1 + maxValue })

/** The members that an item of some type is known by. */
const isNamed = (name: string): name is "role" | "content" | "encrypted_content" | "call_id" =>
  name === "role" || name === "content" || name === "encrypted_content" || name === "call_id"

/** Whether a byte behind a member's colon begins a value. */
const isValue = (byte: number) => byte > 0x20 && byte !== 0x3a && byte !== 0x2c && byte !== 0x7d

/** Whether a number or a literal goes on. */
const isScalar = (byte: number) => byte > 0x2c && byte !== 0x5d && byte !== 0x7d

/** Whether a value is null, or holds nothing. */
const isEmpty = (bytes: Uint8Array, at: number): boolean => {
  const byte = byteAt(bytes, at)
  if (byte === 0x6e) return true
  if (byte === quote) return byteAt(bytes, at + 1) === quote
  if (byte !== 0x5b) return false
  let next = at + 1
  while (byteAt(bytes, next) <= 0x20) next++
  return byteAt(bytes, next) === 0x5d
}

/** A scan of one body. */
class Scan {
  /** The first id that the tenant has no right to. */
  found: Finding | undefined
  readonly #bytes: Uint8Array
  readonly #rights: Rights
  readonly #frames: Array<Frame> = []

  constructor(bytes: Uint8Array, rights: Rights) {
    this.#bytes = bytes
    this.#rights = rights
  }

  /** Reads the value of a top-level member; true: a member of it appears twice. Yields now and then. */
  *member(param: string, { end, keyEnd, keyStart, start }: Member): Steps<boolean> {
    const bytes = this.#bytes
    const note = (id: string | undefined) => {
      if (id !== undefined && this.found === undefined) this.found = { _tag: "Id", id, param }
    }
    let depth = 0
    let frame = this.#root(param)
    note(keyEnd - keyStart > maxName ? yield* this.#inLong(keyStart, keyEnd) : this.#foreign(param))
    for (let i = start, pauseAt = start + sliceBytes; i < end;) {
      if (i >= pauseAt) {
        yield
        pauseAt = i + sliceBytes
      }
      const byte = byteAt(bytes, i)
      if (frame.isItem && !frame.isKey && isValue(byte) && isNamed(frame.name) && !isEmpty(bytes, i)) {
        frame.item[frame.name] = true
      }
      if (byte === quote) {
        let stop = behindQuote(bytes, i + 1)
        for (; stop < 0; stop = behindQuote(bytes, -stop)) {
          if (-stop < pauseAt) continue
          yield
          pauseAt = sliceBytes - stop
        }
        if (frame.isKey) {
          const isLong = stop - i > maxName
          const name = isLong ? yield* standInFor(bytes, { start: i, end: stop }) : decodeString(bytes, i, stop)
          if (!isNew(frame, name)) return true
          frame.name = name
          frame.canonical = Places.canonicalName(name)
          note(isLong ? yield* this.#inLong(i, stop) : this.#foreign(name))
        } else if (stop - i > maxValue || !this.#isShort(frame)) note(yield* this.#long(frame, i, stop))
        else note(this.#short(frame, decodeString(bytes, i, stop)))
        i = stop
        continue
      }
      i++
      if (byte === 0x3a) frame.isKey = false
      else if (byte === 0x2c) frame.isKey = frame.isObject
      else if (byte === 0x7b || byte === 0x5b) frame = this.#open(++depth, byte === 0x7b)
      else if (byte === 0x7d || byte === 0x5d) {
        const { isItem, item } = frame
        if (isItem && item.id !== undefined && Places.isFetched(item) && !this.#rights.mayUse(item.id)) note(item.id)
        frame = this.#frames[--depth] ?? frame
      } else if (byte > 0x20) while (i < pauseAt && i < end && isScalar(byteAt(bytes, i))) i++
    }
    return false
  }

  readonly #isForeign = (id: string): boolean => this.#rights.isForeign(id)

  readonly #foreign = (text: string) => foreignIn(text, this.#rights.hasOdd, this.#isForeign)

  /** The first id of another in a long name, as it is written. */
  #inLong(start: number, end: number): Steps<string | undefined> {
    const { hasOdd } = this.#rights
    return foreignInBytes(this.#bytes, start + 1, end - 1, { where: "anywhere", hasOdd }, this.#isForeign)
  }

  #root(param: string): Frame {
    const frame = this.#open(0, false)
    frame.name = param
    frame.canonical = Places.canonicalName(param)
    frame.fetched = Places.isFetching(frame.canonical) || frame.canonical === "prompt"
    frame.holdsItems = param === "input"
    return frame
  }

  #open(depth: number, isObject: boolean): Frame {
    const frame = this.#frames[depth] ?? newFrame()
    this.#frames[depth] = frame
    frame.names.length = 0
    frame.many = undefined
    const parent = depth === 0 ? undefined : this.#frames[depth - 1]
    frame.isObject = isObject
    frame.isKey = isObject
    // The elements of an array stand where the array does.
    frame.name = isObject ? "" : (parent?.name ?? "")
    frame.canonical = isObject ? "" : (parent?.canonical ?? "")
    frame.under = isObject ? (parent?.canonical ?? "") : (parent?.under ?? "")
    frame.free = parent !== undefined && (parent.free || Places.isFree(parent.canonical))
    frame.fetched = parent !== undefined && (parent.fetched || Places.isFetching(parent.canonical))
    const inItems = parent?.holdsItems === true
    frame.holdsItems = inItems && !isObject
    frame.isItem = inItems && isObject
    if (frame.isItem) Object.assign(frame.item, Places.noItemYet)
    return frame
  }

  /** Whether a string here is one value, and not words. */
  #isShort(frame: Frame): boolean {
    const { canonical, isObject } = frame
    return !Places.isWording(canonical) && !(Places.mayBeJson(canonical) && (isObject || frame === this.#frames[0]))
  }

  #fetches({ canonical, fetched, free, under }: Frame): boolean {
    if (free || under === "variables") return false
    return Places.isFetching(canonical) || (fetched && Places.isIdItself(canonical))
  }

  /** What is wrong with a string that is short enough to be an id. */
  #short(frame: Frame, value: string): string | undefined {
    const { canonical, free, isItem, item, name } = frame
    if (value === "") return undefined
    if (isItem && name === "type") item.type = value
    if (isItem && name === "id") {
      item.id = value
      return this.#isForeign(value) ? value : undefined
    }
    if (this.#fetches(frame) || (frame === this.#frames[0] && canonical === "prompt")) {
      return this.#mayFetch(canonical, value) ? undefined : value
    }
    if (/ids?$/.test(canonical) && this.#isForeign(value)) return value
    const found = this.#foreign(value)
    if (found !== undefined) return found
    const isFetched = !free && Places.isOfAccount(value) && !Places.isOwnText(canonical)
    return isFetched && !this.#rights.mayUse(value) ? value : undefined
  }

  #mayFetch(canonical: string, value: string): boolean {
    // Skills with other names are the API's own.
    if (canonical.startsWith("skill") && !value.startsWith("skill_")) return !this.#isForeign(value)
    return this.#rights.mayUse(value)
  }

  /** What is wrong with a string that holds more than one value, or is too long to be one. */
  *#long(frame: Frame, start: number, stop: number): Steps<string | undefined> {
    const { canonical } = frame
    if (Places.isWording(canonical)) return undefined
    // No id is so long, and an error repeats only the beginning.
    if (frame.isItem && frame.name === "id") frame.item.id = beginning(this.#bytes, start)
    if (this.#fetches(frame)) return beginning(this.#bytes, start)
    const bytes = this.#bytes
    const from = start + 1
    const end = stop - 1
    const { hasOdd } = this.#rights
    if (this.#isShort(frame)) {
      // An image or a file that the client sends itself.
      if (Buffer.from(bytes.buffer, bytes.byteOffset + from, 5).toString("latin1") === "data:") return undefined
      return yield* foreignInBytes(bytes, from, end, { where: "anywhere", hasOdd }, this.#isForeign)
    }
    let first = from
    while (first < end && byteAt(bytes, first) <= 0x20) first++
    // White space may be written as an escape, and so may a bracket.
    if (!opening.has(byteAt(bytes, first))) return undefined
    return yield* foreignInBytes(bytes, from, end, { where: "whole", hasOdd }, this.#isForeign)
  }
}

/** How JSON in a string may begin. */
const opening: ReadonlySet<number> = new Set([0x7b, 0x5b, quote, backslash])

/** The first that a body may not hold; undefined where it may be sent. */
export function* findIn({ bytes, members }: RequestBody, rights: Rights): Steps<Finding | undefined> {
  const scan = new Scan(bytes, rights)
  for (const [param, member] of members) {
    if (yield* scan.member(param, member)) return { _tag: "Duplicate", param }
  }
  return scan.found
}
