/**
 * Keeps the upstream connections and leases one per turn.
 *
 * Choosing a connection and leasing it is one synchronous step, and so is reserving capacity before a dial, so no two
 * turns get one connection and no cap is passed while sockets open (design.md 3.3). A lease belongs to the caller's
 * scope: what has not ended when that closes is evicted, as `cancelled` when the turn was interrupted. Closing the
 * pool's own scope evicts every connection once.
 */
import { Clock, Context, Deferred, Duration, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { Settings } from "../Settings.ts"
import { TurnError } from "../turn/TurnError.ts"
import type { Affinity } from "./Affinity.ts"
import { Connection } from "./Connection.ts"
import type { Chain, ConnectionState, EvictReason } from "./ConnectionState.ts"
import { Dialer } from "./Dialer.ts"
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
}

/** One connection as others may see it: for tests, metrics and the page. */
export interface ConnectionView {
  readonly id: number
  readonly scope: string
  readonly session: string | undefined
  readonly state: ConnectionState["_tag"]
}

/** How many conversations that nobody continued an affinity keeps before an unnamed turn takes the coldest. */
const keepUncontinued = 8

/** The largest message an upstream may send, in bytes: a finished response with its images. */
const maxInbound = 64 * 1024 * 1024

const busyWait = Duration.seconds(5)

type Decision =
  | { readonly _tag: "Lease"; readonly lease: Lease }
  | { readonly _tag: "Dial"; readonly connection: Connection }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Refuse"; readonly reason: "pool_full" | "session_busy" | "shutdown" }

export class ConnectionPool extends Context.Service<
  ConnectionPool,
  {
    /** Fails with `NotSent` always: nothing of the turn has left. */
    readonly lease: (request: LeaseRequest) => Effect.Effect<Lease, TurnError, Scope.Scope>
    /** Evicts what is idle now and fits; what is leased goes on. */
    readonly evictIdle: (reason: EvictReason, fits: (connection: Connection) => boolean) => void
    readonly heartbeat: (beat: number) => void
    readonly connections: () => ReadonlyArray<ConnectionView>
    readonly waiting: () => number
  }
>()("respool/upstream/ConnectionPool") {
  static readonly layerNoDeps = Layer.effect(
    ConnectionPool,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const dialer = yield* Dialer
  const clock = yield* Clock.Clock
  const poolScope = yield* Effect.scope
  const now = () => clock.currentTimeMillisUnsafe()

  const connections = new Map<number, Connection>()
  /** Every connection, of whatever state: what the caps count. */
  const owned = new Groups()
  /** The idle ones, coldest first. */
  const idle = new Groups()
  const waiters = new Set<Deferred.Deferred<void>>()
  let lastId = 0
  let open = true

  const wake = () => {
    for (const waiter of waiters) Deferred.doneUnsafe(waiter, Exit.void)
    waiters.clear()
  }

  const unshelve = (connection: Connection) => {
    for (const name of idleGroups(connection)) idle.remove(name, connection)
  }

  const owner = {
    now,
    onIdle: (connection: Connection) => {
      for (const name of idleGroups(connection)) idle.add(name, connection)
      wake()
    },
    onEvicted: (connection: Connection) => {
      connections.delete(connection.id)
      for (const name of ownedGroups(connection)) owned.remove(name, connection)
      unshelve(connection)
      wake()
    },
  }

  /** Capacity is taken here, before anything is awaited; eviction, of whatever state, gives it back. */
  const reserve = (affinity: Affinity, session: string | undefined): Connection => {
    const connection = new Connection(++lastId, affinity, Scope.forkUnsafe(poolScope), owner)
    connection.session = session
    connections.set(connection.id, connection)
    for (const name of ownedGroups(connection)) owned.add(name, connection)
    return connection
  }

  const take = (connection: Connection, session: string | undefined): Decision => {
    unshelve(connection)
    for (const name of ownedGroups(connection)) owned.remove(name, connection)
    const lease = connection.lease(true, session)
    for (const name of ownedGroups(connection)) owned.add(name, connection)
    return { _tag: "Lease", lease }
  }

  /** Idle and young enough; one past its time is rotated out on the way. */
  const ready = (connection: Connection): boolean => {
    if (connection.state._tag !== "Idle") return false
    if (now() - connection.openedAt >= settings.maxAge) connection.evict("age", "")
    else if (now() - connection.state.since >= settings.idleTtl) connection.evict("idle", "")
    return connection.state._tag === "Idle"
  }

  /** The coldest of an idle group that is still young enough. */
  const coldest = (group: string): Connection | undefined => {
    let connection = idle.oldest(group)
    while (connection !== undefined && !ready(connection)) connection = idle.oldest(group)
    return connection
  }

  const decide = (request: LeaseRequest, waited: boolean): Decision => {
    const { affinity, session } = request
    const { scope } = affinity
    if (!open) return { _tag: "Refuse", reason: "shutdown" }

    if (request.anchor !== undefined) {
      const id = request.anchor()
      const holder = id === undefined ? undefined : connections.get(id)
      if (holder !== undefined && ready(holder)) return take(holder, session)
      if (holder?.state._tag === "Leased" && !waited) return { _tag: "Wait" }
    } else {
      for (const id of request.recall()) {
        const connection = connections.get(id)
        if (connection !== undefined && ready(connection)) return take(connection, session)
      }
    }

    const blank = coldest(chainGroup(affinity, "none"))
    if (blank !== undefined) return take(blank, session)
    const unnamed = session === undefined && request.anchor === undefined
    if (unnamed && idle.size(chainGroup(affinity, "once")) >= keepUncontinued) {
      const cold = coldest(chainGroup(affinity, "once"))
      if (cold !== undefined) return take(cold, session)
    }

    const line = sessionGroup(scope, session)
    const full = connections.size >= settings.maxConnections || owned.size(scopeGroup(scope)) >= settings.maxConnectionsPerScope
    if (line !== undefined && settings.busy === "http" && owned.size(line) > 0) {
      const place = coldest(line)
      if (place === undefined || place.affinity.key !== affinity.key) return { _tag: "Refuse", reason: "session_busy" }
      return take(place, session)
    }
    if (line !== undefined && owned.size(line) >= settings.maxConnectionsPerSession) {
      const place = coldest(line)
      if (place === undefined) return busy(waited, "session_busy")
      place.evict("capacity", "")
    } else if (full) {
      const place = coldest(scopeGroup(scope))
      if (place === undefined) return busy(waited, "pool_full")
      place.evict("capacity", "")
    }
    return { _tag: "Dial", connection: reserve(affinity, session) }
  }

  const busy = (waited: boolean, reason: "pool_full" | "session_busy"): Decision =>
    settings.busy === "wait" && !waited ? { _tag: "Wait" } : { _tag: "Refuse", reason }

  const dial = Effect.fnUntraced(function* (connection: Connection, session: string | undefined) {
    const lost = yield* Deferred.make<never, TurnError>()
    yield* Scope.addFinalizer(
      connection.scope,
      Effect.sync(() => {
        Deferred.doneUnsafe(lost, Exit.fail(notSent("dial_failed", "the pool closed while the socket opened")))
        connection.evict("shutdown", "respool is shutting down")
      }),
    )
    const request = {
      url: connection.affinity.url,
      headers: Redacted.value(connection.affinity.headers),
      maxMessage: maxInbound,
      ...(settings.tls === undefined ? {} : { tls: settings.tls }),
    }
    const socket = yield* dialer.dial(request, connection.handlers).pipe(
      Scope.provide(connection.scope),
      Effect.mapError((error) =>
        notSent(error.reason === "Refused" ? "upgrade_refused" : "dial_failed", error.message, error.answer),
      ),
      Effect.timeoutOrElse({
        duration: Duration.millis(settings.handshakeTimeout),
        orElse: () => Effect.fail(notSent("dial_timeout", "the upstream did not answer the upgrade in time")),
      }),
      Effect.raceFirst(Deferred.await(lost)),
    )
    connection.opened(socket)
    // The upstream may have hung up between its answer and this line.
    if (connection.state._tag !== "Connecting") return yield* notSent("dial_failed", "the upstream closed at once")
    return connection.lease(false, session)
  })

  const leaseWithin = (request: LeaseRequest, restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      let decision = decide(request, false)
      if (decision._tag === "Wait") {
        const until = now() + Duration.toMillis(busyWait)
        while (decision._tag === "Wait") {
          const waiter = Deferred.makeUnsafe<void>()
          waiters.add(waiter)
          yield* restore(Effect.timeoutOption(Deferred.await(waiter), Duration.millis(until - now()))).pipe(
            Effect.ensuring(Effect.sync(() => waiters.delete(waiter))),
          )
          decision = decide(request, now() >= until)
        }
      }
      switch (decision._tag) {
        case "Lease":
          return decision.lease
        case "Refuse":
          return yield* notSent(decision.reason, "every connection is in use")
        case "Dial": {
          const { connection } = decision
          return yield* restore(dial(connection, request.session)).pipe(
            Effect.onExit((exit) =>
              Effect.sync(() => {
                if (Exit.isFailure(exit)) connection.evict(Exit.hasInterrupts(exit) ? "cancelled" : "dial_failed", "")
              }),
            ),
          )
        }
      }
    })

  const lease = Effect.fn("ConnectionPool.lease")(function* (request: LeaseRequest) {
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.tap(leaseWithin(request, restore), (lease) =>
        Effect.flatMap(Effect.scope, (scope) =>
          Scope.addFinalizerExit(scope, (exit) =>
            Effect.sync(() => lease.evict(Exit.hasInterrupts(exit) ? "cancelled" : "failed")),
          ),
        ),
      ),
    )
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      open = false
      for (const connection of connections.values()) connection.evict("shutdown", "respool is shutting down")
      wake()
    }),
  )

  return ConnectionPool.of({
    lease,
    evictIdle: (reason, fits) => {
      for (const connection of connections.values()) {
        if (connection.state._tag === "Idle" && fits(connection)) connection.evict(reason, "")
      }
    },
    heartbeat: (beat) => {
      for (const connection of connections.values()) {
        if (connection.state._tag !== "Connecting") connection.heartbeat(beat)
      }
    },
    connections: () =>
      [...connections.values()].map(({ id, affinity, session, state }) => ({
        id,
        scope: affinity.scope,
        session,
        state: state._tag,
      })),
    waiting: () => waiters.size,
  })
})

const notSent = (reason: TurnError["reason"], message: string, answer?: TurnError["answer"]) =>
  new TurnError({ reason, delivery: "NotSent", message, ...(answer === undefined ? {} : { answer }) })

const scopeGroup = (scope: string) => `scope ${scope}`
const sessionGroup = (scope: string, session: string | undefined) =>
  session === undefined ? undefined : `session ${scope}\n${session}`
const chainGroup = (affinity: Affinity, chain: Chain) => `${chain} ${affinity.key}`

const ownedGroups = ({ affinity: { scope }, session }: Connection) => {
  const line = sessionGroup(scope, session)
  return line === undefined ? [scopeGroup(scope)] : [scopeGroup(scope), line]
}

/** Groups of an idle connection; the chain is kept on the connection, since the state may have changed already. */
const idleGroups = (connection: Connection) => [
  ...ownedGroups(connection),
  chainGroup(connection.affinity, connection.chain),
]
