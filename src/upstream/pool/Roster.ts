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
import { Connection } from "./Connection.ts"
import type { Decision, LeaseRequest, RefuseReason, RosterHooks } from "./Decision.ts"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { Holder } from "./FairShare.ts"
import { givesWay } from "./FairShare.ts"
import type { Place } from "./Groups.ts"
import {
  allGroup,
  blankGroup,
  countedGroups,
  first,
  Groups,
  idleGroups,
  scopeGroup,
  sessionGroup,
  uncontinuedGroup,
} from "./Groups.ts"
import { hasRoom, mayRun } from "./Lanes.ts"

/** So many conversations that no turn continued a session keeps; the turn that begins another one takes the coldest. */
const keepUncontinued = 8

export class Roster {
  readonly #connections = new Set<Connection>()
  readonly #places = new Map<ChainId, Place>()
  /** Every connection in every state, by what the caps count. */
  readonly #counted = new Groups<Connection>()
  /** Every connection in every state, by its scope alone. */
  readonly #scopes = new Groups<Connection>()
  /** The idle chains, the coldest first. */
  readonly #idle = new Groups<Place>()
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
      const holder = chain === undefined ? undefined : this.#places.get(chain)
      const lease = this.#takeFitting(holder, session) ?? (holder && this.#lane(request, holder))
      if (lease !== undefined) return lease
      if (holder !== undefined && holder.connection.idleSince === undefined && !waited) return { _tag: "Wait" }
      if (request.onlyHolder === true) return { _tag: "Refuse", reason: "anchor_lost" }
    } else {
      const places = request.recall().flatMap((chain) => this.#places.get(chain) ?? [])
      const lease = first(places, (place) => this.#takeFitting(place, session))
      const lane = lease ?? first(places, (place) => this.#lane(request, place))
      if (lane !== undefined) return lane
    }

    const blank = this.#takeFitting(this.#coldest(blankGroup(affinity), session), session)
    if (blank !== undefined) return blank
    if (request.warmUp === true && this.#isWarm(request)) return { _tag: "Refuse", reason: "session_warm" }
    const uncontinued = uncontinuedGroup(affinity, session)
    if (request.anchor === undefined && this.#idle.size(uncontinued) >= keepUncontinued) {
      const cold = this.#take(this.#coldest(uncontinued, session), session)
      if (cold !== undefined) return cold
    }
    const lane = this.#lane(request)
    if (lane !== undefined) return lane
    return !waited && this.#opensShared(request) ? { _tag: "Wait" } : this.#newConnection(request, waited)
  }

  /** A lane more: one that begins from a response whose own lane is in use, or any. */
  #lane({ affinity, session }: LeaseRequest, source?: Place): Decision | undefined {
    const siblings = sessionGroup(affinity.scope, session)
    if (siblings === undefined || (source !== undefined && source.chain.state._tag !== "Leased")) return undefined
    const connection = this.#counted.oldestThat(siblings, (connection) => {
      const { affinity: held, isShared, state } = connection
      const fits = isShared && held.key === affinity.key && connection === (source?.connection ?? connection)
      return fits && this.#ready(connection) && state._tag === "Open" && hasRoom(state)
    })
    const lease = connection?.leaseLane(source?.chain.id)
    return lease === undefined ? undefined : { _tag: "Lease", lease }
  }

  /** Whether a connection opens that the turn can share. */
  #opensShared({ affinity, session }: LeaseRequest): boolean {
    const siblings = sessionGroup(affinity.scope, session)
    if (siblings === undefined || this.#hooks.sharing(affinity)?.known() !== true) return false
    const opens = ({ affinity: { key }, state }: Connection) => state._tag === "Connecting" && key === affinity.key
    return this.#counted.oldestThat(siblings, opens) !== undefined
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
      const cold = anchor === undefined && fresh !== true ? this.#coldest(siblings, session) : undefined
      const lease = cold?.connection.affinity.key === affinity.key ? this.#take(cold, session) : undefined
      if (lease !== undefined) return lease
      if (inSession() > 0) return refuse("session_busy")
    }
    const fits = (place: Place) => place.connection.affinity.key === affinity.key && this.#suits(place, session)
    const suiting = (group: string) => (fresh === true ? undefined : this.#idle.oldestThat(group, fits))
    if (siblings !== undefined) {
      const sibling = this.#roomIn(siblings, sessionFull, () => suiting(siblings))
      if (sibling !== undefined) return this.#take(sibling, session) ?? refuse("session_busy")
      if (sessionFull()) return refuse("session_busy")
    }
    const all = allGroup(affinity)
    const taken = this.#roomIn(
      mine,
      full,
      () => suiting(all),
      () => !scopeFull() && this.#takeShare(scope),
    )
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
    suiting: () => Place | undefined,
    others: () => boolean = () => false,
  ): Place | undefined {
    while (full()) {
      const cold = this.#coldestFree(group)
      if (cold !== undefined && !this.#ready(cold)) continue
      const suits = suiting()
      if (suits !== undefined) {
        if (this.#ready(suits.connection)) return suits
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
    const cold = from === undefined ? undefined : this.#coldestFree(scopeGroup(from))
    if (cold !== undefined && this.#ready(cold)) cold.evict("capacity", "")
    return cold !== undefined
  }

  *#holders(except: string): Iterable<Holder> {
    for (const [scope, connections] of this.#scopes.sizes()) {
      const coldSince = scope === except ? undefined : this.#coldestFree(scopeGroup(scope))?.idleSince
      if (coldSince !== undefined) yield { scope, connections, coldSince }
    }
  }

  /** Takes the capacity before anything is awaited; eviction, in any state, gives it back. */
  #reserve(affinity: Affinity, session: string | undefined): Connection {
    const connection = new Connection(++this.#lastId, affinity, Scope.forkUnsafe(this.#scope), {
      now: this.#hooks.now,
      sharing: session === undefined ? undefined : this.#hooks.sharing(affinity),
      nextChain: () => ++this.#lastChain,
      onChain: (connection, chain) => this.#places.set(chain.id, { chain, connection }),
      onIdle: (connection, chain) => {
        const place = this.#places.get(chain.id)
        if (place !== undefined) for (const name of idleGroups(place)) this.#idle.add(name, place)
        this.#hooks.onIdle(connection)
      },
      onChainGone: (connection, chain) => {
        this.#places.delete(chain.id)
        this.#hooks.onLaneGone(connection)
      },
      onEvicted: (connection, eviction, chains) => {
        this.#connections.delete(connection)
        this.#scopes.remove(connection.affinity.scope, connection)
        for (const name of countedGroups(connection)) this.#counted.remove(name, connection)
        for (const { id } of chains) {
          const place = this.#places.get(id)
          if (place !== undefined) for (const name of idleGroups(place)) this.#idle.remove(name, place)
          this.#places.delete(id)
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

  #take(place: Place | undefined, session: string | undefined): Decision | undefined {
    if (place === undefined) return undefined
    const { chain, connection } = place
    if (chain.state._tag !== "Idle" || !this.#suits(place, session)) return undefined
    for (const name of idleGroups(place)) this.#idle.remove(name, place)
    for (const name of countedGroups(connection)) this.#counted.remove(name, connection)
    const lease = connection.lease(chain, session)
    for (const name of countedGroups(connection)) this.#counted.add(name, connection)
    return lease === undefined ? undefined : { _tag: "Lease", lease }
  }

  #takeFitting(place: Place | undefined, session: string | undefined): Decision | undefined {
    if (place === undefined || !this.#ready(place.connection) || !this.#fits(place.connection, session))
      return undefined
    return this.#take(place, session)
  }

  /** Whether the session has a connection that a turn of this affinity can use. */
  #isWarm({ affinity, session }: LeaseRequest): boolean {
    const siblings = sessionGroup(affinity.scope, session)
    const cold = siblings === undefined ? undefined : this.#coldest(siblings, session)
    return cold?.connection.affinity.key === affinity.key
  }

  /** A connection that changes its session counts for the new one, which may be full. */
  #fits({ affinity: { scope }, session: held }: Connection, session: string | undefined): boolean {
    const siblings = sessionGroup(scope, session)
    if (siblings === undefined || held === session) return true
    return this.#counted.size(siblings) < this.#settings.maxConnectionsPerSession
  }

  /** Whether a turn may begin there now. What is shared is its session's alone. */
  #suits({ connection }: Place, session: string | undefined): boolean {
    const { isShared, session: held, state } = connection
    if (state._tag !== "Open") return false
    return !isShared || (held === session && mayRun(state) && !this.#isOld(connection))
  }

  #isOld({ affinity, state }: Connection): boolean {
    return state._tag === "Open" && this.#hooks.now() - state.openedAt >= affinity.upstream.maxAge
  }

  /** Whether the connection is young enough; one that is past its time is evicted here, if no turn has it. */
  #ready(connection: Connection): boolean {
    const { affinity, idleSince, state } = connection
    if (state._tag !== "Open") return false
    const isOld = this.#isOld(connection)
    if (idleSince === undefined) return !isOld
    if (isOld) connection.evict("age", "")
    else if (this.#hooks.now() - idleSince >= affinity.upstream.idleTtl) connection.evict("idle", "")
    return this.#connections.has(connection)
  }

  /** The coldest idle chain of a group at which a turn may begin. */
  #coldest(group: string, session: string | undefined): Place | undefined {
    return this.#idle.oldestThat(group, (place) => this.#ready(place.connection) && this.#suits(place, session))
  }

  /** Of the connections of a group that no turn has, the one whose chain is idle longest. */
  #coldestFree(group: string): Connection | undefined {
    return this.#idle.oldestThat(group, ({ connection }) => connection.idleSince !== undefined)?.connection
  }
}
