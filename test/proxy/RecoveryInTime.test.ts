import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Server from "../../src/Server.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { Executor } from "../../src/turn/Executor.ts"
import { turnOf } from "../support/TurnRequests.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { TestSocket } from "../support/TestDialer.ts"
import { TestDialer } from "../support/TestDialer.ts"
import { ask, codeIn, endingOf, proxied, reference, script, settled, terminal } from "../support/Faulty.ts"
import { eventsOf } from "../support/Events.ts"
import { user } from "../support/Items.ts"
import { RecordedTurn, errorIn } from "../support/RecordedTurn.ts"

const turn = Effect.gen(function* () {
  const { url } = yield* TestProxy
  return yield* ask({ url, stream: false, session: "s", input: [user("One")] })
})

describe("While a turn is retried", () => {
  it.effect("the head leaves after 2 seconds with heartbeats, and the client sees one set of lifecycle events", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { logged, url } = yield* TestProxy
      const right = yield* reference(true)
      yield* simulator.failNext({ _tag: "Hold", at: 2 }, { _tag: "Close", at: 2, code: 1011 })
      yield* simulator.failNext({ _tag: "Hold", at: 2 })
      let text = ""
      const waiting: Array<() => void> = []
      const seen = (all: string) => {
        text = all
        for (const look of waiting) look()
      }
      const grows = (to: string) =>
        Effect.callback<void>((resume) => {
          const look = () => void (text === to && resume(Effect.void))
          waiting.push(look)
          look()
        })
      const beat = ": heartbeat\n"
      const fiber = yield* Effect.forkChild(ask({ url, stream: true, session: "s", input: [user("One")], seen }))
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(text, "")
      yield* TestClock.adjust("1 millis")
      yield* grows(beat)
      yield* TestClock.adjust("15 seconds")
      yield* grows(beat + beat)
      yield* simulator.release
      yield* simulator.until(({ turns }) => turns[1]?.status === "running")
      yield* TestClock.adjust("15 seconds")
      yield* grows(beat + beat + beat)
      yield* simulator.release
      const got = yield* Fiber.join(fiber)
      assert.strictEqual(endingOf(got, true, right[0] ?? []), "answer")
      assert.strictEqual(eventsOf(got.text).length, terminal + 1)
      assert.strictEqual(simulator.counters.executions, 2)
      assert.match(logged.at(-1) ?? "", / reason=upstream_closed .* outcome=completed /)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("the time for the whole turn goes on", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.failNext({ _tag: "Hold", at: 2 }, { _tag: "Close", at: 2, code: 1011 })
      yield* simulator.failNext({ _tag: "Stall", at: 2 })
      const fiber = yield* Effect.forkChild(turn)
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* TestClock.adjust("8 seconds")
      yield* simulator.release
      yield* simulator.until(({ turns }) => turns[1]?.status === "running")
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const got = yield* Fiber.join(fiber)
      assert.deepStrictEqual([got.status, codeIn(got)], [504, "turn_timeout"])
      assert.strictEqual(got.headers.get("x-should-retry"), "false")
      assert.strictEqual(simulator.counters.executions, 2)
    }).pipe(Effect.provide(proxied({ turnTimeout: 10_000 }))),
  )

  it.effect("a client that leaves ends it, and nothing is retried", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.failNext({ _tag: "Hold", at: 2 })
      const fiber = yield* Effect.forkChild(turn)
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* Fiber.interrupt(fiber)
      yield* simulator.until(({ turns }) => turns[0]?.status === "abandoned")
      yield* settled()
      assert.deepInclude(simulator.counters, { executions: 1, upgrades: 1, httpTurns: 0, openSockets: 0 })
    }).pipe(Effect.provide(proxied())),
  )
})

const wired = (settings: Partial<SettingsValues> = {}) =>
  Layer.unwrap(
    Effect.map(Simulator, ({ url }) =>
      Server.layerExecutor.pipe(
        Layer.provideMerge(TestDialer.layer),
        Layer.provide(Settings.layer({ upstreamUrl: url, ...settings })),
      ),
    ),
  ).pipe(Layer.provideMerge(Simulator.layer({ script })))

/** Runs a turn without a listener, and says how it went and what ended it. */
const run = Effect.fnUntraced(function* (...input: ReadonlyArray<string>) {
  const sink = new RecordedTurn()
  const request = turnOf({ model: "m", input: input.map(user) }, { stream: false })
  const { execute } = yield* Executor
  const exit = yield* Effect.exit(execute(request, sink))
  return {
    ways: sink.routes.map(({ reason, transport }) => `${transport} ${reason}`),
    error: errorIn(exit)?.reason,
  }
})

describe("A socket that nobody knows is dead", () => {
  const complete = (text: string) => JSON.stringify({ type: "response.completed", response: { id: text, output: [] } })

  it.effect("costs one more connection, then HTTP, as long as nothing was written", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      let answers = 0
      dialer.answer.with = (socket) => socket.handlers.onText(complete(`resp_${++answers}`))
      yield* run("One")
      for (const socket of dialer.sockets) socket.dead = true
      assert.deepStrictEqual((yield* run("One", "Two")).ways, [
        "websocket continued",
        "websocket socket_lost_before_send",
      ])
      const { counters } = yield* Simulator
      assert.deepStrictEqual([dialer.dials(), counters.httpTurns], [2, 0])

      const sockets: Array<TestSocket> = []
      dialer.answer.with = (socket) => void sockets.push(socket)
      const both = yield* Effect.forkChild(Effect.all([run("Three"), run("Three")], { concurrency: "unbounded" }))
      yield* Effect.yieldNow
      for (const [index, socket] of sockets.entries()) socket.handlers.onText(complete(`resp_both_${index}`))
      yield* Fiber.join(both)
      for (const socket of dialer.sockets) socket.dead = true
      assert.deepStrictEqual((yield* run("Three", "Four")).ways, [
        "websocket continued",
        "websocket socket_lost_before_send",
        "http socket_lost_before_send",
      ])
      assert.deepStrictEqual([dialer.dials(), counters.httpTurns], [4, 1])
    }).pipe(Effect.provide(wired())),
  )

  it.effect("ends its turn when it answers no ping, and nothing is tried again", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      dialer.answer.with = () => undefined
      const fiber = yield* Effect.forkChild(run("One"))
      yield* Effect.yieldNow
      yield* TestClock.adjust("2 minutes")
      const { error, ways } = yield* Fiber.join(fiber)
      assert.strictEqual(error, "ping_timeout")
      assert.strictEqual(ways.length, 1)
      assert.strictEqual(dialer.dials(), 1)
    }).pipe(Effect.provide(wired())),
  )
})
