import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { at, codeOf, connect, get, idOf, post } from "../support/TestClient.ts"

describe("Faults over the socket", () => {
  it.effect("closes with a code before the frame it was told", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Close", at: 2, code: 1011 })
      yield* client.send({ input: "x" })
      assert.strictEqual((yield* client.next).type, "response.created")
      assert.strictEqual((yield* client.next).type, "response.in_progress")
      assert.strictEqual(yield* client.closed, 1011)
      assert.strictEqual(simulator.turns[0]?.status, "abandoned")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("resets without a close frame", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Reset", at: 0 })
      yield* client.send({ input: "x" })
      assert.strictEqual(yield* client.closed, 1006)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("stalls with the socket open, and abandons the turn when the client goes", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Stall", at: 1 })
      yield* client.send({ input: "x" })
      assert.strictEqual((yield* client.next).type, "response.created")
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual(simulator.turns[0]?.status, "running")
      yield* client.close
      yield* simulator.until(({ turns }) => turns[0]?.status === "abandoned")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("ends with an error in either form, with its headers", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const fault = { _tag: "Error", status: 429, code: "rate_limit_exceeded", message: "slow down" } as const
      yield* simulator.failNext({ ...fault, at: 0, headers: { "retry-after": "3" } })
      assert.deepStrictEqual(yield* client.turn({ input: "x" }), {
        type: "error",
        status: 429,
        error: {
          type: "invalid_request_error",
          code: "rate_limit_exceeded",
          message: "slow down",
          param: null,
          headers: { "retry-after": "3" },
        },
      })
      yield* simulator.failNext({ ...fault, at: 3, flat: true })
      assert.deepStrictEqual(yield* client.turn({ input: "x" }), {
        type: "error",
        code: "rate_limit_exceeded",
        message: "slow down",
        param: null,
        sequence_number: 3,
      })
      yield* simulator.failNext({ ...fault, withoutStatus: true })
      assert.isUndefined((yield* client.turn({ input: "x" })).status)
      assert.deepStrictEqual(
        simulator.turns.map(({ status }) => status),
        ["error", "error", "error"],
      )
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("sends what breaks the protocol as it was told", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* simulator.failNext(
        { _tag: "InvalidJson", at: 0 },
        { _tag: "BinaryFrame", at: 1 },
        { _tag: "DuplicateTerminal" },
        { _tag: "TerminalWithoutId" },
        { _tag: "ExtraFrame", at: 10_000, text: '{"type":"extra"}' },
      )
      yield* client.send({ input: "x" })
      const broken = yield* client.text
      assert.throws(() => JSON.parse(broken) as unknown)
      assert.strictEqual((yield* client.next).type, "response.created")
      assert.strictEqual((yield* client.next).type, "binary")
      const end = (yield* client.answer).at(-1)
      assert.isUndefined(at(end, "response", "id"))
      assert.deepStrictEqual(yield* client.next, end)
      assert.strictEqual((yield* client.next).type, "extra")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("leaves the output out of the terminal event on demand, but not out of storage", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const end = yield* client.turn({ input: "x" })
      assert.isUndefined(at(end, "response", "output"))
      assert.isDefined(at(end, "response", "usage"))
      const stored = yield* get(simulator, `/responses/${idOf(end)}`)
      assert.strictEqual(at(stored.body, "output", "length"), simulator.turns[0]?.output.length)
    }).pipe(Effect.provide(Simulator.layer({ sparseTerminal: true }))),
  )

  it.effect("asks the hook about every turn the queue says nothing of", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      assert.strictEqual(codeOf(yield* client.turn({ input: "x" })), "overloaded")
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
    }).pipe(
      Effect.provide(
        Simulator.layer({
          fault: ({ index }) =>
            index === 1 ? [{ _tag: "Error", status: 503, code: "overloaded", message: "later" }] : [],
        }),
      ),
    ),
  )

  it.effect("disconnects idle sockets and pushes frames nobody asked for", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* connect(simulator)
      const second = yield* connect(simulator)
      yield* simulator.until(({ counters }) => counters.openSockets === 2)
      yield* simulator.push('{"type":"keepalive"}', 1)
      assert.strictEqual((yield* second.next).type, "keepalive")
      yield* simulator.disconnect({ ordinal: 0, code: 1012 })
      assert.strictEqual(yield* first.closed, 1012)
      yield* simulator.disconnect()
      assert.strictEqual(yield* second.closed, 1006)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("Faults over HTTP", () => {
  const error = { _tag: "Error", status: 429, code: "rate_limit_exceeded", message: "slow down" } as const

  it.effect("gives an error before any frame its status and headers", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      for (const stream of [true, false]) {
        yield* simulator.failNext({ ...error, at: 0, headers: { "retry-after": "3" } })
        const answer = yield* post(simulator, { input: "x", stream })
        assert.strictEqual(answer.status, 429)
        assert.strictEqual(answer.headers.get("retry-after"), "3")
        assert.strictEqual(at(answer.json(), "error", "code"), "rate_limit_exceeded")
      }
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("sends an error event once the stream has begun", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.failNext({ ...error, at: 3 })
      const answer = yield* post(simulator, { input: "x", stream: true })
      assert.strictEqual(answer.status, 200)
      const last = answer.text.trim().split("\n\n").at(-1)
      assert.strictEqual(
        last,
        'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null,"sequence_number":3}',
      )
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("breaks the connection where the answer is cut", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      for (const stream of [true, false]) {
        yield* simulator.failNext({ _tag: "Reset", at: 3 })
        const exit = yield* Effect.exit(
          Effect.tryPromise(async () => {
            const response = await fetch(`${simulator.url}/responses`, {
              method: "POST",
              body: JSON.stringify({ model: "m", input: "x", stream }),
            })
            return response.text()
          }),
        )
        assert.strictEqual(exit._tag, "Failure", `stream ${stream}`)
      }
      assert.deepStrictEqual(
        simulator.turns.map(({ status }) => status),
        ["abandoned", "abandoned"],
      )
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("abandons the turn of a client that went away", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.failNext({ _tag: "Stall", at: 2 })
      const abort = new AbortController()
      const response = yield* Effect.promise(() =>
        fetch(`${simulator.url}/responses`, {
          method: "POST",
          body: JSON.stringify({ model: "m", input: "x", stream: true }),
          signal: abort.signal,
        }),
      )
      assert.strictEqual(response.status, 200)
      abort.abort()
      yield* simulator.until(({ turns }) => turns[0]?.status === "abandoned")
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("The upgrade", () => {
  it.effect("is refused as told, with status, headers and body", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const ask = Effect.promise(() =>
        fetch(`${simulator.url}/responses`, { headers: { upgrade: "websocket", connection: "upgrade" } }),
      )
      yield* simulator.configure({ websocket: "off" })
      assert.strictEqual((yield* ask).status, 426)
      yield* simulator.configure({ websocketOffStatus: 404 })
      assert.strictEqual((yield* ask).status, 404)
      yield* simulator.configure({ upgradeRefusal: { status: 429, headers: { "retry-after": "7" }, body: "busy" } })
      const busy = yield* ask
      assert.deepStrictEqual([busy.status, busy.headers.get("retry-after")], [429, "7"])
      assert.strictEqual(yield* Effect.promise(() => busy.text()), "busy")
      assert.strictEqual(simulator.counters.refusedUpgrades, 3)
      assert.strictEqual((yield* post(simulator, { input: "x" })).status, 200)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
