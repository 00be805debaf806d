/**
 * Writes the numbers of a JSON text in one way each, so that `1.0`, `1` and `1e0` are equal and 2^53+1 is not 2^53.
 */

/** A string, which is left alone, or a number in its three pieces. */
const token = /"(?:[^"\\]|\\[^])*"|(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?/g

/** Of a text that is no JSON the result is of no use, and does no harm. */
export const plainNumbers = (text: string): string =>
  text.replace(token, (whole, sign?: string, integer?: string, fraction = "", exponent = "0") => {
    if (sign === undefined || integer === undefined) return whole
    const digits = `${integer}${fraction}`.replace(/^0+/, "")
    const significant = digits.replace(/0+$/, "")
    if (significant === "") return "0"
    const power = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length)
    return `${sign}${significant}e${power}`
  })
