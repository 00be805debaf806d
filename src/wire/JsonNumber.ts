/**
 * Writes the numbers of a JSON text in one way each, so that `1.0`, `1` and `1e0` are equal, and neither are 2^53+1 and 2^53
 * nor `-0` and `0`.
 *
 * It takes only text that `scanObject` has checked, and its work grows no faster than the text's length.
 *
 * By hand, because `JSON.parse` and `JSON.stringify` round numbers; they also take 1.2 to 3.1 times as long. One
 * regular expression for strings and numbers takes 1.9 to 8.6 times as long (a call's arguments of 100 bytes to 30 KB,
 * Bun 1.4.5).
 */

const number = /(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?/y

/** A longer exponent, in characters, is left as it is written, since arithmetic on it costs more than reading it. */
const maxExponent = 30

/** An integer of at most so many digits is written out, as clients write nearly all of them; others get an exponent. */
const maxDigits = 40

/** An exponent of at most so many characters is exact as a double. */
const maxExact = 15

const quote = 0x22
const backslash = 0x5c
const minus = 0x2d
const zero = 0x30
const point = 0x2e
const letterE = 0x65
const lowerCase = 0x20

export const plainNumbers = (text: string): string => {
  let plain = ""
  let copied = 0
  for (let i = 0; i < text.length;) {
    const code = text.charCodeAt(i)
    if (code === quote) {
      i = behindString(text, i)
    } else if (code === minus || (code >= zero && code <= 0x39)) {
      const digits = code === minus ? i + 1 : i
      const end = behindDigits(text, digits)
      const next = text.charCodeAt(end)
      const written = end - digits <= maxDigits && text.charCodeAt(digits) !== zero
      if (end > digits && written && next !== point && (next | lowerCase) !== letterE) {
        i = end
      } else {
        number.lastIndex = i
        plain += text.slice(copied, i) + plainNumber(number.exec(text))
        i = copied = Math.max(number.lastIndex, i + 1)
      }
    } else {
      i++
    }
  }
  return plain + text.slice(copied)
}

const behindString = (text: string, at: number): number => {
  let i = at + 1
  for (let code = text.charCodeAt(i); code !== quote && i < text.length; code = text.charCodeAt(i)) {
    i += code === backslash ? 2 : 1
  }
  return i + 1
}

const behindDigits = (text: string, at: number): number => {
  let i = at
  for (let code = text.charCodeAt(i); code >= zero && code <= 0x39; code = text.charCodeAt(i)) i++
  return i
}

const plainNumber = (match: RegExpExecArray | null): string => {
  if (match === null) return ""
  const [whole, sign = "", integer = "", fraction = "", exponent = "0"] = match
  if (exponent.length > maxExponent) return whole
  const digits = integer + fraction
  let start = 0
  while (digits[start] === "0") start++
  let end = digits.length
  while (end > start && digits[end - 1] === "0") end--
  if (start === end) return `${sign}0`
  const shift = digits.length - end - fraction.length
  const power = exponent.length <= maxExact ? Number(exponent) + shift : BigInt(exponent) + BigInt(shift)
  const significant = digits.slice(start, end)
  return power >= 0 && power <= maxDigits - significant.length
    ? `${sign}${significant}${"0".repeat(Number(power))}`
    : `${sign}${significant}e${power}`
}
