/**
 * Keeps the latest of what it is given, a fixed number of them, and finds them from the latest to the oldest.
 */
export class Ring<A> {
  readonly #kept: Array<A> = []
  readonly #most: number
  /** How many it was ever given. */
  given = 0

  constructor(most: number) {
    this.#most = most
  }

  add(one: A) {
    this.#kept[this.given++ % this.#most] = one
  }

  /** The latest `most` of them, from the latest on. */
  *latest(most = this.#most): Iterable<A> {
    const first = Math.max(0, this.given - Math.min(most, this.#most))
    for (let index = this.given - 1; index >= first; index--) {
      const one = this.#kept[index % this.#most]
      if (one !== undefined) yield one
    }
  }
}
