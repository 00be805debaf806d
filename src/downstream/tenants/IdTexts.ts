/**
 * Looks for ids of others in a text that is no id by itself: a list, a path, a query, JSON that is written in a string.
 *
 * What an upstream might unwrap is unwrapped here: escapes of JSON and of URLs, up to four layers of them. A text is read
 * in windows of bounded size, whatever its length, so that a caller can do something else in between.
 */

/** Whether an id was made for somebody else. */
export type IsForeign = (id: string) => boolean

/** No id of an API is longer. */
const longest = 512

/** By its value alone nothing shorter is taken for an id: it might be anything. */
const shortest = 5

const layers = 4

/** A text with one layer of escapes taken off. */
const unescaped = (text: string): string =>
  text
    .replace(/\\(?:u([0-9a-fA-F]{4})|(["\\/]))/g, (_, code: string | undefined, char: string | undefined) =>
      code === undefined ? (char ?? "") : String.fromCharCode(Number.parseInt(code, 16)),
    )
    .replace(/%([0-9a-fA-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))

/** Runs of what ids are made of, and of what stands between quotation marks, blanks and brackets. */
const plain = /[\w-]{5,512}/g
const odd = /[^\s"'`,;\\[\](){}<>]{5,512}/g
/** A whole string of a JSON text: a member's name or a value. */
const quoted = /"([^"\\]{5,512})"/g

const firstIn = (text: string, pattern: RegExp, group: number, isForeign: IsForeign): string | undefined => {
  for (const match of text.matchAll(pattern)) {
    const id = match[group] ?? ""
    if (isForeign(id)) return id
  }
  return undefined
}

/** `anywhere`: also as a part of the text. `whole`: as a whole string of the JSON that the text is. */
type Where = "anywhere" | "whole"

const searched = (text: string, where: Where, hasOdd: boolean, isForeign: IsForeign): string | undefined => {
  let layer = text
  for (let left = layers; ; left--) {
    const found =
      where === "whole"
        ? firstIn(layer, quoted, 1, isForeign)
        : (firstIn(layer, plain, 0, isForeign) ?? (hasOdd ? firstIn(layer, odd, 0, isForeign) : undefined))
    if (found !== undefined || left === 0) return found
    if (!/\\|%/.test(layer)) return undefined
    const next = unescaped(layer)
    if (next === layer) return undefined
    layer = next
  }
}

/** The first id of another in a short text, such as a name, a query or a header. */
export const foreignIn = (text: string, hasOdd: boolean, isForeign: IsForeign): string | undefined => {
  if (text.length < shortest) return undefined
  const whole = text.trim()
  if (whole.length < shortest) return undefined
  if (isForeign(whole)) return whole
  return /^[\w-]*$/.test(whole) ? undefined : searched(text, "anywhere", hasOdd, isForeign)
}

/** Of a window, in bytes, and how much of the one before it repeats: an id each byte of which is escaped twice. */
const windowBytes = 64 * 1024
const overlap = longest * 12

const decoder = new TextDecoder()

/** The same in the bytes of a string of any length. Yields between windows. */
export function* foreignInBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  { hasOdd, where }: { readonly where: Where; readonly hasOdd: boolean },
  isForeign: IsForeign,
): Generator<undefined, string | undefined> {
  for (let at = start; at < end; at += windowBytes) {
    if (at > start) yield
    const text = decoder.decode(bytes.subarray(at, Math.min(end, at + windowBytes + overlap)))
    const found = searched(text, where, hasOdd, isForeign)
    if (found !== undefined) return found
  }
  return undefined
}
