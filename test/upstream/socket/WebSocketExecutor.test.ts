import { assert, describe, it } from "@effect/vitest"
import type { Exit } from "effect"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsValues } from "../../../src/config/Settings.ts"
import { Settings } from "../../../src/config/Settings.ts"
import type { TurnRoute, TurnSink } from "../../../src/turn/Executor.ts"
import type { TurnError } from "../../../src/turn/TurnError.ts"
import { BodyHeads } from "../../../src/turn/memory/BodyHeads.ts"
import { TurnMemory } from "../../../src/turn/memory/TurnMemory.ts"
import { Availability } from "../../../src/upstream/pool/Availability.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import { Credentials } from "../../../src/upstream/credential/Credentials.ts"
import { Routing } from "../../../src/upstream/route/Routing.ts"
import { Upstreams } from "../../../src/upstream/route/Upstreams.ts"
import { WebSocketExecutor } from "../../../src/upstream/socket/WebSocketExecutor.ts"
import { turnOf } from "../../support/TurnRequests.ts"
import { TestDialer, type TestSocket } from "../../support/TestDialer.ts"
import { user } from "../../support/Items.ts"
import { RecordedTurn, errorIn } from "../../support/RecordedTurn.ts"
import { runs } from "../../support/Runs.ts"

const executor = (settings: Partial<SettingsValues> = {}) =>
  WebSocketExecutor.layerNoDeps.pipe(
    Layer.provideMerge(ConnectionPool.layerNoDeps),
    Layer.provideMerge(TurnMemory.layer),
    Layer.provideMerge([TestDialer.layer, BodyHeads.layer, Availability.layer]),
    Layer.provide(Routing.layerNoDeps),
    Layer.provide([Upstreams.layerNoDeps, Credentials.layerFixed]),
    Layer.provide(Settings.layer({ upstreamUrl: "http://upstream/v1", ...settings })),
  )

const message = (text: string) => ({ type: "message", role: "assistant", content: text })

const say = (socket: TestSocket, event: unknown) => socket.handlers.onText(JSON.stringify(event))

/** Answers at once, in the same step in which the frame was sent. */
const answering = (dialer: TestDialer["Service"]) => {
  let turn = 0
  dialer.answer.with = (socket) => {
    turn++
    const item = message(`answer ${turn}`)
    say(socket, { type: "response.created", response: { id: `resp_${turn}` } })
    say(socket, { type: "response.output_item.done", output_index: 0, item })
    say(socket, { type: "response.completed", response: { id: `resp_${turn}`, output: [item] } })
  }
}

const execute = (body: object, sink: TurnSink = new RecordedTurn()) =>
  Effect.flatMap(WebSocketExecutor, (service) => service.execute(turnOf(body), sink))

const states = Effect.map(ConnectionPool, (service) => service.connections().map(({ state }) => state))

const errorOf = (exit: Exit.Exit<unknown, TurnError>) => {
  const error = errorIn(exit)
  return error === undefined ? undefined : { reason: error.reason, delivery: error.delivery }
}

const failure = (body: object) => Effect.map(Effect.exit(execute(body)), errorOf)

describe("WebSocketExecutor", () => {
  it.effect("sends the second turn as a suffix with the first one's id", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      const sink = new RecordedTurn()
      yield* execute({ model: "m", input: [user("one")] }, sink)
      yield* execute({ model: "m", input: [user("one"), message("answer 1"), user("two")] }, sink)
      assert.deepStrictEqual(
        sink.routes.map(({ connection, input, reason }) => [connection, input, reason]),
        [
          ["new", "full", "no_checkpoint"],
          ["reused", "suffix", "continued"],
        ],
      )
      assert.deepStrictEqual(JSON.parse(dialer.sockets[0]?.sent[1] ?? ""), {
        type: "response.create",
        previous_response_id: "resp_1",
        model: "m",
        input: [user("two")],
      })
    }).pipe(Effect.provide(executor())),
  )

  it.effect("sends everything when a remembered item or a deciding member is another, and leaves the chain alone", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      const sink = new RecordedTurn()
      yield* execute({ model: "m", input: [user("one")] }, sink)
      yield* execute({ model: "m", input: [user("one"), message("edited"), user("two")] }, sink)
      yield* execute({ model: "n", input: [user("one"), message("answer 1"), user("two")] }, sink)
      yield* execute({ model: "m", input: [user("one"), message("answer 1"), user("two")] }, sink)
      assert.deepStrictEqual(
        sink.routes.map(({ input, reason }) => [input, reason]),
        [
          ["full", "no_checkpoint"],
          ["full", "history_changed"],
          ["full", "members_changed"],
          ["suffix", "continued"],
        ],
      )
    }).pipe(Effect.provide(executor())),
  )

  it.effect("meets an idle connection with its checkpoint in thousands of successions that follow at once", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      // Answers come from the event loop, as a socket's do; otherwise all these turns would nest in one stack.
      const answer = dialer.answer.with
      dialer.answer.with = (socket, frame) => queueMicrotask(() => answer(socket, frame))
      const context = yield* Effect.context<WebSocketExecutor>()
      const done = yield* Deferred.make<ReadonlyArray<TurnRoute>, TurnError>()
      const routes: Array<TurnRoute> = []
      const length = 25
      const conversations = runs(417)
      const successions = conversations * (length - 1)
      let input: Array<unknown> = [user("start")]

      // The next turn begins inside the very callback that hands on the terminal event of the last one.
      const next = () => {
        const turn = routes.length + 1
        const sink = new RecordedTurn()
        sink.onEvent = (type) => {
          if (type !== "response.completed") return
          routes.push(...sink.routes)
          if (turn === conversations * length) {
            Deferred.doneUnsafe(done, Effect.succeed(routes))
            return
          }
          // A conversation of twenty-five turns, then the next one: histories stay short, successions don't end.
          input =
            turn % length === 0 ? [user(`start ${turn}`)] : [...input, message(`answer ${turn}`), user(`more ${turn}`)]
          next()
        }
        Effect.runForkWith(context)(
          Effect.catch(execute({ model: "m", input }, sink), (error) => Deferred.fail(done, error)),
        )
      }
      next()
      yield* Deferred.await(done)
      const continued = routes.filter(({ connection, input }) => connection === "reused" && input === "suffix")
      assert.isAtLeast(successions, runs(10_000))
      assert.strictEqual(continued.length, successions)
      assert.strictEqual(dialer.dials(), conversations)
    }).pipe(Effect.provide(executor())),
  )

  it.effect("is cancelled by interruption: the socket is terminated, the memory forgotten", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const memory = yield* TurnMemory
      answering(dialer)
      yield* execute({ model: "m", input: [user("one")] })
      assert.strictEqual(memory.size(), 1)
      const sent = yield* Deferred.make<void>()
      dialer.answer.with = (socket) => {
        say(socket, { type: "response.created", response: { id: "resp_x" } })
        Deferred.doneUnsafe(sent, Effect.void)
      }
      const running = yield* Effect.forkChild(
        execute({ model: "m", input: [user("one"), message("answer 1"), user("two")] }),
      )
      yield* Deferred.await(sent)
      yield* Fiber.interrupt(running)
      assert.strictEqual(dialer.sockets[0]?.terminated, 1)
      assert.deepStrictEqual(yield* states, [])
      assert.strictEqual(memory.size(), 0)
    }).pipe(Effect.provide(executor())),
  )

  it.effect("is not spoiled by a cancel that comes after the terminal event", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      const sink = new RecordedTurn()
      const context = yield* Effect.context<WebSocketExecutor>()
      sink.onEvent = (type) => {
        if (type === "response.completed") running.fiber?.interruptUnsafe()
      }
      const running: { fiber?: Fiber.Fiber<unknown, TurnError> } = {}
      // Answered by hand, so that the fiber is known when the terminal event comes.
      const answer = dialer.answer.with
      const sockets: Array<TestSocket> = []
      dialer.answer.with = (socket) => sockets.push(socket)
      const fiber = Effect.runForkWith(context)(execute({ model: "m", input: [user("one")] }, sink))
      running.fiber = fiber
      yield* Effect.yieldNow
      for (const socket of sockets) answer(socket, "")
      yield* Fiber.await(fiber)
      assert.deepStrictEqual(yield* states, ["Idle"])
      assert.strictEqual(dialer.open(), 1)
      dialer.answer.with = answer
      const second = new RecordedTurn()
      yield* execute({ model: "m", input: [user("one"), message("answer 1"), user("two")] }, second)
      assert.strictEqual(second.routes[0]?.reason, "continued")
    }).pipe(Effect.provide(executor())),
  )

  it.effect("finds a socket that closed before the send, and says that nothing was sent", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      yield* execute({ model: "m", input: [user("one")] })
      for (const socket of dialer.sockets) socket.dead = true
      const next = { model: "m", input: [user("one"), message("answer 1"), user("two")] }
      assert.deepStrictEqual(yield* failure(next), { reason: "socket_lost_before_send", delivery: "NotSent" })
      assert.strictEqual(dialer.sockets[0]?.terminated, 1)
      assert.deepStrictEqual(yield* states, [])
    }).pipe(Effect.provide(executor())),
  )

  it.effect("answers a thrown defect of the reader with an error, and evicts", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      for (const last of ["response.output_item.done", "response.completed"]) {
        const sink = new RecordedTurn()
        sink.onEvent = (type) => {
          if (type === last) throw new Error("a defect")
        }
        const exit = yield* Effect.exit(execute({ model: "m", input: [user(last)] }, sink))
        assert.deepStrictEqual(errorOf(exit), { reason: "internal", delivery: "Accepted" })
      }
      // Before the last event the turn had not ended; with it, the connection was idle already.
      assert.deepStrictEqual(yield* states, ["Idle"])
    }).pipe(Effect.provide(executor())),
  )

  it.effect("gives back unharmed what it leased for a message that is too big", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      yield* execute({ model: "m", input: [user("one")] })
      const big = user("x".repeat(2000))
      const result = yield* failure({ model: "m", input: [user("one"), message("answer 1"), big] })
      assert.deepStrictEqual(result, { reason: "message_too_big", delivery: "NotSent" })
      const sink = new RecordedTurn()
      yield* execute({ model: "m", input: [user("one"), message("answer 1"), user("two")] }, sink)
      assert.strictEqual(sink.routes[0]?.reason, "continued")
    }).pipe(Effect.provide(executor({ maxMessage: 1000 }))),
  )

  describe("ends with a named reason, the connection evicted, when", () => {
    const cases: ReadonlyArray<{
      readonly when: string
      readonly frames: (socket: TestSocket) => void
      readonly gives: { readonly reason: string; readonly delivery: string }
    }> = [
      {
        when: "the upstream answers with an error",
        frames: (socket) => say(socket, { type: "error", status: 400, error: { code: "x", message: "no" } }),
        gives: { reason: "upstream_error", delivery: "Rejected" },
      },
      {
        when: "the upstream answers with a server error behind its first event",
        frames: (socket) => {
          say(socket, { type: "response.created", response: { id: "r" } })
          say(socket, { type: "error", status: 500, error: { code: "server_error", message: "no" } })
        },
        gives: { reason: "upstream_error", delivery: "Accepted" },
      },
      {
        when: "the upstream has lost an anchor or reached a limit, whatever its status and its events before",
        frames: (socket) => {
          say(socket, { type: "response.created", response: { id: "r" } })
          const error = { code: "websocket_connection_limit_reached", message: "no" }
          say(socket, { type: "error", status: 503, error })
        },
        gives: { reason: "upstream_error", delivery: "Rejected" },
      },
      {
        when: "the last event is not whole",
        frames: (socket) => socket.handlers.onText('{"type":"response.completed","response":{"id":"re}'),
        gives: { reason: "upstream_protocol", delivery: "Accepted" },
      },
      {
        when: "the upstream closes before any event",
        frames: (socket) => socket.handlers.onClose(1011, "oops"),
        gives: { reason: "upstream_closed", delivery: "Ambiguous" },
      },
      {
        when: "the upstream closes after an event",
        frames: (socket) => {
          say(socket, { type: "response.created", response: { id: "r" } })
          socket.handlers.onClose(1006, "")
        },
        gives: { reason: "upstream_closed", delivery: "Accepted" },
      },
      {
        when: "a frame is no event",
        frames: (socket) => socket.handlers.onText("not json"),
        gives: { reason: "upstream_protocol", delivery: "Accepted" },
      },
      {
        when: "a frame is binary",
        frames: (socket) => socket.handlers.onBinary(),
        gives: { reason: "upstream_protocol", delivery: "Ambiguous" },
      },
    ]
    for (const { frames, gives, when } of cases) {
      it.effect(when, () =>
        Effect.gen(function* () {
          const dialer = yield* TestDialer
          dialer.answer.with = frames
          assert.deepStrictEqual(yield* failure({ model: "m", input: [user("one")] }), gives)
          assert.deepStrictEqual(yield* states, [])
          assert.strictEqual(dialer.sockets[0]?.terminated, 1)
        }).pipe(Effect.provide(executor())),
      )
    }

    const silences: ReadonlyArray<{
      readonly when: string
      readonly first: boolean
      readonly wait: "300 seconds" | "1800 seconds"
      readonly gives: { readonly reason: string; readonly delivery: string }
    }> = [
      {
        when: "no event comes",
        first: false,
        wait: "300 seconds",
        gives: { reason: "first_event_timeout", delivery: "Ambiguous" },
      },
      {
        when: "no further event comes",
        first: true,
        wait: "1800 seconds",
        gives: { reason: "event_timeout", delivery: "Accepted" },
      },
    ]
    for (const { first, gives, wait, when } of silences) {
      it.effect(when, () =>
        Effect.gen(function* () {
          const dialer = yield* TestDialer
          dialer.answer.with = (socket) => {
            if (first) say(socket, { type: "response.created", response: { id: "r" } })
          }
          const running = yield* Effect.forkChild(failure({ model: "m", input: [user("one")] }))
          yield* Effect.yieldNow
          yield* TestClock.adjust(wait)
          assert.deepStrictEqual(yield* Fiber.join(running), gives)
          assert.strictEqual(dialer.sockets[0]?.terminated, 1)
        }).pipe(Effect.provide(executor({ pingInterval: 86_400_000 }))),
      )
    }
  })

  it.effect("keeps the connection but not the conversation after response.incomplete", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      let turn = 0
      dialer.answer.with = (socket) =>
        say(socket, { type: "response.incomplete", response: { id: `resp_${++turn}`, output: [] } })
      yield* execute({ model: "m", input: [user("one")] })
      assert.deepStrictEqual(yield* states, ["Idle"])
      const sink = new RecordedTurn()
      yield* execute({ model: "m", input: [user("one"), user("two")] }, sink)
      assert.deepStrictEqual([sink.routes[0]?.connection, sink.routes[0]?.reason], ["reused", "no_checkpoint"])
    }).pipe(Effect.provide(executor())),
  )

  it.effect("lets a client chain by itself on the connection that holds its anchor", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      answering(dialer)
      const sink = new RecordedTurn()
      yield* execute({ model: "m", input: [user("one")] }, sink)
      yield* execute({ model: "m", previous_response_id: "resp_1", input: [user("two")] }, sink)
      yield* execute({ model: "m", previous_response_id: "resp_elsewhere", input: [user("three")] }, sink)
      assert.deepStrictEqual(
        sink.routes.map(({ connection, input, reason }) => [connection, input, reason]),
        [
          ["new", "full", "no_checkpoint"],
          ["reused", "suffix", "client_chain"],
          ["new", "full", "client_anchor"],
        ],
      )
    }).pipe(Effect.provide(executor())),
  )

  it.effect("pauses the socket for a reader that is behind, and goes on when it has caught up", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const drained: Array<() => void> = []
      const sink: TurnSink = {
        route: () => {},
        head: () => {},
        event: (type) => type !== "response.output_text.delta",
        onDrain: (resume) => drained.push(resume),
      }
      dialer.answer.with = (socket) => say(socket, { type: "response.output_text.delta", delta: "x" })
      const running = yield* Effect.forkChild(execute({ model: "m", input: [user("one")] }, sink))
      yield* Effect.yieldNow
      const socket = dialer.sockets[0]
      assert.isTrue(socket?.paused)
      for (const resume of drained) resume()
      assert.isFalse(socket?.paused)
      yield* Fiber.interrupt(running)
    }).pipe(Effect.provide(executor())),
  )
})
