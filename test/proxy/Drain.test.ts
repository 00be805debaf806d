/**
 * How `respool serve` stops, as a process of its own: it is told by signals, and seen by its log, its answers and its end.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { serve } from "../support/Command.ts"
import { eventsOf } from "../support/Events.ts"
import { open } from "../support/Ask.ts"
import { reading } from "../support/Reading.ts"
import { sample } from "../support/Runs.ts"
import { errorIn, keyed } from "../support/SocketClient.ts"
import { talker } from "../support/Talker.ts"
import { connect } from "../support/TestClient.ts"
import type { Talker } from "../support/Talker.ts"
import { socketsOpen } from "../support/OpenSockets.ts"

const turn = (url: string, stream: boolean) =>
  open(`${url}/responses`, { key: "test-key-a", body: { model: "gpt-5.5", stream, input: "Tell me." } })

/** A turn whose first words have arrived, while the simulator waits with the rest. */
const heldTurn = Effect.fnUntraced(function* (url: string) {
  const simulator = yield* Simulator
  yield* simulator.failNext({ _tag: "Hold" })
  const reader = reading(yield* turn(url, true))
  const begun = yield* reader.upTo("response.output_text.delta")
  assert.strictEqual(simulator.turns.at(-1)?.status, "running")
  return { reader, begun }
})

/** What a connection says to a request: the status line, or nothing where it was refused or closed. */
const say = (connection: Talker, path = "/readyz") => {
  connection.say(`GET ${path} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n`)
  return Effect.map(connection.closed, (text) => text.split("\r\n")[0] ?? "")
}

const unavailable = "HTTP/1.1 503 Service Unavailable"

/** Every attempt is a round trip to the process, so this asks only as fast as it answers. */
const untilRefused = (url: string) =>
  Effect.repeat(Effect.scoped(Effect.flatMap(talker(url), (connection) => say(connection))), {
    until: (said) => said === unavailable,
  })

const draining = (turns: string) =>
  new RegExp(`message="draining ${turns} for at most 10m; a second signal stops at once"`)

const layer = Layer.merge(NodeFileSystem.layer, Simulator.layer())

it.layer(layer)("respool serve that is told to stop", (it) => {
  it.effect("does not wait for who looks at its page: the stream of frames ends, and is not taken up again", () =>
    Effect.gen(function* () {
      const { exitCode, signal, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "10 minutes" })
      const page = `${new URL(url).origin}/_respool/events`
      const readers = [reading(yield* open(page)), reading(yield* open(`${page}?state=idle`))]
      for (const reader of readers) yield* reader.upTo("data: ")
      yield* signal("SIGTERM")
      for (const reader of readers) assert.isFalse((yield* reader.ending).broken)
      assert.strictEqual(yield* exitCode, 0)
    }),
  )

  for (const name of sample(["SIGTERM", "SIGINT"] as const)) {
    it.effect(`finishes the turn that streams on ${name}, takes no new ones meanwhile, and exits with 0`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { exitCode, logged, signal, stderr, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "10 minutes" })
        const before = yield* talker(url)
        const { begun, reader } = yield* heldTurn(url)
        const executed = simulator.turns.length
        yield* signal(name)
        yield* logged(draining("1 turn"))
        yield* untilRefused(url)
        assert.strictEqual(yield* say(before), unavailable)
        for (const path of ["/healthz", "/readyz", "/v1/models"]) {
          assert.strictEqual(yield* say(yield* talker(url), path), unavailable)
        }
        assert.strictEqual(simulator.turns.at(-1)?.status, "running")
        yield* simulator.release
        const { broken, text } = yield* reader.ending
        assert.isFalse(broken)
        const types = eventsOf(begun + text).map(({ type }) => type)
        assert.strictEqual(types.at(-1), "response.completed")
        assert.notInclude(types, "error")
        assert.strictEqual(yield* exitCode, 0)
        assert.match(stderr(), /outcome=completed/)
        assert.strictEqual(stderr().match(/draining/g)?.length, 1)
        assert.strictEqual(simulator.turns.length, executed)
        yield* socketsOpen(simulator, 0)
      }),
    )
  }

  it.effect("exits with 0 at once when it is idle, whatever connections were left open", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      // A drain that waited for anything would outlast the test.
      const { exitCode, signal, stderr, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "10 minutes" })
      const text = yield* reading(yield* turn(url, true)).rest
      assert.include(text, "response.completed")
      assert.strictEqual(simulator.counters.openSockets, 1)
      yield* signal("SIGTERM")
      assert.strictEqual(yield* exitCode, 0)
      assert.match(stderr(), draining("0 turns"))
      assert.strictEqual(yield* Effect.scoped(Effect.flatMap(talker(url), (connection) => say(connection))), "")
      yield* socketsOpen(simulator, 0)
    }),
  )

  it.effect("interrupts what outlasts the drain time-out, says so in one error, and exits with 0", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { exitCode, signal, stderr, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "1 millis" })
      yield* simulator.failNext({ _tag: "Stall", at: 0 })
      const whole = yield* Effect.forkChild(turn(url, false))
      yield* simulator.until(({ turns }) => turns.at(-1)?.status === "running")
      const { begun, reader } = yield* heldTurn(url)
      yield* signal("SIGTERM")
      const { broken, text } = yield* reader.ending
      assert.isFalse(broken)
      const events = eventsOf(begun + text)
      assert.deepStrictEqual(
        events.map(({ type }) => type).filter((type) => /error|completed|failed|incomplete/.test(type)),
        ["error"],
      )
      const error: unknown = JSON.parse(events.at(-1)?.data ?? "")
      assert.deepInclude(error, { type: "error", code: "shutdown", message: "the proxy is shutting down" })
      assert.strictEqual(Object.getOwnPropertyDescriptor(error, "sequence_number")?.value, events.length - 1)
      const answer = yield* Fiber.join(whole)
      assert.deepStrictEqual([answer.status, answer.headers.get("x-should-retry")], [503, "false"])
      assert.include(yield* Effect.promise(() => answer.text()), '"code":"server_shutdown"')
      assert.strictEqual(yield* exitCode, 0)
      assert.match(stderr(), /draining 2 turns for at most 1ms/)
      yield* simulator.until(({ turns }) => turns.slice(-2).every(({ status }) => status === "abandoned"))
      yield* socketsOpen(simulator, 0)
    }),
  )

  it.effect("finishes what runs on clients' sockets, refuses what is asked then, and closes them with 1001", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { exitCode, logged, signal, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "10 minutes" })
      const idle = yield* connect({ url }, keyed())
      assert.strictEqual((yield* idle.turn({ input: "Hello" })).type, "response.completed")
      const busy = yield* connect({ url }, keyed())
      yield* simulator.failNext({ _tag: "Hold" })
      yield* busy.send({ stream_id: "a", input: "Tell me." })
      yield* simulator.until(({ turns }) => turns.at(-1)?.status === "running")
      yield* busy.send({ stream_id: "a", input: "It waits." })
      let event = yield* busy.next
      yield* signal("SIGTERM")
      yield* logged(draining("1 turn"))
      assert.strictEqual(yield* idle.closed, 1001)
      while (event.type !== "error") event = yield* busy.next
      assert.deepStrictEqual(errorIn(event), [503, "server_shutdown", "a"])
      yield* busy.send({ stream_id: "b", input: "Too late." })
      do event = yield* busy.next
      while (event.type !== "error")
      assert.deepStrictEqual(errorIn(event), [503, "server_shutdown", "b"])
      yield* simulator.release
      do event = yield* busy.next
      while (event.type !== "response.completed")
      assert.strictEqual(event.stream_id, "a")
      assert.strictEqual(yield* busy.closed, 1001)
      assert.strictEqual(yield* exitCode, 0)
      yield* socketsOpen(simulator, 0)
    }),
  )

  it.effect("tells a client's socket what outlasts the drain time-out, in one error, before it closes", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { exitCode, signal, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "1 millis" })
      const client = yield* connect({ url }, keyed())
      yield* simulator.failNext({ _tag: "Hold" })
      yield* client.send({ stream_id: "a", input: "Tell me." })
      yield* simulator.until(({ turns }) => turns.at(-1)?.status === "running")
      let event = yield* client.next
      yield* signal("SIGTERM")
      while (event.type !== "error") event = yield* client.next
      assert.deepStrictEqual(errorIn(event), [503, "shutdown", "a"])
      assert.strictEqual(yield* client.closed, 1001)
      assert.strictEqual(yield* exitCode, 0)
      yield* socketsOpen(simulator, 0)
    }),
  )

  const seconds = [
    ["SIGTERM", "SIGTERM", 143],
    ["SIGINT", "SIGINT", 130],
    ["SIGTERM", "SIGINT", 130],
  ] as const
  for (const [first, second, code] of sample(seconds)) {
    it.effect(`stops at once with ${code} when ${first} is followed by ${second}, whatever is in flight`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { exitCode, logged, signal, url } = yield* serve({ RESPOOL_DRAIN_TIMEOUT: "10 minutes" })
        const { reader } = yield* heldTurn(url)
        yield* signal(first)
        yield* logged(draining("1 turn"))
        yield* signal(second)
        assert.strictEqual(yield* exitCode, code)
        const { broken, text } = yield* reader.ending
        assert.isTrue(broken)
        assert.notInclude(text, "response.completed")
        yield* simulator.until(({ turns }) => turns.at(-1)?.status === "abandoned")
        yield* socketsOpen(simulator, 0)
      }),
    )
  }
})
