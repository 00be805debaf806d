/**
 * Puts a digest in the place of each long string of a value, so that what is left can be read in one step of work.
 *
 * Equal values stay equal, and others stay different, since nobody can write a digest without its key. A value is only as
 * large as its short strings, numbers and names then; an image or a file in it takes 31 bytes. The `arguments` of a call
 * are read further, so they stay up to `largestArguments`.
 *
 * By hand, because a value can't be read, sorted and written in steps as cheaply. A message of 64 MiB is read once for
 * its digest, where it was read six times before.
 */
import type { Digester } from "./Digest.ts"
import { byteAt, type Span } from "./JsonString.ts"
import type { Steps } from "./Steps.ts"

/** A value that lies in bytes of its own, or still in those it came in. */
export interface Condensed {
  readonly bytes: Uint8Array
  readonly span: Span
}

/** A value that is larger without its long strings, in bytes, is not looked into. */
const largestCondensed = 1 << 19

/** Longer arguments, in bytes, are compared as a string: reading their numbers costs some hundred times their size. */
export const largestArguments = 1 << 18

const encoder = new TextEncoder()

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const named = encoder.encode('"arguments"')

/** Whether the value that begins at `start` belongs to the name `arguments`, in its usual spelling. */
const isArguments = (bytes: Uint8Array, start: number, first: number): boolean => {
  let i = start - 1
  while (i > first && isSpace(byteAt(bytes, i))) i--
  if (byteAt(bytes, i) !== 0x3a) return false
  i--
  while (i > first && isSpace(byteAt(bytes, i))) i--
  const begin = i + 1 - named.length
  return begin >= first && named.every((byte, k) => bytes[begin + k] === byte)
}

/** The index of the first of some spans, in their order, that does not begin before `start`. */
const firstFrom = (spans: ReadonlyArray<Span>, start: number): number => {
  let low = 0
  let high = spans.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((spans[middle]?.start ?? 0) < start) low = middle + 1
    else high = middle
  }
  return low
}

/** The value at `span` without its long strings; undefined: it is still too large. `long` are those of all the bytes. */
export function* condensed(
  bytes: Uint8Array,
  span: Span,
  long: ReadonlyArray<Span>,
  digester: Digester,
): Steps<Condensed | undefined> {
  const parts: Array<Uint8Array> = []
  let size = 0
  let at = span.start
  const add = (part: Uint8Array) => {
    parts.push(part)
    size += part.length
  }
  for (let i = firstFrom(long, span.start); ; i++) {
    const text = long[i]
    if (text === undefined || text.start >= span.end) break
    if (text.end - text.start <= largestArguments && isArguments(bytes, text.start, span.start)) continue
    add(bytes.subarray(at, text.start))
    if (size > largestCondensed) return undefined
    yield
    add(encoder.encode(`"long:${yield* digester.text(bytes, text)}"`))
    at = text.end
  }
  if (size + span.end - at > largestCondensed) return undefined
  if (parts.length === 0) return { bytes, span }
  add(bytes.subarray(at, span.end))
  const whole = Buffer.concat(parts, size)
  return { bytes: whole, span: { start: 0, end: size } }
}
