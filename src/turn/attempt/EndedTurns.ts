/**
 * Remembers on a connection which responses and items its ended turns had, so that a late frame of theirs is known.
 *
 * Ids are kept as hashes, since a slice of an event keeps the event's whole text in memory, which may be megabytes.
 */

/** So many ended responses, and so many of their items, are remembered on a connection: late frames are of the latest. */
const maxResponses = 16
const maxItems = 64

export type Hash = number

/** FNV-1a, 32 bits. Two ids of one connection have the same by a chance below 2^-25, and it costs one retry. */
export const hashOf = (id: string): Hash => {
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  return hash
}

export class EndedTurns {
  readonly #responses: Array<Hash> = []
  readonly #items: Array<Hash> = []
  #any = false

  /** No turn has ended here yet. */
  get isEmpty(): boolean {
    return !this.#any
  }

  /** The latest turn has ended with this response and these items. */
  add(response: Hash | undefined, items: Iterable<Hash>) {
    this.#any = true
    if (response !== undefined) this.#responses.push(response)
    if (this.#responses.length > maxResponses) this.#responses.shift()
    this.#items.push(...[...items].slice(-maxItems))
    this.#items.splice(0, this.#items.length - maxItems)
  }

  hasResponse(response: Hash): boolean {
    return this.#responses.includes(response)
  }

  hasItem(item: Hash): boolean {
    return this.#items.includes(item)
  }
}
