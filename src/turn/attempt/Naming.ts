/**
 * Remembers of an upstream that its ids do not tell its turns apart, so that it is served in another way.
 *
 * Most upstreams give each response and each item an id of its own. What shows that one does not is kept per affinity,
 * so that no caller changes how another is served.
 */
import { LatestMap } from "../memory/LatestMap.ts"

/** Long enough for a repeated id to cost little, and short enough for an upstream that was mended. */
const repeatsFor = 60 * 60 * 1000

/** What is known of one affinity's upstream. */
export class Naming {
  #itemsRepeat = false
  #late: number | undefined
  #repeatsUntil = -Infinity
  readonly #now: () => number
  readonly #keep: (naming: Naming) => void

  /** `now` is in milliseconds; `keep` is called whenever something was learned. */
  constructor(now: () => number, keep: (naming: Naming) => void) {
    this.#now = now
    this.#keep = keep
  }

  /** Items of several turns have the same id. */
  get itemsRepeat(): boolean {
    return this.#itemsRepeat
  }

  /** Several responses have the same id, as was seen within the last hour: a connection carries one turn only. */
  get responsesRepeat(): boolean {
    return this.#now() < this.#repeatsUntil
  }

  /** The latest response, as a hash of its id, that was taken for an ended one. */
  get late(): number | undefined {
    return this.#late
  }

  /** An answer has named an item of the turn before as its own. */
  sawItemAgain() {
    this.#itemsRepeat = true
    this.#keep(this)
  }

  /** Another response has had the same id. */
  sawResponseAgain() {
    this.#repeatsUntil = this.#now() + repeatsFor
    this.#keep(this)
  }

  /** A response, as a hash of its id, was taken for an ended one. */
  sawLate(response: number) {
    this.#late = response
    this.#keep(this)
  }
}

export class Namings {
  readonly #kept = new LatestMap<string, Naming>()
  readonly #now: () => number

  /** `now` is in milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** What is known of an affinity, by its key. Nothing is kept of an upstream of which there is nothing to say. */
  of(affinity: string): Naming {
    return this.#kept.get(affinity) ?? new Naming(this.#now, (naming) => void this.#kept.set(affinity, naming))
  }
}
