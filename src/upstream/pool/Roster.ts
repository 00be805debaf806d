/**
 * Holds all connections and decides which one a turn gets: choosing, leasing and reserving are one synchronous step.
 *
 * Effect's `Pool` can't be used: it gives any connection, while a turn needs the one that holds its chain. For any, it
 * is faster: 0.5 against 9 µs for a lease and its end (Bun 1.4.5, Effect 4.1.0), of the 500 µs and more that a turn
 * takes. Every choice is a look-up in groups: `Groups.ts` says what that brings with many connections.
 */
import { Scope } from "effect"
import type { SettingsValues } from "../../config/Settings.ts"
import type { Affinity } from "./Affinity.ts"
import type { Eviction } from "./Connection.ts"
import { Connection } from "./Connection.ts"
import type { Decision, LeaseRequest, RefuseReason, Unavailable } from "./Decision.ts"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { Chain } from "./ConnectionState.ts"
import type { Holder } from "./FairShare.ts"
import { givesWay } from "./FairShare.ts"
import { Groups } from "./Groups.ts"

/** So many conversations that no turn continued a session keeps; the turn that begins another one takes the coldest. */
const keepUncontinued = 8

/** What the pool hears, synchronously. */
export interface RosterHooks {
  readonly now: () => number
  /** Why nothing should be dialled there now. */
  readonly trouble: (affinity: Affinity) => Unavailable | undefined
  readonly onIdle: (connection: Connection) => void
  readonly onEvicted: (connection: Connection, eviction: Eviction) => void
}

export class Roster {
  readonly #connections = new Set<Connection>()
  /** The connection that each chain is on. */
  readonly #chains = new Map<ChainId, Connection>()
  /** Every connection in every state, by what the caps count. */
  readonly #counted = new Groups()
  /** Every connection in every state, by its scope alone. */
  readonly #scopes = new Groups()
  /** The idle connections, the coldest first. */
  readonly #idle = new Groups()
  readonly #settings: SettingsValues
  readonly #scope: Scope.Scope
  readonly #hooks: RosterHooks
  #lastId = 0
  #lastChain = 0
  #open = true

  /** Each connection has a scope of its own below `scope`. */
  constructor(settings: SettingsValues, scope: Scope.Scope, hooks: RosterHooks) {
    this.#settings = settings
    this.#scope = scope
    this.#hooks = hooks
  }

  all(): Iterable<Connection> {
    return this.#connections
  }

  /** Evicts every connection; none is leased or dialled any more. */
  close() {
    this.#open = false
    for (const connection of this.#connections) connection.evict("shutdown", "respool is shutting down")
  }

  /** Decides in a fixed order (docs/life-of-a-turn.md, Look-up order). `waited`: the turn may not wait any longer. */
  decide(request: LeaseRequest, waited: boolean): Decision {
    const { affinity, session } = request
    if (!this.#open) return { _tag: "Refuse", reason: "shutdown" }
    if (request.fresh === true) return this.#newConnection(request, waited)

    if (request.anchor !== undefined) {
      const chain = request.anchor()
      const holder = chain === undefined ? undefined : this.#chains.get(chain)
      const lease = this.#takeFitting(holder, session)
      if (lease !== undefined) return lease
      if (holder?.state._tag === "Open" && holder.idle === undefined && !waited) return { _tag: "Wait" }
      if (request.onlyHolder === true) return { _tag: "Refuse", reason: "anchor_lost" }
    } else {
      for (const chain of request.recall()) {
        const lease = this.#takeFitting(this.#chains.get(chain), session)
        if (lease !== undefined) return lease
      }
    }

    const blank = this.#takeFitting(this.#coldest(blankGroup(affinity)), session)
    if (blank !== undefined) return blank
    if (request.warmUp === true && this.#isWarm(request)) return { _tag: "Refuse", reason: "session_warm" }
    const uncontinued = uncontinuedGroup(affinity, session)
    if (request.anchor === undefined && this.#idle.size(uncontinued) >= keepUncontinued) {
      const cold = this.#take(this.#coldest(uncontinued), session)
      if (cold !== undefined) return cold
    }
    return this.#newConnection(request, waited)
  }

  #newConnection({ affinity, anchor, fresh, session }: LeaseRequest, waited: boolean): Decision {
    const { busy, maxConnections, maxConnectionsPerScope, maxConnectionsPerSession } = this.#settings
    const refuse = (reason: RefuseReason): Decision =>
      busy === "wait" && !waited ? { _tag: "Wait" } : { _tag: "Refuse", reason }

    const trouble = this.#hooks.trouble(affinity)
    if (trouble !== undefined) return { _tag: "Refuse", reason: trouble }
    const { scope } = affinity
    const mine = scopeGroup(scope)
    const siblings = sessionGroup(scope, session)
    const inSession = () => (siblings === undefined ? 0 : this.#counted.size(siblings))
    const sessionFull = () => inSession() >= maxConnectionsPerSession
    const scopeFull = () => this.#scopes.size(scope) >= maxConnectionsPerScope
    const full = () => this.#connections.size >= maxConnections || scopeFull()
    if (siblings !== undefined && busy === "http" && inSession() > 0) {
      // A turn with an anchor that no connection holds must not end the chain that the session has.
      const cold = anchor === undefined && fresh !== true ? this.#coldest(siblings) : undefined
      const lease = cold?.affinity.key === affinity.key ? this.#take(cold, session) : undefined
      if (lease !== undefined) return lease
      if (inSession() > 0) return refuse("session_busy")
    }
    const fits = ({ affinity: { key } }: Connection) => fresh !== true && key === affinity.key
    if (siblings !== undefined) {
      const sibling = this.#roomIn(siblings, sessionFull, () => this.#idle.oldestThat(siblings, fits))
      if (sibling !== undefined) return this.#take(sibling, session) ?? refuse("session_busy")
      if (sessionFull()) return refuse("session_busy")
    }
    const all = allGroup(affinity)
    const suiting = () => (fresh === true ? undefined : this.#idle.oldest(all))
    const taken = this.#roomIn(mine, full, suiting, () => !scopeFull() && this.#takeShare(scope))
    if (taken !== undefined) return this.#take(taken, session) ?? refuse("pool_full")
    if (full()) return refuse("pool_full")
    return { _tag: "Dial", connection: this.#reserve(affinity, session) }
  }

  /**
   * Makes room under a cap. What is coldest in the group goes if it is past its time. Else the turn gets what `suiting`
   * gives, since a connection that could be used must not be closed for another to the same place. Where none suits,
   * `others` may give way, and then what is coldest in the group. Undefined: there is room now, or none to be had.
   */
  #roomIn(
    group: string,
    full: () => boolean,
    suiting: () => Connection | undefined,
    others: () => boolean = () => false,
  ): Connection | undefined {
    while (full()) {
      const cold = this.#idle.oldest(group)
      if (cold !== undefined && !this.#ready(cold)) continue
      const suits = suiting()
      if (suits !== undefined) {
        if (this.#ready(suits)) return suits
      } else if (!others()) {
        if (cold === undefined) return undefined
        cold.evict("capacity", "")
      }
    }
    return undefined
  }

  /** Evicts the coldest idle connection of the scope that has most above a fair share; false: none has to give way. */
  #takeShare(scope: string): boolean {
    const connections = this.#scopes.size(scope)
    const scopes = this.#scopes.count + (connections === 0 ? 1 : 0)
    const asking = { connections, scopes, cap: this.#settings.maxConnections }
    const from = givesWay(asking, this.#holders(scope))
    const cold = from === undefined ? undefined : this.#idle.oldest(scopeGroup(from))
    if (cold !== undefined && this.#ready(cold)) cold.evict("capacity", "")
    return cold !== undefined
  }

  *#holders(except: string): Iterable<Holder> {
    for (const [scope, connections] of this.#scopes.sizes()) {
      const cold = scope === except ? undefined : this.#idle.oldest(scopeGroup(scope))?.idle
      if (cold !== undefined) yield { scope, connections, coldSince: cold.state.since }
    }
  }

  /** Takes the capacity before anything is awaited; eviction, in any state, gives it back. */
  #reserve(affinity: Affinity, session: string | undefined): Connection {
    const connection = new Connection(++this.#lastId, affinity, Scope.forkUnsafe(this.#scope), {
      now: this.#hooks.now,
      onChain: (connection) => {
        this.#chains.set(++this.#lastChain, connection)
        return this.#lastChain
      },
      onIdle: (connection) => {
        const { idle } = connection
        if (idle !== undefined) for (const name of idleGroups(connection, idle)) this.#idle.add(name, connection)
        this.#hooks.onIdle(connection)
      },
      onEvicted: (connection, eviction, chains) => {
        this.#connections.delete(connection)
        this.#scopes.remove(connection.affinity.scope, connection)
        for (const name of countedGroups(connection)) this.#counted.remove(name, connection)
        for (const chain of chains) {
          this.#chains.delete(chain.id)
          for (const name of idleGroups(connection, chain)) this.#idle.remove(name, connection)
        }
        this.#hooks.onEvicted(connection, eviction)
      },
    })
    connection.session = session
    this.#connections.add(connection)
    this.#scopes.add(affinity.scope, connection)
    for (const name of countedGroups(connection)) this.#counted.add(name, connection)
    return connection
  }

  #take(connection: Connection | undefined, session: string | undefined): Decision | undefined {
    if (connection === undefined) return undefined
    const { idle } = connection
    if (idle === undefined) return undefined
    for (const name of idleGroups(connection, idle)) this.#idle.remove(name, connection)
    for (const name of countedGroups(connection)) this.#counted.remove(name, connection)
    const lease = connection.lease(session)
    for (const name of countedGroups(connection)) this.#counted.add(name, connection)
    return lease === undefined ? undefined : { _tag: "Lease", lease }
  }

  #takeFitting(connection: Connection | undefined, session: string | undefined): Decision | undefined {
    if (connection === undefined || !this.#ready(connection) || !this.#fits(connection, session)) return undefined
    return this.#take(connection, session)
  }

  /** Whether the session has a connection that a turn of this affinity can use. */
  #isWarm({ affinity, session }: LeaseRequest): boolean {
    const siblings = sessionGroup(affinity.scope, session)
    const cold = siblings === undefined ? undefined : this.#coldest(siblings)
    return cold?.affinity.key === affinity.key
  }

  /** A connection that changes its session counts for the new one, which may be full. */
  #fits({ affinity: { scope }, session: held }: Connection, session: string | undefined): boolean {
    const siblings = sessionGroup(scope, session)
    if (siblings === undefined || held === session) return true
    return this.#counted.size(siblings) < this.#settings.maxConnectionsPerSession
  }

  /** Whether the connection is idle and young enough; one that is past its time is evicted here. */
  #ready(connection: Connection): boolean {
    const { affinity, idle, state } = connection
    if (state._tag !== "Open" || idle === undefined) return false
    const { idleTtl, maxAge } = affinity.upstream
    if (this.#hooks.now() - state.openedAt >= maxAge) connection.evict("age", "")
    else if (this.#hooks.now() - idle.state.since >= idleTtl) connection.evict("idle", "")
    return connection.idle !== undefined
  }

  /** The coldest idle connection of a group that is still young enough. */
  #coldest(group: string): Connection | undefined {
    let connection = this.#idle.oldest(group)
    while (connection !== undefined && !this.#ready(connection)) connection = this.#idle.oldest(group)
    return connection
  }
}

const scopeGroup = (scope: string) => `scope ${scope}`
const sessionGroup = (scope: string, session: string | undefined) =>
  session === undefined ? undefined : `session ${scope}\n${session}`
const allGroup = (affinity: Affinity) => `all ${affinity.key}`
const blankGroup = (affinity: Affinity) => `blank ${affinity.key}`
/** Turns without a session share one group. */
const uncontinuedGroup = (affinity: Affinity, session: string | undefined) =>
  session === undefined ? `once ${affinity.key}` : `once ${affinity.key}\n${session}`

const countedGroups = ({ affinity: { scope }, session }: Connection) => {
  const siblings = sessionGroup(scope, session)
  return siblings === undefined ? [] : [siblings]
}

/** The groups of `#idle` that a connection with this idle chain is in. */
const idleGroups = (connection: Connection, { worth }: Chain) => {
  const { affinity, session } = connection
  const groups = [scopeGroup(affinity.scope), allGroup(affinity), ...countedGroups(connection)]
  if (worth === "none") groups.push(blankGroup(affinity))
  else if (worth === "once") groups.push(uncontinuedGroup(affinity, session))
  return groups
}
