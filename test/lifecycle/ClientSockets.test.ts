/**
 * Random schedules of clients' sockets: they open, ask on lanes, are held in the middle of an answer, leave, and in the end
 * all leave or the proxy drains. Each request has one end, and everything is given back.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { isObject } from "../../src/simulator/JsonText.ts"
import type { ClientOutcome, Fault, FaultTurn } from "../../src/simulator/Simulator.ts"
import { agent, SimulatedClient, Simulator } from "../../src/simulator/Simulator.ts"
import { Census } from "../../src/testing/Census.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { ask } from "../support/Ask.ts"
import { eventually, promptly, round } from "../support/EventLoop.ts"
import { socketsOpen, socketsOpenNow } from "../support/OpenSockets.ts"
import type { Random } from "../support/Random.ts"
import { makeRandom } from "../support/Random.ts"
import { runs } from "../support/Runs.ts"
import { keyed } from "../support/SocketClient.ts"
import { TestProxy } from "../support/TestProxy.ts"

const lanes = [undefined, "a", "b", "c"] as const

interface Asked {
  readonly text: string
  readonly fiber: Fiber.Fiber<ClientOutcome>
}

interface Held {
  readonly client: SimulatedClient
  readonly scope: Scope.Closeable
  readonly asked: Array<Asked>
  isGone: boolean
}

/** A request says at which frame of its answer the simulator is to hold it, or how its upstream ends. */
const faultOf = ({ request }: FaultTurn): ReadonlyArray<Fault> => {
  const metadata = request["metadata"]
  const at = isObject(metadata ?? null) ? Number((metadata as { readonly at?: string }).at) : Number.NaN
  if (Number.isNaN(at)) return []
  return at < 100 ? [{ _tag: "Hold", at }] : [{ _tag: "Reset", at: at - 100 }]
}

const clientSockets = Effect.fnUntraced(function* (url: string) {
  const { text } = yield* ask(new URL("/metrics", url).href)
  return Number(/^respool_client_sockets (\d+)/m.exec(text)?.[1])
})

class Schedule {
  readonly clients: Array<Held> = []
  readonly seen = { asked: 0, held: 0, left: 0, drained: 0 }
  readonly #random: Random
  readonly #url: string
  #number = 0

  constructor(random: Random, url: string) {
    this.#random = random
    this.#url = url
  }

  get open() {
    return this.clients.filter(({ isGone }) => !isGone)
  }

  readonly begin = Effect.fnUntraced(function* (this: Schedule) {
    const scope = yield* Scope.make()
    const session = { "session-id": `s${this.#random(3)}` }
    const opening = SimulatedClient.open(this.#url, { ...keyed(), ...(this.#random(2) === 0 ? {} : session) })
    this.clients.push({ client: yield* Scope.provide(opening, scope), scope, asked: [], isGone: false })
  })

  readonly ask = Effect.fnUntraced(function* (this: Schedule, { asked, client }: Held) {
    const text = `question ${++this.#number}`
    const lane = lanes[this.#random(lanes.length)]
    const how = this.#random(4)
    const at = how === 0 ? `${this.#random(10)}` : how === 1 ? `${100 + this.#random(10)}` : undefined
    this.seen.asked++
    if (how === 0) this.seen.held++
    const asking = client.ask({
      model: "gpt-5.5",
      store: false,
      input: text,
      ...(lane === undefined ? {} : { stream_id: lane }),
      ...(at === undefined ? {} : { metadata: { at } }),
    })
    asked.push({ text, fiber: yield* Effect.forkChild(asking) })
  })

  leave(held: Held) {
    held.isGone = true
    this.seen.left++
    held.client.leave((["close", "end", "reset"] as const)[this.#random(3)] ?? "reset")
  }
}

const play = Effect.fnUntraced(function* (seed: number) {
  const random = makeRandom(seed)
  const simulator = yield* Simulator
  const census = yield* Census
  yield* simulator.configure({ fault: faultOf })
  const fibers = census.fibers()
  const server = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    TestProxy.layerProxy({ upstreamUrl: simulator.url, drainTimeout: 1_000, retry: "strict" }),
    server,
  )
  const { url } = yield* Effect.provideContext(TestProxy, context)
  const pool = yield* Effect.provideContext(ConnectionPool, context)
  const schedule = new Schedule(random, url)
  for (let step = 0; step < 40; step++) {
    const held = schedule.open[random(schedule.open.length)]
    const what = random(20)
    if (held === undefined || (what < 3 && schedule.open.length < 6)) yield* schedule.begin()
    else if (what < 13) yield* schedule.ask(held)
    else if (what < 15) schedule.leave(held)
    else if (what < 17) yield* simulator.release
    else for (let rounds = random(20); rounds > 0; rounds--) yield* round
  }
  const stayed = schedule.open
  const drains = seed % 2 === 0
  if (drains) {
    schedule.seen.drained += stayed.length
    // What crosses with the close is nobody's to answer.
    for (let rounds = 0; rounds < 20; rounds++) yield* round
    const closing = yield* Effect.forkChild(Scope.close(server, Exit.void))
    for (let rounds = 0; rounds < 20; rounds++) yield* round
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(closing)
  } else for (const held of stayed) schedule.leave(held)
  for (const held of schedule.clients) {
    yield* held.client.gone
    for (const { fiber, text } of held.asked) {
      const { ended, events } = yield* Fiber.join(fiber)
      // Who stays until the proxy has drained is told of the end of each request.
      if (stayed.includes(held) && drains) assert.strictEqual(ended, "answered", text)
      if (ended === "answered") assert.match(String(events.at(-1)?.["type"]), /^(error|response\.completed)$/)
    }
    assert.strictEqual(held.client.strays, 0)
    if (stayed.includes(held) && drains) assert.strictEqual(held.client.closeCode, 1001)
    yield* Scope.close(held.scope, Exit.void)
  }
  if (drains) yield* socketsOpenNow(simulator, 0)
  else {
    yield* eventually(
      () => pool.connections().every(({ state }) => state === "Idle"),
      () =>
        pool
          .connections()
          .map(({ state }) => state)
          .join(),
    )
    yield* socketsOpen(simulator, pool.connections().length)
    assert.strictEqual(yield* clientSockets(url), 0)
    yield* Scope.close(server, Exit.void)
    yield* socketsOpenNow(simulator, 0)
  }
  assert.isTrue(simulator.turns.every(({ status }) => status !== "running" && status !== "queued"))
  yield* promptly(
    () => census.fibers() === fibers,
    () => `${fibers} fibers, there are ${census.fibers()}`,
  )
  return schedule.seen
})

describe("Clients' sockets", () => {
  it.effect("give everything back in every random schedule, and end each request once", () =>
    Effect.gen(function* () {
      const census = yield* Census
      const seen = { asked: 0, held: 0, left: 0, drained: 0 }
      const world = Simulator.layer({ script: agent({ rounds: 0 }) })
      let timers = Number.NaN
      for (let seed = 1; seed <= runs(60, 10); seed++) {
        const found = yield* play(seed).pipe(
          Effect.provide(world),
          Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}`, { cause }))),
        )
        for (const key of ["asked", "held", "left", "drained"] as const) seen[key] += found[key]
        // Once all the code has run.
        if (seed === 2) timers = census.timers()
      }
      for (const count of Object.values(seen)) assert.isAbove(count, 10)
      assert.isBelow(census.timers() - timers, 10)
    }).pipe(Effect.provide(Census.layer)),
  )
})
