/**
 * Finds where a string, a number or a word of a JSON text ends, and checks it on the way.
 *
 * Each can be longer than one step of work should read. So a function stops at `stop`, which is no place inside of an
 * escape, and says where it can go on: as `stoppedAt`, an index behind the text's end, which no other answer is.
 */
import { isUtf8 } from "node:buffer"
import { byteAt, plainEnd } from "../JsonString.ts"

/** What may follow a backslash: 1 for one letter, 2 for `u` and four hexadecimal digits. */
const escapeClass = new Uint8Array(256)
for (const letter of '"\\/bfnrt') escapeClass[letter.charCodeAt(0)] = 1
escapeClass[0x75] = 2

const hexDigit = new Uint8Array(256)
for (const digit of "0123456789abcdefABCDEF") hexDigit[digit.charCodeAt(0)] = 1

/** The answer that says: stopped at this index of a text that ends at `end`. */
const stopped = (at: number, end: number): number => end + 1 + at

/** Where to go on, if the answer says so; -1: it says something else. */
export const stoppedAt = (answer: number, end: number): number => answer - end - 1

/** Index behind the closing quote of the string whose content goes on at `at`; `-1 - position` of what is wrong. */
export const behindString = (bytes: Uint8Array, at: number, end: number, stop = end): number => {
  let i = at
  for (;;) {
    i = plainEnd(bytes, i, stop)
    if (i >= end) return -1 - end
    if (i >= stop) return stopped(i, end)
    const byte = byteAt(bytes, i)
    if (byte === 0x22) return i + 1
    if (byte !== 0x5c) return -1 - i
    if (i + 1 >= end) return -1 - end
    const escape = byteAt(escapeClass, byteAt(bytes, i + 1))
    if (escape === 0) return -2 - i
    i += 2
    if (escape === 2) {
      for (const last = i + 4; i < last; i++) if (i >= end || hexDigit[byteAt(bytes, i)] === 0) return -1 - i
    }
  }
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39

const behindDigits = (bytes: Uint8Array, at: number, stop: number): number => {
  let i = at
  while (i < stop && isDigit(byteAt(bytes, i))) i++
  return i
}

/** The parts of a number, each a run of digits. */
const start = 0
const integer = 1
const fraction = 2
const exponent = 3

// Which part the last answer stopped in: whoever goes on with it has kept it.
let part = start

/** In which part of a number `behindNumber` has stopped just now. */
export const stoppedIn = (): number => part

/**
 * Index behind the number that begins at `at`, or goes on there in the part in which it stopped; `-1 - position` of what is
 * wrong. Reads no byte from `end` on.
 */
export const behindNumber = (bytes: Uint8Array, at: number, end: number, stop = end, goesOn = start): number => {
  let i = at
  part = goesOn
  if (part === start) {
    if (byteAt(bytes, i) === 0x2d) i++
    if (i >= end || !isDigit(byteAt(bytes, i))) return -1 - i
    part = integer
    if (byteAt(bytes, i) === 0x30) {
      i++
      if (i < end && isDigit(byteAt(bytes, i))) return i
    }
  }
  for (;;) {
    i = behindDigits(bytes, i, Math.max(stop, i))
    if (i >= stop && stop < end) return stopped(i, end)
    const byte = i < end ? byteAt(bytes, i) : 0
    if (part === integer && byte === 0x2e) part = fraction
    else if (part < exponent && (byte | 0x20) === 0x65) {
      part = exponent
      if (i + 1 < end && (byteAt(bytes, i + 1) === 0x2b || byteAt(bytes, i + 1) === 0x2d)) i++
    } else return i
    i++
    if (i >= end || !isDigit(byteAt(bytes, i))) return -1 - i
  }
}

const words: Readonly<Record<number, Uint8Array>> = {
  0x74: new TextEncoder().encode("true"),
  0x66: new TextEncoder().encode("false"),
  0x6e: new TextEncoder().encode("null"),
}

/** Index behind the word that begins at `at`; `-1 - position` of what is wrong. */
export const behindWord = (bytes: Uint8Array, at: number, end: number): number => {
  const word = words[byteAt(bytes, at)]
  if (word === undefined) return -1 - at
  for (let k = 0; k < word.length; k++) if (at + k >= end || bytes[at + k] !== word[k]) return -1 - (at + k)
  return at + word.length
}

/** Index behind the last character that is whole before `at`: from 3 bytes before it on. */
const wholeUntil = (bytes: Uint8Array, at: number): number => {
  let i = at
  while (i > at - 3 && (byteAt(bytes, i) & 0xc0) === 0x80) i--
  return i
}

/** Where to go on behind a piece of at least `least` bytes that is UTF-8; `end` or more: all is; -1: the piece is not. */
export const behindUtf8 = (bytes: Uint8Array, at: number, end: number, least: number): number => {
  const stop = at + least < end ? wholeUntil(bytes, at + least) : end
  const all = at === 0 && stop === bytes.length
  return isUtf8(all ? bytes : bytes.subarray(at, stop)) ? stop : -1
}
