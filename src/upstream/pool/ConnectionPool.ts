/**
 * Keeps the upstream connections and leases one per turn.
 *
 * Choosing a connection and leasing it is one synchronous step, and so is reserving capacity before a dial, so no two
 * turns get one connection and no cap is passed while sockets open (docs/life-of-a-turn.md, Look-up order). A lease
 * ends with the scope of its caller: if it has not ended by then its connection is evicted, as `cancelled` when the
 * turn was interrupted. Closing the pool's own scope evicts every connection once.
 */
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { Settings } from "../../config/Settings.ts"
import { ageOf, monotonicMillisOf } from "../../turn/Elapsed.ts"
import { Observing } from "../../turn/record/Observing.ts"
import { failureOf, TurnError } from "../../turn/TurnError.ts"
import { Availability } from "./Availability.ts"
import type { Connection } from "./Connection.ts"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { Chain, EvictReason } from "./ConnectionState.ts"
import { LaneSupport } from "./LaneSupport.ts"
import { Dialer } from "../dialer/Dialer.ts"
import type { Lease } from "./Lease.ts"
import type { Upstream } from "../route/Upstreams.ts"
import { proxyFor } from "../../config/ProxyRules.ts"
import { closedUnheard, couldNotDial, ended, notAsked, opened, show, usedOnce } from "./PoolLog.ts"
import type { LeaseRequest } from "./Decision.ts"
import { refusals } from "./Decision.ts"
import { Roster } from "./Roster.ts"

/** One connection as the pool shows it: to tests, metrics and the status page. */
export interface ConnectionView {
  readonly id: number
  readonly scope: string
  readonly session: string | undefined
  /** Once it is open: whether a turn has it. */
  readonly state: "Connecting" | "Leased" | "Idle"
  /** The first of its chains; undefined: the connection is not open yet. */
  readonly chain: ChainId | undefined
  /** Where turns share it: the lanes, by the states of their chains. */
  readonly lanes: ReadonlyArray<Chain["state"]["_tag"]>
}

/** The largest message that an upstream may send, in bytes; a finished response with images is the largest there is. */
const maxInbound = 64 * 1024 * 1024

const busyWait = Duration.seconds(5)

export class ConnectionPool extends Context.Service<
  ConnectionPool,
  {
    /** Always fails with the delivery `NotSent`: nothing of the turn has been sent. */
    readonly lease: (request: LeaseRequest) => Effect.Effect<Lease, TurnError, Scope.Scope>
    /** Evicts the idle connections that fit; leased ones go on. */
    readonly evictIdle: (reason: EvictReason, fits: (connection: Connection) => boolean) => void
    /** The listener is called with each connection in the step in which its turn is over, and may evict it. */
    readonly onIdle: (listener: (connection: Connection) => void) => Effect.Effect<void, never, Scope.Scope>
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
  const availability = yield* Availability
  const clock = yield* Clock.Clock
  const observing = yield* Observing
  const poolScope = yield* Effect.scope
  const now = () => monotonicMillisOf(clock)
  const age = ageOf(clock)

  const waiters = new Set<Deferred.Deferred<void>>()
  // Deferred to a microtask: resumed here, a waiter would re-enter `decide` while it runs, or wait again for ever.
  const wake = () => {
    if (waiters.size === 0) return
    const woken = [...waiters]
    waiters.clear()
    queueMicrotask(() => {
      for (const waiter of woken) Deferred.doneUnsafe(waiter, Exit.void)
    })
  }
  const listeners = new Set<(connection: Connection) => void>()
  const context = yield* Effect.context<never>()
  const log = Effect.runForkWith(context)
  /** Upstreams of which the log says already that their connections carry one turn. */
  const singleUse = new WeakSet<Upstream>()
  const told = (connection: Connection) => {
    for (const listener of connection.idleSince === undefined ? [] : listeners) listener(connection)
    wake()
  }
  const laneSupport = new LaneSupport(settings, now)
  const roster = new Roster(settings, poolScope, {
    now: age,
    sharing: (affinity) => laneSupport.sharing(affinity),
    trouble: (affinity) => {
      const trouble = availability.trouble(affinity)
      // There is no other way, so it is tried.
      return trouble !== "dial_backoff" && affinity.upstream.transport === "websocket" ? undefined : trouble
    },
    onIdle: (connection) => {
      availability.heard(connection.affinity)
      told(connection)
    },
    onLaneGone: told,
    onEvicted: (connection, { detail, reason }) => {
      const { affinity, id } = connection
      observing.evicted({ connectionId: id, upstream: affinity.upstream.name, reason })
      log(ended(connection, reason, detail))
      if (connection.spoke) availability.heard(connection.affinity)
      else if ((reason === "closed" || reason === "policy_close") && availability.closedUnheard(connection.affinity)) {
        log(closedUnheard(connection))
      }
      // An upstream that does this again and again never continues, and nothing else would tell.
      if (reason === "unsolicited") log(notAsked(connection, detail))
      const { upstream } = connection.affinity
      if (reason === "single_use" && !singleUse.has(upstream)) {
        singleUse.add(upstream)
        log(usedOnce(upstream))
      }
      wake()
    },
  })

  const dial = Effect.fnUntraced(function* (connection: Connection, trace: LeaseRequest["trace"]) {
    const startedAt = now()
    const lost = yield* Deferred.make<never, TurnError>()
    yield* Scope.addFinalizer(
      connection.scope,
      Effect.sync(() => {
        Deferred.doneUnsafe(lost, Exit.fail(notSent("shutdown", "the proxy is shutting down")))
        connection.evict("shutdown", "respool is shutting down")
      }),
    )
    const { upstream, url } = connection.affinity
    let reached = false
    const proxy = proxyFor(settings.environmentProxies, url, upstream.proxy)
    const request = {
      url,
      headers: { ...Redacted.value(connection.affinity.headers), ...trace },
      maxMessage: maxInbound,
      tls: { ...upstream.tls, ...(upstream.tlsVerify === "off" ? { verify: false as const } : {}) },
      ...(proxy === undefined ? {} : { proxy }),
      onReached: () => {
        reached = true
      },
    }
    const socket = yield* dialer.dial(request, connection).pipe(
      Scope.provide(connection.scope),
      Effect.mapError(({ answer, message, reason }) => {
        const error = notSent(reason === "Refused" ? "upgrade_refused" : "dial_failed", message, answer)
        // What can't be written is the caller's own, or the settings': it says nothing about the upstream.
        if (reason === "HungUp" && availability.closedUnheard(connection.affinity)) log(closedUnheard(connection))
        else if (reason !== "Unsendable") availability.failed(connection.affinity, error, reached)
        return error
      }),
      Effect.timeoutOrElse({
        duration: Duration.millis(settings.handshakeTimeout),
        orElse: () => {
          const error = notSent("dial_timeout", "the upstream did not answer the upgrade in time")
          availability.failed(connection.affinity, error, reached)
          return Effect.fail(error)
        },
      }),
      Effect.raceFirst(Deferred.await(lost)),
    )
    // The upstream may have hung up between its answer and this step.
    if (connection.state._tag !== "Connecting") {
      const error = notSent("dial_failed", "the upstream closed at once")
      availability.failed(connection.affinity, error, true)
      return yield* error
    }
    availability.opened(connection.affinity)
    const lease = connection.opened(socket, now() - startedAt)
    // Others may wait to share it.
    if (lease.lane !== undefined) wake()
    return lease
  })

  const leaseWithin = (
    request: LeaseRequest,
    restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  ) =>
    Effect.gen(function* () {
      let decision = roster.decide(request, waiters.size >= settings.maxWaiting)
      if (decision._tag === "Wait") {
        const until = now() + Duration.toMillis(busyWait)
        while (decision._tag === "Wait") {
          const waiter = Deferred.makeUnsafe<void>()
          waiters.add(waiter)
          yield* restore(Effect.timeoutOption(Deferred.await(waiter), Duration.millis(until - now()))).pipe(
            Effect.ensuring(Effect.sync(() => waiters.delete(waiter))),
          )
          decision = roster.decide(request, now() >= until)
        }
      }
      switch (decision._tag) {
        case "Lease":
          return decision.lease
        case "Refuse":
          return yield* notSent(decision.reason, refusals[decision.reason])
        case "Dial": {
          const { connection } = decision
          const over = availability.dialling(connection.affinity)
          const startedAt = now()
          return yield* restore(dial(connection, request.trace)).pipe(
            Effect.ensuring(Effect.sync(over)),
            Effect.tapError((error) => couldNotDial(connection, error)),
            Effect.onExit((exit) =>
              Effect.sync(() => {
                observing.dialled({
                  connectionId: connection.id,
                  upstream: connection.affinity.upstream.name,
                  outcome: outcomeOf(exit),
                  millis: now() - startedAt,
                })
                if (Exit.isSuccess(exit)) log(opened(connection, now() - startedAt))
                else connection.evict(Exit.hasInterrupts(exit) ? "cancelled" : "dial_failed", "")
              }),
            ),
          )
        }
      }
    })

  const lease = (request: LeaseRequest) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.tap(leaseWithin(request, restore), (lease) =>
        Effect.flatMap(Effect.scope, (scope) =>
          Scope.addFinalizerExit(scope, (exit) =>
            Effect.sync(() => lease.evict(Exit.hasInterrupts(exit) ? "cancelled" : "failed")),
          ),
        ),
      ),
    )

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      roster.close()
      wake()
    }),
  )

  yield* show({
    observing,
    connections: () => roster.all(),
    most: settings.maxConnections,
    waiting: () => waiters.size,
    now: age,
  })

  return ConnectionPool.of({
    lease,
    evictIdle: (reason, fits) => {
      for (const connection of roster.all()) {
        if (connection.idleSince !== undefined && fits(connection)) connection.evict(reason, "")
      }
    },
    onIdle: (listener) =>
      Effect.acquireRelease(
        Effect.sync(() => void listeners.add(listener)),
        () => Effect.sync(() => void listeners.delete(listener)),
      ),
    heartbeat: (beat) => {
      for (const connection of roster.all()) {
        connection.heartbeat(beat)
      }
    },
    connections: () =>
      [...roster.all()].map(({ id, affinity, idleSince, session, state }) => ({
        id,
        scope: affinity.scope,
        session,
        state: state._tag === "Connecting" ? "Connecting" : idleSince === undefined ? "Leased" : "Idle",
        chain: state._tag === "Open" ? state.chains[0]?.id : undefined,
        lanes: state._tag === "Open" && state.shared !== undefined ? state.chains.map(({ state }) => state._tag) : [],
      })),
    waiting: () => waiters.size,
  })
})

/** How a dial ended, in one word. */
const outcomeOf = (exit: Exit.Exit<unknown, TurnError>): string =>
  Exit.isSuccess(exit) ? "opened" : Cause.hasInterruptsOnly(exit.cause) ? "cancelled" : failureOf(exit.cause).reason

const notSent = (reason: TurnError["reason"], message: string, answer?: TurnError["answer"]) =>
  new TurnError({ reason, delivery: "NotSent", message, ...(answer === undefined ? {} : { answer }) })
