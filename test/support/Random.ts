/**
 * Numbers that look random, the same ones for the same seed (mulberry32).
 */

/** Gives numbers from 0 to below `n`. */
export type Random = (n: number) => number

export const makeRandom = (seed: number): Random => {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n)
  }
}

/** The same bytes but for up to three bits. */
export const damaged = (random: Random, bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  for (let flips = 1 + random(3); flips > 0; flips--) {
    const at = random(copy.length)
    copy[at] = (copy[at] ?? 0) ^ (1 << random(8))
  }
  return copy
}
