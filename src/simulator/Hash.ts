/**
 * A hash of texts for ids and look-ups inside of one simulator: 64 bits, not for secrets.
 *
 * On Bun it is the platform's, which costs a tenth of what follows; elsewhere two rounds of MurmurHash3's mixing with 32
 * bits each. So ids are the same for the same seed on one platform only.
 */
export const hash64: (text: string, seed: bigint) => bigint =
  "Bun" in globalThis
    ? (text, seed) => Bun.hash.wyhash(text, seed)
    : (text, seed) => (BigInt(mixed(text, Number(seed) | 0)) << 32n) | BigInt(mixed(text, ~Number(seed)))

const mixed = (text: string, seed: number): number => {
  let state = seed ^ 0x9e3779b9
  for (let at = 0; at < text.length; at++) {
    state = Math.imul(state ^ Math.imul(text.charCodeAt(at), 0xcc9e2d51), 0x85ebca6b)
    state ^= state >>> 13
  }
  state = Math.imul(state ^ text.length ^ (state >>> 16), 0xc2b2ae35)
  return (state ^ (state >>> 16)) >>> 0
}
