/**
 * The connections there are, and which of them a turn gets: choosing, leasing and reserving in one synchronous step.
 *
 * Groups make every choice a look-up, so a choice costs the same with ten sessions as with ten thousand.
 */
import { Scope } from "effect"
import type { SettingsValues } from "../../config/Settings.ts"
import type { Affinity } from "./Affinity.ts"
import { Connection } from "./Connection.ts"
import type { EvictReason } from "./ConnectionState.ts"
import { Groups } from "./Groups.ts"
import type { Lease } from "./Lease.ts"

export interface LeaseRequest {
  readonly affinity: Affinity
  /** The session's key inside its scope; undefined: the client named none. */
  readonly session: string | undefined
  /** The connection that holds the client's own anchor; undefined: nobody does. Called inside the step. */
  readonly anchor: (() => number | undefined) | undefined
  /** Connections whose remembered turn this request continues, the best first. Called inside the step. */
  readonly recall: () => ReadonlyArray<number>
  /** True: no connection that there is will do. */
  readonly fresh?: boolean
}

/** `Dial` comes with its capacity reserved. */
export type Decision =
  | { readonly _tag: "Lease"; readonly lease: Lease }
  | { readonly _tag: "Dial"; readonly connection: Connection }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Refuse"; readonly reason: RefuseReason }

export type RefuseReason = "pool_full" | "session_busy" | "shutdown" | "upstream_http_only" | "dial_backoff"

/** How many conversations that nobody continued a session keeps before another beginning takes the coldest. */
const keepUncontinued = 8

/** What the pool hears, synchronously. */
export interface RosterHooks {
  readonly now: () => number
  /** Why nothing should be dialled there now. */
  readonly trouble: (affinity: Affinity) => "upstream_http_only" | "dial_backoff" | undefined
  readonly onIdle: () => void
  readonly onEvicted: (reason: EvictReason) => void
}

export class Roster {
  readonly #connections = new Map<number, Connection>()
  /** Every connection, of whatever state: what the caps count. */
  readonly #owned = new Groups()
  /** The idle ones, coldest first. */
  readonly #idle = new Groups()
  readonly #settings: SettingsValues
  readonly #scope: Scope.Scope
  readonly #hooks: RosterHooks
  #lastId = 0
  #open = true

  /** Connections live in scopes below `scope`. */
  constructor(settings: SettingsValues, scope: Scope.Scope, hooks: RosterHooks) {
    this.#settings = settings
    this.#scope = scope
    this.#hooks = hooks
  }

  all(): Iterable<Connection> {
    return this.#connections.values()
  }

  /** Evicts every connection; nothing is leased any more. */
  close() {
    this.#open = false
    for (const connection of this.#connections.values()) connection.evict("shutdown", "respool is shutting down")
  }

  /** The order is design.md 3.3's. `waited`: the time to wait is over. */
  decide(request: LeaseRequest, waited: boolean): Decision {
    const { affinity, session } = request
    if (!this.#open) return { _tag: "Refuse", reason: "shutdown" }
    if (request.fresh === true) return this.#newConnection(request, waited)

    if (request.anchor !== undefined) {
      const id = request.anchor()
      const holder = id === undefined ? undefined : this.#connections.get(id)
      if (holder !== undefined && this.#ready(holder) && this.#fits(holder, session)) return this.#take(holder, session)
      if (holder?.state._tag === "Leased" && !waited) return { _tag: "Wait" }
    } else {
      for (const id of request.recall()) {
        const connection = this.#connections.get(id)
        if (connection === undefined || !this.#ready(connection)) continue
        if (this.#fits(connection, session)) return this.#take(connection, session)
      }
    }

    const blank = this.#coldest(blankGroup(affinity))
    if (blank !== undefined && this.#fits(blank, session)) return this.#take(blank, session)
    const uncontinued = uncontinuedGroup(affinity, session)
    if (request.anchor === undefined && this.#idle.size(uncontinued) >= keepUncontinued) {
      const cold = this.#coldest(uncontinued)
      if (cold !== undefined) return this.#take(cold, session)
    }
    return this.#newConnection(request, waited)
  }

  #newConnection({ affinity, anchor, fresh, session }: LeaseRequest, waited: boolean): Decision {
    const { busy, maxConnections, maxConnectionsPerScope, maxConnectionsPerSession } = this.#settings
    const refuse = (reason: RefuseReason): Decision =>
      busy === "wait" && !waited ? { _tag: "Wait" } : { _tag: "Refuse", reason }

    const trouble = this.#hooks.trouble(affinity)
    if (trouble !== undefined) return { _tag: "Refuse", reason: trouble }
    const mine = scopeGroup(affinity.scope)
    const line = sessionGroup(affinity.scope, session)
    const inLine = () => (line === undefined ? 0 : this.#owned.size(line))
    const lineFull = () => inLine() >= maxConnectionsPerSession
    const full = () => this.#connections.size >= maxConnections || this.#owned.size(mine) >= maxConnectionsPerScope
    if (line !== undefined && busy === "http" && inLine() > 0) {
      // An anchor that nobody holds must not end the chain that the session has.
      const place = anchor === undefined && fresh !== true ? this.#coldest(line) : undefined
      if (place?.affinity.key === affinity.key) return this.#take(place, session)
      if (inLine() > 0) return refuse("session_busy")
    }
    if (line !== undefined && !this.#makeRoom(line, lineFull)) return refuse("session_busy")
    if (!this.#makeRoom(mine, full)) return refuse("pool_full")
    return { _tag: "Dial", connection: this.#reserve(affinity, session) }
  }

  /** Evicts of a group what is idle, the coldest first, until it is full no more; what is past its time may be enough. */
  #makeRoom(group: string, full: () => boolean): boolean {
    for (let place = this.#idle.oldest(group); full() && place !== undefined; place = this.#idle.oldest(group)) {
      if (this.#ready(place)) place.evict("capacity", "")
    }
    return !full()
  }

  /** Capacity is taken here, before anything is awaited; eviction, of whatever state, gives it back. */
  #reserve(affinity: Affinity, session: string | undefined): Connection {
    const connection = new Connection(++this.#lastId, affinity, Scope.forkUnsafe(this.#scope), {
      now: this.#hooks.now,
      onIdle: (connection) => {
        for (const name of idleGroups(connection)) this.#idle.add(name, connection)
        this.#hooks.onIdle()
      },
      onEvicted: (connection, reason) => {
        this.#connections.delete(connection.id)
        for (const name of ownedGroups(connection)) this.#owned.remove(name, connection)
        this.#unshelve(connection)
        this.#hooks.onEvicted(reason)
      },
    })
    connection.session = session
    this.#connections.set(connection.id, connection)
    for (const name of ownedGroups(connection)) this.#owned.add(name, connection)
    return connection
  }

  #take(connection: Connection, session: string | undefined): Decision {
    this.#unshelve(connection)
    for (const name of ownedGroups(connection)) this.#owned.remove(name, connection)
    const lease = connection.lease(true, session)
    for (const name of ownedGroups(connection)) this.#owned.add(name, connection)
    return { _tag: "Lease", lease }
  }

  /** A connection that changes its session counts in the new one, which may be full. */
  #fits({ affinity: { scope }, session: held }: Connection, session: string | undefined): boolean {
    const line = sessionGroup(scope, session)
    return line === undefined || held === session || this.#owned.size(line) < this.#settings.maxConnectionsPerSession
  }

  #unshelve(connection: Connection) {
    for (const name of idleGroups(connection)) this.#idle.remove(name, connection)
  }

  /** Idle and young enough; one past its time is rotated out on the way. */
  #ready(connection: Connection): boolean {
    if (connection.state._tag !== "Idle") return false
    const { upstream } = connection.affinity
    if (this.#hooks.now() - connection.openedAt >= upstream.maxAge) connection.evict("age", "")
    else if (this.#hooks.now() - connection.state.since >= upstream.idleTtl) connection.evict("idle", "")
    return connection.state._tag === "Idle"
  }

  /** The coldest of an idle group that is still young enough. */
  #coldest(group: string): Connection | undefined {
    let connection = this.#idle.oldest(group)
    while (connection !== undefined && !this.#ready(connection)) connection = this.#idle.oldest(group)
    return connection
  }
}

const scopeGroup = (scope: string) => `scope ${scope}`
const sessionGroup = (scope: string, session: string | undefined) =>
  session === undefined ? undefined : `session ${scope}\n${session}`
const blankGroup = (affinity: Affinity) => `blank ${affinity.key}`
/** Turns without a name share one group. */
const uncontinuedGroup = (affinity: Affinity, session: string | undefined) =>
  session === undefined ? `once ${affinity.key}` : `once ${affinity.key}\n${session}`

const ownedGroups = ({ affinity: { scope }, session }: Connection) => {
  const line = sessionGroup(scope, session)
  return line === undefined ? [scopeGroup(scope)] : [scopeGroup(scope), line]
}

/** Groups of an idle connection; the chain is kept on the connection, since the state may have changed already. */
const idleGroups = (connection: Connection) => {
  const { affinity, chain, session } = connection
  const groups = ownedGroups(connection)
  if (chain === "none") groups.push(blankGroup(affinity))
  else if (chain === "once") groups.push(uncontinuedGroup(affinity, session))
  return groups
}
