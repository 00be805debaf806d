/**
 * Makes ids and opaque contents that are unique in one simulator, and the same in every run with the same seed.
 */
import { hash64 } from "./Hash.ts"

export interface Ids {
  /** `resp_`, `msg_`, … and 50 hexadecimal digits. */
  readonly item: (prefix: string) => string
  /** `call_` and 24 letters and digits. */
  readonly call: () => string
  /** Text that looks encrypted, of so many characters. */
  readonly opaque: (length: number) => string
}

/** A number from 0 (included) to 1 that depends on nothing but the seed and the name. */
export const chance = (seed: number, name: string): number => Number(hash64(name, BigInt(seed)) >> 11n) / 2 ** 53

export const makeIds = (seed: number): Ids => {
  let count = 0
  const digits = (length: number, radix: number): string => {
    let text = ""
    for (let block = 0; text.length < length; block++) {
      text += hash64(`${count}:${block}`, BigInt(seed)).toString(radix).padStart(12, "0").slice(-12)
    }
    count++
    return text.slice(0, length)
  }
  return {
    item: (prefix) => `${prefix}_${digits(50, 16)}`,
    call: () => `call_${digits(24, 36)}`,
    opaque: (length) => `gAAAAAB${digits(length - 9, 36)}==`,
  }
}
