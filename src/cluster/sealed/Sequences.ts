/**
 * Takes each number of each boot once: a sliding window, since requests overtake one another on the way.
 */

/** A number that is further behind the highest one is not taken: whether it was taken before is not known any more. */
const width = 65_536

/** Boots beyond this are those of processes that ended long ago; the one that was heard of longest ago is forgotten. */
const maxBoots = 4096

class Window {
  #highest = 0
  readonly #seen = new Uint8Array(width / 8)

  take(sequence: number): boolean {
    if (sequence <= this.#highest - width || sequence < 1) return false
    if (sequence > this.#highest) {
      const from = Math.max(this.#highest + 1, sequence - width + 1)
      for (let next = from; next <= sequence; next++) this.#set(next, false)
      this.#highest = sequence
    } else if (this.#isSet(sequence)) return false
    this.#set(sequence, true)
    return true
  }

  #isSet(sequence: number): boolean {
    const bit = sequence % width
    return ((this.#seen[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0
  }

  #set(sequence: number, seen: boolean) {
    const bit = sequence % width
    const byte = this.#seen[bit >> 3] ?? 0
    this.#seen[bit >> 3] = seen ? byte | (1 << (bit & 7)) : byte & ~(1 << (bit & 7))
  }
}

export class Sequences {
  readonly #windows = new Map<string, Window>()

  /** False: the number was taken before, or it can't be told that it was not. */
  take(boot: string, sequence: number): boolean {
    const window = this.#windows.get(boot) ?? new Window()
    // Behind all others: it is the latest that was heard of.
    this.#windows.delete(boot)
    this.#windows.set(boot, window)
    const [oldest] = this.#windows.keys()
    if (oldest !== undefined && this.#windows.size > maxBoots) this.#windows.delete(oldest)
    return window.take(sequence)
  }
}
