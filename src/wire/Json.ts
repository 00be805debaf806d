/**
 * Finds where the members of a JSON object lie in its bytes, and checks the whole text on the way.
 *
 * One pass, no recursion, nothing allocated per byte. It accepts exactly what RFC 8259 allows (a byte order mark in
 * front is skipped), except that nesting is bounded by `maxDepth` and members by `maxMembers`, and it answers with
 * data: spans or the reason of a refusal. No text makes it allocate more than `maxMembers` members of at most `maxName`
 * bytes each and `maxElements` spans. It can stop anywhere, to go on in a later step of work.
 *
 * By hand, because `JSON.parse` does not say where a value lies, and what is sent on must keep its bytes. For a request
 * of 1 MB, decoding and `JSON.parse` also take 2.1 to 2.6 times as long, at 30 KB 1.6 times (Bun 1.4.5).
 */
import { behindUtf8 } from "./scan/JsonScalar.ts"
import type { KnownText, Member, Paused, Scanned, ScanOptions } from "./scan/JsonScan.ts"
import { commaOrClose, expected, openArray, openObject, refuse, scan, value } from "./scan/JsonScan.ts"
import type { Span } from "./JsonString.ts"
import { type Steps, stepSize } from "./Steps.ts"

export type { KnownText, Member, Span }
export type Members = ReadonlyArray<Member>
export { longName, maxDepth } from "./scan/JsonScan.ts"

const firstPause = (bytes: Uint8Array, { known, start = 0 }: ScanOptions): Paused => {
  const hasMark = known === undefined && bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf
  const from = known?.length ?? (hasMark ? start + 3 : start)
  return {
    utf8: known?.length ?? start,
    i: from,
    next: known === undefined ? value : commaOrClose,
    part: 0,
    members: known === undefined ? [] : [...known.members],
    rootStart: from,
    isObject: known !== undefined,
    memberKey: known?.open.key ?? "",
    keyStart: known?.open.keyStart ?? 0,
    keyEnd: known?.open.keyEnd ?? 0,
    memberStart: known?.open.start ?? 0,
    elementStart: 0,
    scalarStart: 0,
    elements: known === undefined ? undefined : [],
    values: 0,
    depth: known === undefined ? 0 : 2,
    stack: known === undefined ? noStack : knownStack,
  }
}

const noStack = new Uint8Array()
const knownStack = Uint8Array.of(0, openObject, openArray)

/**
 * The members of the object that the text is, in its order, duplicates included.
 *
 * The whole text is checked, nested values too. JSON that is not an object is refused as `not_object`. With a known
 * text, `elements` holds only the elements behind it.
 */
export const scanObject = (bytes: Uint8Array, options: ScanOptions = {}): Scanned => {
  const paused = firstPause(bytes, options)
  const end = options.end ?? bytes.length
  if (options.isUtf8 !== true && behindUtf8(bytes, paused.utf8, end, end) < 0) return notUtf8(paused.utf8)
  return scan(bytes, options, paused, end) ?? expected("more", end, end)
}

/** The same in steps of so many bytes. */
export function* scanInSteps(bytes: Uint8Array, options: ScanOptions = {}, step = stepSize): Steps<Scanned> {
  const paused = firstPause(bytes, options)
  const end = options.end ?? bytes.length
  const begins = paused.utf8
  while (paused.utf8 < end) {
    const behind = behindUtf8(bytes, paused.utf8, end, 8 * step)
    if (behind < 0) return notUtf8(begins)
    paused.utf8 = behind
    if (behind < end) yield
  }
  for (;;) {
    const scanned = scan(bytes, options, paused, Math.min(paused.i + step, end))
    if (scanned !== undefined) return scanned
    yield
  }
}

/** An object of more members is searched by a set. Most have few, for which that takes longer than comparing them. */
const fewMembers = 16

/** Whether a name stands twice. */
export const hasTwice = (members: Members): boolean =>
  members.length > fewMembers
    ? new Set(members.map(({ key }) => key)).size < members.length
    : members.some(({ key }, index) => members.findIndex((other) => other.key === key) < index)

export const memberOf = (members: Members, key: string): Member | undefined => {
  for (const member of members) if (member.key === key) return member
  return undefined
}

const notUtf8 = (start: number) => refuse("invalid_utf8", "The text is not valid UTF-8", start)
