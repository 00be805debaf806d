/**
 * A map that keeps its latest entries only: what is set anew counts as the latest, and one too many forgets the oldest.
 *
 * For what is learned of callers or upstreams, which may be as many as somebody makes up.
 */
export class LatestMap<Key, Value> extends Map<Key, Value> {
  readonly #most: number

  /** `most`: so many entries are kept. */
  constructor(most = 1024) {
    super()
    this.#most = most
  }

  override set(key: Key, value: Value): this {
    this.delete(key)
    super.set(key, value)
    const oldest = this.size > this.#most ? this.keys().next() : undefined
    if (oldest?.done === false) this.delete(oldest.value)
    return this
  }
}
