/**
 * Connections in named groups, the longest there first: what makes every choice of the pool a look-up, not a search.
 */
import type { Connection } from "./Connection.ts"

export class Groups {
  readonly #groups = new Map<string, Set<Connection>>()

  add(name: string, connection: Connection) {
    const group = this.#groups.get(name)
    if (group === undefined) this.#groups.set(name, new Set([connection]))
    else group.add(connection)
  }

  remove(name: string, connection: Connection) {
    const group = this.#groups.get(name)
    if (group?.delete(connection) === true && group.size === 0) this.#groups.delete(name)
  }

  size(name: string): number {
    return this.#groups.get(name)?.size ?? 0
  }

  /** The connection that has been in the group longest. */
  oldest(name: string): Connection | undefined {
    return this.#groups.get(name)?.values().next().value
  }
}
