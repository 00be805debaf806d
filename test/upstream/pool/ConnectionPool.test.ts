import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Metric, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { TurnError } from "../../../src/turn/TurnError.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import { Settings } from "../../../src/config/Settings.ts"
import * as Metrics from "../../../src/observe/Metrics.ts"
import * as Observing from "../../../src/turn/record/Observing.ts"
import { Revocation } from "../../../src/turn/Revocation.ts"
import type { Lease } from "../../../src/upstream/pool/Lease.ts"
import { affinity, lease, open, pool, request } from "../../support/Leasing.ts"
import { counted } from "../../support/Metered.ts"
import { TestDialer } from "../../support/TestDialer.ts"
import { errorIn } from "../../support/RecordedTurn.ts"

/** With its metrics. */
const metered = Metrics.layer.pipe(Layer.provideMerge(pool()), Layer.provide([Observing.layer, Settings.layer()]))

const states = Effect.map(ConnectionPool, (service) => service.connections().map(({ state }) => state))

/** Ends the lease as a completed turn does. */
const completed = (leased: Lease) => Effect.sync(() => leased.complete("once"))

const reasonOf = (exit: Exit.Exit<unknown, TurnError>) => errorIn(exit)?.reason ?? "none"

describe("ConnectionPool", () => {
  it.effect("leases a completed connection again, by what is remembered of it", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const first = yield* open()
      yield* completed(first.lease)
      yield* Scope.close(first.scope, Exit.void)
      assert.deepStrictEqual(yield* states, ["Idle"])
      const second = yield* open({ recall: () => [first.lease.connectionId] })
      assert.isTrue(second.lease.reused)
      assert.strictEqual(second.lease.connectionId, first.lease.connectionId)
      assert.strictEqual(dialer.dials(), 1)
    }).pipe(Effect.provide(pool())),
  )

  it.effect("evicts a lease whose scope closes before it is complete, and terminates its socket once", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const { scope } = yield* open()
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* states, [])
      assert.strictEqual(dialer.sockets[0]?.terminated, 1)
    }).pipe(Effect.provide(pool())),
  )

  it.effect("names why connections end, an interrupted turn's as cancelled", () =>
    Effect.gen(function* () {
      const interrupted = yield* open()
      yield* Scope.close(interrupted.scope, Exit.interrupt())
      const failed = yield* open()
      yield* Scope.close(failed.scope, Exit.fail("no"))
      assert.deepStrictEqual(yield* counted("respool_evictions_total"), { cancelled: 1, failed: 1 })
    }).pipe(Effect.provide(metered), Effect.provideService(Metric.MetricRegistry, new Map())),
  )

  it.effect("never leases one connection twice at a time", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const first = yield* open()
      yield* open({ recall: () => [first.lease.connectionId] })
      assert.strictEqual(dialer.dials(), 2)
      assert.deepStrictEqual(yield* states, ["Leased", "Leased"])
    }).pipe(Effect.provide(pool())),
  )

  it.effect("does nothing when an ended lease is ended again", () =>
    Effect.gen(function* () {
      const first = yield* open()
      yield* completed(first.lease)
      const second = yield* open({ recall: () => [first.lease.connectionId] })
      assert.isTrue(second.lease.reused)
      first.lease.evict("failed")
      first.lease.complete("none")
      yield* Scope.close(first.scope, Exit.void)
      assert.deepStrictEqual(yield* states, ["Leased"])
    }).pipe(Effect.provide(pool())),
  )

  it.effect("takes an idle connection without a conversation before it dials", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const first = yield* open({ session: "one" })
      first.lease.complete("none")
      const second = yield* open({ session: "two" })
      assert.isTrue(second.lease.reused)
      assert.strictEqual(dialer.dials(), 1)
    }).pipe(Effect.provide(pool())),
  )

  it.effect("shares nothing between affinities", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const first = yield* open({ affinity: affinity("a") })
      first.lease.complete("none")
      const second = yield* open({ affinity: affinity("b") })
      assert.isFalse(second.lease.reused)
      assert.strictEqual(dialer.dials(), 2)
    }).pipe(Effect.provide(pool())),
  )

  it.effect("keeps eight conversations that nobody continued, then takes the coldest for an unnamed turn", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const held: Array<Lease> = []
      for (let i = 0; i < 8; i++) held.push((yield* open()).lease)
      for (const leased of held) {
        yield* TestClock.adjust("1 second")
        leased.complete("once")
      }
      const next = yield* open()
      assert.isTrue(next.lease.reused)
      assert.strictEqual(next.lease.connectionId, held[0]?.connectionId)
      const named = yield* open({ session: "named" })
      assert.isFalse(named.lease.reused)
      assert.strictEqual(dialer.dials(), 9)
    }).pipe(Effect.provide(pool())),
  )

  describe("caps", () => {
    it.effect("are never passed, not even while dials hang", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        dialer.outcome.next = "hang"
        const hanging = yield* Effect.forkChild(Effect.scoped(lease()))
        yield* Deferred.await(dialer.hanging)
        assert.strictEqual(reasonOf(yield* Effect.exit(Effect.scoped(lease()))), "pool_full")
        yield* Fiber.interrupt(hanging)
        assert.deepStrictEqual(yield* states, [])
        dialer.outcome.next = "open"
        yield* open()
        assert.strictEqual(dialer.open(), 1)
      }).pipe(Effect.provide(pool({ maxConnections: 1 }))),
    )

    it.effect("make room by evicting the least recently used idle connection of the scope", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const old = yield* open({ session: "old" })
        const young = yield* open({ session: "young" })
        yield* completed(old.lease)
        yield* TestClock.adjust("1 second")
        yield* completed(young.lease)
        yield* open({ session: "new", affinity: affinity("b") })
        assert.deepStrictEqual(
          dialer.sockets.map(({ terminated }) => terminated),
          [1, 0, 0],
        )
      }).pipe(Effect.provide(pool({ maxConnectionsPerScope: 2 }))),
    )

    it.effect("hold for a session, whose own coldest connection gives way", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const first = yield* open({ session: "one" })
        assert.strictEqual(reasonOf(yield* Effect.exit(Effect.scoped(lease({ session: "one" })))), "session_busy")
        yield* completed(first.lease)
        yield* open({ session: "one", affinity: affinity("b") })
        assert.strictEqual(dialer.dials(), 2)
        assert.strictEqual(dialer.open(), 1)
      }).pipe(Effect.provide(pool({ maxConnectionsPerSession: 1 }))),
    )

    it.effect("are waited for with `busy: wait`, five seconds at most", () =>
      Effect.gen(function* () {
        const service = yield* ConnectionPool
        const first = yield* open()
        const waiting = yield* Effect.forkChild(open({ recall: () => [first.lease.connectionId] }))
        yield* Effect.yieldNow
        assert.strictEqual(service.waiting(), 1)
        yield* completed(first.lease)
        const second = yield* Fiber.join(waiting)
        assert.isTrue(second.lease.reused)
        const inVain = yield* Effect.forkChild(Effect.exit(Effect.scoped(lease())))
        yield* Effect.yieldNow
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(reasonOf(yield* Fiber.join(inVain)), "pool_full")
        assert.strictEqual(service.waiting(), 0)
      }).pipe(Effect.provide(pool({ maxConnections: 1, busy: "wait" }))),
    )

    it.effect("wake every waiter once and none in the middle of another's choice", () =>
      Effect.gen(function* () {
        const service = yield* ConnectionPool
        const first = yield* open()
        let decided = 0
        const recall = () => {
          // Waking in the middle of a choice would choose for ever, and no assertion would ever be reached.
          if (++decided > 100) throw new Error("chosen without end")
          return []
        }
        const waiting = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(Effect.exit(open({ recall }))))
        yield* Effect.yieldNow
        assert.strictEqual(service.waiting(), 3)
        yield* completed(first.lease)
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        assert.isBelow(decided, 20)
        assert.isAtMost(service.connections().length, 1)
        yield* TestClock.adjust("5 seconds")
        for (const fiber of waiting) yield* Fiber.join(fiber)
        assert.isAtMost(service.connections().length, 1)
      }).pipe(Effect.provide(pool({ maxConnections: 1, busy: "wait" }))),
    )

    it.effect("leave a session one connection with `busy: http`", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const first = yield* open({ session: "one" })
        assert.strictEqual(reasonOf(yield* Effect.exit(Effect.scoped(lease({ session: "one" })))), "session_busy")
        yield* completed(first.lease)
        const second = yield* open({ session: "one" })
        assert.isTrue(second.lease.reused)
        assert.strictEqual(dialer.dials(), 1)
      }).pipe(Effect.provide(pool({ busy: "http" }))),
    )
  })

  describe("the client's own anchor", () => {
    it.effect("waits for the connection that holds it", () =>
      Effect.gen(function* () {
        const first = yield* open()
        const waiting = yield* Effect.forkChild(open({ anchor: () => first.lease.connectionId }))
        yield* Effect.yieldNow
        yield* completed(first.lease)
        const second = yield* Fiber.join(waiting)
        assert.strictEqual(second.lease.connectionId, first.lease.connectionId)
      }).pipe(Effect.provide(pool())),
    )

    it.effect("that nobody holds never goes onto a live chain", () =>
      Effect.gen(function* () {
        const first = yield* open()
        yield* completed(first.lease)
        const second = yield* open({ anchor: () => undefined, recall: () => [first.lease.connectionId] })
        assert.isFalse(second.lease.reused)
      }).pipe(Effect.provide(pool())),
    )
  })

  describe("a dial", () => {
    it.effect("that is refused returns its reservation", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        dialer.outcome.next = "refuse"
        assert.strictEqual(reasonOf(yield* Effect.exit(Effect.scoped(lease()))), "upgrade_refused")
        assert.deepStrictEqual(yield* states, [])
        dialer.outcome.next = "open"
        yield* TestClock.adjust("1 second")
        yield* open()
      }).pipe(Effect.provide(pool({ maxConnections: 1 }))),
    )

    it.effect("that failed is followed by a pause that doubles up to 30 seconds, and ends with one that succeeds", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const attempt = Effect.map(Effect.exit(Effect.scoped(lease())), reasonOf)
        dialer.outcome.next = "refuse"
        for (const pause of [1, 2, 4, 8, 16, 30, 30]) {
          assert.strictEqual(yield* attempt, "upgrade_refused")
          yield* TestClock.adjust(pause * 1000 - 1)
          assert.strictEqual(yield* attempt, "dial_backoff")
          yield* TestClock.adjust(1)
        }
        assert.strictEqual(dialer.dials(), 7)
        dialer.outcome.next = "open"
        assert.strictEqual(yield* attempt, "none")
        dialer.outcome.next = "refuse"
        assert.strictEqual(yield* attempt, "upgrade_refused")
        yield* TestClock.adjust(1000)
        assert.strictEqual(yield* attempt, "upgrade_refused")
      }).pipe(Effect.provide(pool())),
    )

    it.effect("is made at once for a turn that wants a new connection, past one that would fit", () =>
      Effect.gen(function* () {
        const service = yield* ConnectionPool
        yield* completed((yield* open()).lease)
        const fresh = yield* open({ fresh: true })
        assert.isFalse(fresh.lease.reused)
        assert.deepStrictEqual(
          service
            .connections()
            .map(({ state }) => state)
            .sort(),
          ["Idle", "Leased"],
        )
      }).pipe(Effect.provide(pool())),
    )

    it.effect("that hangs ends with the handshake time-out", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        dialer.outcome.next = "hang"
        const fiber = yield* Effect.forkChild(Effect.exit(Effect.scoped(lease())))
        yield* Deferred.await(dialer.hanging)
        yield* TestClock.adjust("15 seconds")
        assert.strictEqual(reasonOf(yield* Fiber.join(fiber)), "dial_timeout")
        assert.deepStrictEqual(yield* states, [])
      }).pipe(Effect.provide(pool())),
    )

    it.effect("that is interrupted leaves nothing behind", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        dialer.outcome.next = "hang"
        const fiber = yield* Effect.forkChild(Effect.scoped(lease()))
        yield* Deferred.await(dialer.hanging)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* states, [])
        assert.strictEqual(dialer.open(), 0)
      }).pipe(Effect.provide(pool())),
    )
  })

  describe("the evictor", () => {
    it.effect("closes a connection that idled for its time", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const first = yield* open()
        yield* completed(first.lease)
        yield* beats(dialer, "59 seconds")
        assert.strictEqual(dialer.open(), 1)
        yield* beats(dialer, "15 seconds")
        assert.strictEqual(dialer.open(), 0)
      }).pipe(Effect.provide(pool({ idleTtl: 60_000 }))),
    )

    it.effect("lets a leased connection outlive its age, but no turn starts on it", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const first = yield* open()
        yield* beats(dialer, "61 seconds")
        assert.strictEqual(dialer.open(), 1)
        yield* completed(first.lease)
        const second = yield* open({ recall: () => [first.lease.connectionId] })
        assert.isFalse(second.lease.reused)
        assert.deepStrictEqual(
          dialer.sockets.map(({ terminated }) => terminated),
          [1, 0],
        )
      }).pipe(Effect.provide(pool({ maxAge: 60_000 }))),
    )

    it.effect("evicts what is idle of a revoked scope at once, and what was leased when it is over", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const { revoke } = yield* Revocation
        const idle = yield* open({ affinity: affinity("a", "gone") })
        yield* completed(idle.lease)
        const busy = yield* open({ affinity: affinity("b", "gone") })
        const other = yield* open({ affinity: affinity("c", "stays") })
        yield* completed(other.lease)
        revoke(new Set(["gone"]))
        assert.deepStrictEqual(
          dialer.sockets.map(({ terminated }) => terminated),
          [1, 0, 0],
        )
        yield* completed(busy.lease)
        assert.deepStrictEqual(
          dialer.sockets.map(({ terminated }) => terminated),
          [1, 1, 0],
        )
        const late = yield* open({ affinity: affinity("b", "gone") })
        yield* completed(late.lease)
        assert.strictEqual(dialer.sockets[3]?.terminated, 1)
        revoke(new Set())
        const again = yield* open({ affinity: affinity("b", "gone") })
        yield* completed(again.lease)
        assert.strictEqual(dialer.sockets[4]?.terminated, 0)
      }).pipe(Effect.provide(pool())),
    )

    it.effect("evicts a connection that shows no sign of life for two and a half ping intervals", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const first = yield* open()
        yield* completed(first.lease)
        yield* TestClock.adjust("25 seconds")
        assert.isAbove(dialer.sockets[0]?.pings ?? 0, 0)
        yield* TestClock.adjust("37 seconds")
        assert.strictEqual(dialer.open(), 1)
        yield* TestClock.adjust("26 seconds")
        assert.strictEqual(dialer.open(), 0)
      }).pipe(Effect.provide(pool())),
    )

    it.effect("counts any frame as life, and no silence of a socket that is paused", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const { lease: leased } = yield* open()
        leased.pause()
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(dialer.open(), 1)
        leased.resume()
        yield* beats(dialer, "10 minutes")
        assert.strictEqual(dialer.open(), 1)
      }).pipe(Effect.provide(pool())),
    )
  })

  describe("a frame or a close that nobody asked for", () => {
    it.effect("evicts an idle connection", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const first = yield* open()
        yield* completed(first.lease)
        dialer.sockets[0]?.handlers.onText('{"type":"response.completed"}')
        assert.deepStrictEqual(yield* states, [])
        assert.strictEqual(dialer.sockets[0]?.terminated, 1)
      }).pipe(Effect.provide(pool())),
    )

    it.effect("is told to the turn that holds the connection", () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const { lease: leased, scope } = yield* open()
        const lost: Array<string> = []
        leased.listen({ onText: () => {}, onLost: (reason) => lost.push(reason) })
        dialer.sockets[0]?.handlers.onClose(1006, "")
        assert.deepStrictEqual(lost, ["closed"])
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(dialer.sockets[0]?.terminated, 1)
      }).pipe(Effect.provide(pool())),
    )
  })

  it.effect("closes every connection once when its scope closes, leased ones too, and leases no more", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(pool(), scope)
      const { idle, lost, service, sockets } = yield* Effect.gen(function* () {
        const lost: Array<string> = []
        const idle = yield* open()
        const leased = yield* open()
        yield* completed(idle.lease)
        leased.lease.listen({ onText: () => {}, onLost: (reason) => lost.push(reason) })
        return { idle, lost, service: yield* ConnectionPool, sockets: (yield* TestDialer).sockets }
      }).pipe(Effect.provideContext(context))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(
        sockets.map(({ terminated }) => terminated),
        [1, 1],
      )
      assert.deepStrictEqual(lost, ["shutdown"])
      yield* Scope.close(idle.scope, Exit.void)
      assert.strictEqual(reasonOf(yield* Effect.exit(Effect.scoped(service.lease(request())))), "shutdown")
    }),
  )
})

/** Lets time pass in steps in which every open socket answers its ping. */
const beats = (dialer: TestDialer["Service"], time: "59 seconds" | "15 seconds" | "61 seconds" | "10 minutes") =>
  Effect.gen(function* () {
    const seconds = { "59 seconds": 59, "15 seconds": 15, "61 seconds": 61, "10 minutes": 600 }[time]
    for (let i = 0; i < seconds; i++) {
      for (const socket of dialer.sockets) socket.handlers.onAlive()
      yield* TestClock.adjust("1 second")
    }
  })
