/**
 * The machine that reads a JSON text byte by byte: `Json.ts` says what it finds, and for whom.
 *
 * One pass, no recursion, nothing allocated per byte. What it needs to go on is in `Paused`, in local variables while it
 * runs. It can stop at any byte, inside of a string or a number too.
 */
import { Result } from "effect"
import { behindNumber, behindString, behindWord, stoppedAt, stoppedIn } from "./JsonScalar.ts"
import { byteAt, decodeString, type Span } from "../JsonString.ts"

/** One member of an object. The span is the value's; the key's text with its quotes lies at `keyStart`..`keyEnd`. */
export interface Member extends Span {
  /** Decoded: `"\u0069nput"` is `input`. Of a name over `maxName` bytes it says only that (`longName`). */
  readonly key: string
  readonly keyStart: number
  readonly keyEnd: number
  /** Spans of the elements, if the value is an array, the key was asked for, and they are not too many. */
  readonly elements: ReadonlyArray<Span> | undefined
}

type JsonErrorReason = "not_json" | "not_object" | "too_deep" | "too_many_members" | "invalid_utf8"

export interface JsonError {
  readonly reason: JsonErrorReason
  readonly message: string
  /** Byte offset of the first byte that does not fit; of invalid UTF-8 only the text's start is given. */
  readonly position: number
}

export interface ScanOptions {
  /** Where the text begins and ends in the bytes. Default: it fills them. */
  readonly start?: number
  readonly end?: number
  /** True: the text is known to be UTF-8, as what an encoder made, or a part of what was looked at before. */
  readonly isUtf8?: boolean
  /** The name of the array of which the elements are wanted. */
  readonly elementsOf?: string
  /** The text up to here is known, so that only the rest is read; `start` is not looked at. */
  readonly known?: KnownText
  /** Gets the spans of all values that are strings of more than `maxShort` bytes, in their order. */
  readonly long?: Array<Span>
}

/** The first bytes of a text, known from an earlier scan. They end right behind an element of the array asked for. */
export interface KnownText {
  /** In bytes. */
  readonly length: number
  /** Members that are whole, in the text's order. */
  readonly members: ReadonlyArray<Member>
  /** The member that holds the array: its key, and where its value begins. */
  readonly open: Pick<Member, "key" | "keyStart" | "keyEnd" | "start">
}

/** Open objects and arrays at one time; more is `too_deep`. */
export const maxDepth = 512

/** Members of the object itself; more is `too_many_members`. The API has some thirty. */
const maxMembers = 1000

/** The longest name that is decoded, in bytes as it is written. The API has none of 50. */
const maxName = 1024

/** Stands for the name of a member that is longer; several such names may be different. */
export const longName = "a name of more than 1 KiB"

/** A longer string, in bytes, is one of those in `long`. */
export const maxShort = 1 << 16

/** Elements that are told apart; of an array with more, or with more values than `maxValues` in all, none is. */
const maxElements = 65_536

/** Values inside an array whose elements are wanted, at every depth, names included. */
const maxValues = 1 << 19

// A step of a scan is synchronous and calls no other code, so that all scans can share one stack.
const stack = new Uint8Array(maxDepth + 1)

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Index behind the string, number or word that begins at `at`; `-1 - position` of what is wrong, or where it stopped. */
const behindScalar = (bytes: Uint8Array, at: number, end: number, stop: number): number => {
  const byte = byteAt(bytes, at)
  if (byte === 0x22) return behindString(bytes, at + 1, end, stop)
  return byte === 0x2d || (byte >= 0x30 && byte <= 0x39)
    ? behindNumber(bytes, at, end, stop)
    : behindWord(bytes, at, end)
}

export const refuse = (reason: JsonErrorReason, message: string, position: number): Result.Result<never, JsonError> =>
  Result.fail({ reason, message, position })

export const expected = (what: string, position: number, end: number): Result.Result<never, JsonError> =>
  position >= end
    ? refuse("not_json", "The JSON text ends too early", position)
    : refuse("not_json", `Expected ${what} at byte ${position}`, position)

// What the scan expects next. The two `OrClose` hold behind an opening bracket: behind a comma nothing may close.
const keyOrClose = 0
const key = 1
const valueOrClose = 2
export const value = 3
export const commaOrClose = 4
const nothing = 5
const colon = 6
// Inside of a scalar or a name that was too long for one step.
const inKey = 7
const inString = 8
const inNumber = 9

export const openObject = 0x7b
const closeObject = 0x7d
export const openArray = 0x5b
const closeArray = 0x5d

/** Where a scan goes on. */
export interface Paused {
  /** Up to here the text is UTF-8. */
  utf8: number
  i: number
  next: number
  part: number
  readonly members: Array<Member>
  rootStart: number
  isObject: boolean
  memberKey: string
  keyStart: number
  keyEnd: number
  memberStart: number
  elementStart: number
  scalarStart: number
  elements: Array<Span> | undefined
  values: number
  depth: number
  stack: Uint8Array
}

export type Scanned = Result.Result<ReadonlyArray<Member>, JsonError>

/** Reads on from where `paused` says, up to `stop`, and leaves there where it got to; undefined: there is more to read. */
export const scan = (bytes: Uint8Array, options: ScanOptions, paused: Paused, stop: number): Scanned | undefined => {
  const end = options.end ?? bytes.length
  const { elementsOf, long } = options
  const { members } = paused
  let { i, next, rootStart, isObject, memberKey, keyStart, keyEnd, memberStart } = paused
  let { elementStart, elements, values, depth, scalarStart } = paused
  stack.set(paused.stack)

  for (;;) {
    if (next < inKey) while (i < stop && isSpace(byteAt(bytes, i))) i++
    if (i >= stop) {
      if (i >= end) break
      const { part } = paused
      Object.assign(paused, { i, next, part, rootStart, isObject, memberKey, keyStart, keyEnd, memberStart })
      Object.assign(paused, { elementStart, elements, values, depth, scalarStart, stack: stack.slice(0, depth + 1) })
      return undefined
    }
    const byte = byteAt(bytes, i)
    let ended = false
    switch (next) {
      case keyOrClose:
      case key:
      case inKey: {
        if (next === keyOrClose && byte === closeObject) {
          depth--
          i++
          ended = true
          break
        }
        if (next !== inKey) {
          if (byte !== 0x22) return expected("a member's name", i, end)
          scalarStart = i++
        }
        const behind = behindString(bytes, i, end, stop)
        if (behind < 0) return expected("a string", -1 - behind, end)
        if (behind > end) {
          i = stoppedAt(behind, end)
          next = inKey
          break
        }
        values++
        if (depth === 1) {
          if (isObject && members.length === maxMembers) {
            return refuse("too_many_members", `The object has more than ${maxMembers} members`, scalarStart)
          }
          memberKey = behind - scalarStart > maxName ? longName : decodeString(bytes, scalarStart, behind)
          keyStart = scalarStart
          keyEnd = behind
        }
        i = behind
        next = colon
        break
      }
      case colon: {
        if (byte !== 0x3a) return expected("a colon", i, end)
        i++
        next = value
        break
      }
      case valueOrClose:
      case value: {
        if (byte === closeArray && next === valueOrClose) {
          depth--
          i++
          ended = true
          break
        }
        values++
        if (depth === 1) memberStart = i
        else if (depth === 2) elementStart = i
        else if (depth === 0) rootStart = i
        if (byte === openObject || byte === openArray) {
          if (depth === maxDepth) return refuse("too_deep", `Nested deeper than ${maxDepth} levels`, i)
          if (depth === 0) isObject = byte === openObject
          else if (depth === 1) {
            values = 0
            elements = byte === openArray && isObject && memberKey === elementsOf ? [] : undefined
          }
          stack[++depth] = byte
          i++
          next = byte === openObject ? keyOrClose : valueOrClose
          break
        }
        scalarStart = i
        const behind = behindScalar(bytes, i, end, stop)
        if (behind < 0) return expected("a value", -1 - behind, end)
        if (behind > end) {
          i = stoppedAt(behind, end)
          next = byte === 0x22 ? inString : inNumber
          paused.part = stoppedIn()
          break
        }
        i = behind
        if (i - scalarStart > maxShort && byte === 0x22) long?.push({ start: scalarStart, end: i })
        ended = true
        break
      }
      case inString:
      case inNumber: {
        const behind =
          next === inString ? behindString(bytes, i, end, stop) : behindNumber(bytes, i, end, stop, paused.part)
        if (behind < 0) return expected("a value", -1 - behind, end)
        if (behind > end) {
          i = stoppedAt(behind, end)
          paused.part = stoppedIn()
          break
        }
        i = behind
        if (i - scalarStart > maxShort && next === inString) long?.push({ start: scalarStart, end: i })
        ended = true
        break
      }
      case commaOrClose: {
        const open = byteAt(stack, depth)
        if (byte === 0x2c) next = open === openObject ? key : value
        else if (byte === (open === openObject ? closeObject : closeArray)) {
          depth--
          ended = true
        } else return expected("a comma or the end of the list", i, end)
        i++
        break
      }
      default:
        return expected("the end of the text", i, end)
    }
    if (ended) {
      next = depth === 0 ? nothing : commaOrClose
      if (depth === 1 && isObject) {
        members.push({ key: memberKey, keyStart, keyEnd, start: memberStart, end: i, elements })
        elements = undefined
      } else if (depth === 2 && elements !== undefined) {
        if (elements.length === maxElements || values > maxValues) elements = undefined
        else elements.push({ start: elementStart, end: i })
      }
    }
  }
  if (next !== nothing) return expected("more", end, end)
  return isObject ? Result.succeed(members) : refuse("not_object", "The JSON text is not an object", rootStart)
}
