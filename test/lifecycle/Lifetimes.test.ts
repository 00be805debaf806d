import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { Census } from "../../src/testing/Census.ts"
import { ask, request } from "../support/Ask.ts"
import { reading } from "../support/Reading.ts"
import { user } from "../support/Items.ts"
import { eventually, promptly } from "../support/EventLoop.ts"
import { socketsOpenNow } from "../support/OpenSockets.ts"
import { runs } from "../support/Runs.ts"
import { connect } from "../support/TestClient.ts"

const asking = (text: string) => ({ key: "test-key-a", body: { model: "m", stream: true, input: [user(text)] } })

const complete = (url: string, text: string) => ask(`${url}/responses`, asking(text))

/** Starts a turn that the simulator holds in mid-answer, and reads up to there; the reader can walk away. */
const held = Effect.fnUntraced(function* (url: string) {
  const simulator = yield* Simulator
  yield* simulator.failNext({ _tag: "Hold", at: 6 })
  const abort = new AbortController()
  const reader = reading(yield* Effect.promise(() => request(`${url}/responses`, asking("held"), abort.signal)))
  yield* reader.upTo("\n\n")
  return { abort: () => abort.abort(), reader }
})

/** The proxy in a scope of its own in front of a simulator that outlives it. */
const proxyInScope = Effect.gen(function* () {
  const simulator = yield* Simulator
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    TestProxy.layerProxy({ upstreamUrl: simulator.url, drainTimeout: 1_000 }),
    scope,
  )
  const proxy = yield* Effect.provideContext(TestProxy, context)
  const pool = yield* Effect.provideContext(ConnectionPool, context)
  return { pool, proxy, scope }
})

const world = Simulator.layer().pipe(Layer.provideMerge(Census.layer))

/** What a fiber of a leaked socket or turn would not let come about. */
const settled = Effect.fnUntraced(function* (fibers: number) {
  const census = yield* Census
  yield* promptly(
    () => census.fibers() === fibers,
    () => `${fibers} fibers, there are ${census.fibers()}`,
  )
})

const closedOnce = Effect.map(Simulator, ({ connections }) =>
  connections.every(({ closeCode, open }) => !open && closeCode !== undefined),
)

describe("closing a scope closes exactly what it owns", () => {
  it.effect("a turn that the client leaves: its socket closes, its fibers end, everything else goes on", () =>
    Effect.gen(function* () {
      const census = yield* Census
      const simulator = yield* Simulator
      const { proxy } = yield* proxyInScope
      const before = census.fibers()
      yield* complete(proxy.url, "other")
      const turn = yield* held(proxy.url)
      assert.strictEqual(simulator.counters.openSockets, 2)
      turn.abort()
      yield* eventually(
        () => proxy.logged.some((line) => line.includes("outcome=cancelled")),
        () => "a cancelled turn",
      )
      yield* socketsOpenNow(simulator, 1)
      assert.strictEqual(simulator.connections[0]?.open, true)
      assert.strictEqual(simulator.connections[1]?.open, false)
      // The fiber that watches the turns' deadlines sees that there are none.
      yield* TestClock.adjust("1 second")
      yield* settled(before)
    }).pipe(Effect.provide(world)),
  )

  it.effect("the server: every socket and fiber, whether a turn was under way or not", () =>
    Effect.gen(function* () {
      const census = yield* Census
      const simulator = yield* Simulator
      const fibers = census.fibers()
      const { proxy, scope } = yield* proxyInScope
      yield* complete(proxy.url, "idle")
      const turn = yield* held(proxy.url)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      yield* socketsOpenNow(simulator, 0)
      assert.isTrue(yield* closedOnce)
      yield* settled(fibers)
      assert.isTrue(
        yield* Effect.promise(() =>
          request(`${proxy.url}/responses`, asking("late")).then(
            () => false,
            () => true,
          ),
        ),
      )
      turn.abort()
    }).pipe(Effect.provide(world)),
  )

  it.effect("the server: a turn under way ends by itself within the drain time-out", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { proxy, scope } = yield* proxyInScope
      const { reader } = yield* held(proxy.url)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow
      yield* simulator.release
      assert.include(yield* reader.rest, "event: response.completed")
      yield* Fiber.join(closing)
      yield* socketsOpenNow(simulator, 0)
    }).pipe(Effect.provide(world)),
  )

  it.effect("many turns, half of them left by their clients, leave no socket, fiber or timer behind", () =>
    Effect.gen(function* () {
      const census = yield* Census
      const simulator = yield* Simulator
      const { pool, proxy, scope } = yield* proxyInScope
      const fibers = census.fibers()
      yield* complete(proxy.url, "warm up")
      const timers = census.timers()
      for (let i = 0; i < runs(100, 20); i++) {
        const turn = yield* held(proxy.url)
        turn.abort()
        yield* eventually(
          () => simulator.turns.at(-1)?.status === "abandoned",
          () => `the end of turn ${i} upstream`,
        )
        yield* complete(proxy.url, `turn ${i}`)
      }
      yield* socketsOpenNow(simulator, pool.connections().length)
      assert.isAtMost(pool.connections().length, 9)
      yield* TestClock.adjust("1 second")
      yield* settled(fibers)
      assert.isBelow(census.timers() - timers, 10)
      yield* Scope.close(scope, Exit.void)
    }).pipe(Effect.provide(world)),
  )

  it.effect("many sockets of clients, half of them left in the middle of a lane's turn, leave nothing behind", () =>
    Effect.gen(function* () {
      const census = yield* Census
      const simulator = yield* Simulator
      const { pool, proxy, scope } = yield* proxyInScope
      const fibers = census.fibers()
      yield* complete(proxy.url, "warm up")
      const timers = census.timers()
      for (let i = 0; i < runs(100, 20); i++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const client = yield* connect(proxy, { authorization: "Bearer test-key-a" })
            for (const lane of ["a", "b"]) {
              assert.strictEqual((yield* client.turn({ input: "x", stream_id: lane })).type, "response.completed")
            }
            if (i % 2 === 0) {
              yield* client.close
              yield* client.closed
              return
            }
            yield* simulator.failNext({ _tag: "Hold", at: 6 })
            yield* client.send({ input: "held", stream_id: "a" })
            yield* client.send({ input: "waits", stream_id: "a" })
            yield* simulator.until(({ turns }) => turns.at(-1)?.status === "running")
            yield* client.terminate
            yield* simulator.until(({ turns }) => turns.at(-1)?.status === "abandoned")
          }),
        )
      }
      yield* socketsOpenNow(simulator, pool.connections().length)
      assert.isTrue(pool.connections().every(({ state }) => state === "Idle"))
      yield* TestClock.adjust("1 second")
      yield* settled(fibers)
      assert.isBelow(census.timers() - timers, 10)
      yield* Scope.close(scope, Exit.void)
      yield* socketsOpenNow(simulator, 0)
    }).pipe(Effect.provide(world)),
  )

  it.effect("the pool counts what the upstream counts", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { pool, proxy, scope } = yield* proxyInScope
      yield* Effect.all(
        Array.from({ length: 20 }, (_, index) => complete(proxy.url, `turn ${index}`)),
        { concurrency: "unbounded" },
      )
      assert.strictEqual(pool.connections().length, simulator.counters.openSockets)
      assert.isTrue(pool.connections().every(({ state }) => state === "Idle"))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(pool.connections().length, 0)
      yield* socketsOpenNow(simulator, 0)
      assert.isTrue(yield* closedOnce)
    }).pipe(Effect.provide(world)),
  )
})
