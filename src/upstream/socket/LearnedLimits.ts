/**
 * Learns what an upstream does not take on its sockets, so that not every turn pays to find it out again: respool's
 * anchors, and messages of some size.
 *
 * Both end by themselves, as upstreams are mended. Anchors are remembered per affinity, since one caller's must not decide
 * about another's; a size per URL, since only messages as large are concerned.
 */
import { LatestMap } from "../../turn/memory/LatestMap.ts"

/** After so many refused suffixes in a row, of which the whole request was then taken. */
const refusedInARow = 3

const withoutAnchorsFor = 5 * 60 * 1000
const sizeFor = 60 * 60 * 1000

interface Anchors {
  readonly refused: number
  /** In milliseconds of the clock; until then nothing is sent as a suffix. */
  readonly until: number
}

interface Size {
  /** In bytes: a message of this size was refused. */
  readonly bytes: number
  readonly until: number
}

export class LearnedLimits {
  readonly #anchors = new LatestMap<string, Anchors>()
  readonly #sizes = new LatestMap<string, Size>()
  readonly #now: () => number

  /** `now` is in milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether a suffix of this affinity, by its key, would be refused. */
  refusesAnchors(affinity: string): boolean {
    const known = this.#anchors.get(affinity)
    return known !== undefined && this.#now() < known.until
  }

  anchorTaken(affinity: string) {
    this.#anchors.delete(affinity)
  }

  /** A suffix was refused, and the whole request was not. */
  anchorRefused(affinity: string) {
    const refused = (this.#anchors.get(affinity)?.refused ?? 0) + 1
    const until = refused < refusedInARow ? -Infinity : this.#now() + withoutAnchorsFor
    this.#anchors.set(affinity, { refused, until })
  }

  /** The largest message for this URL, in bytes, as far as it is known. */
  largest(url: string): number {
    const known = this.#sizes.get(url)
    return known !== undefined && this.#now() < known.until ? known.bytes - 1 : Infinity
  }

  /** A message of so many bytes was too big for the upstream (RFC 6455, section 7.4.1: 1009). */
  tooBig(url: string, bytes: number) {
    this.#sizes.set(url, { bytes: Math.min(bytes, this.largest(url) + 1), until: this.#now() + sizeFor })
  }
}
