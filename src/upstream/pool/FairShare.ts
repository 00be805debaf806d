/**
 * Decides whose idle connection gives way to a turn of another scope when the pool is full.
 *
 * A fair share is the pool's cap by the number of scopes that have a connection or want one. A scope that has less than
 * its share, or nothing, may take the place of an idle connection of a scope that has more than it: of the one that has
 * most. So no scope can keep the others off the sockets by what it does not use, and two scopes that have their shares
 * take nothing from each other.
 */

/** A scope that has an idle connection. */
export interface Holder {
  readonly scope: string
  /** All of its connections, in any state. */
  readonly connections: number
  /** When its coldest idle connection became idle, in milliseconds of `ageOf`. */
  readonly coldSince: number
}

export interface Asking {
  /** All of the asking scope's connections. */
  readonly connections: number
  /** How many scopes have a connection, the asking one counted too. */
  readonly scopes: number
  readonly cap: number
}

/** The scope whose coldest idle connection gives way; undefined: none has to. */
export const givesWay = ({ cap, connections, scopes }: Asking, holders: Iterable<Holder>): string | undefined => {
  const share = cap / scopes
  // What one more connection takes over the share would be taken back by the scope that had it.
  if (connections > 0 && connections + 1 > share) return undefined
  let most: Holder | undefined
  for (const holder of holders) {
    if (holder.connections <= share) continue
    const more = holder.connections - (most?.connections ?? 0)
    if (most === undefined || more > 0 || (more === 0 && holder.coldSince < most.coldSince)) most = holder
  }
  return most?.scope
}
