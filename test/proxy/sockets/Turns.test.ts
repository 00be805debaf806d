/**
 * The turns of a client's socket: their order, their lanes, and what ends each of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { post } from "../../support/AskProxy.ts"
import { round } from "../../support/EventLoop.ts"
import { socketsOpen } from "../../support/OpenSockets.ts"
import { errorIn, socket } from "../../support/SocketClient.ts"
import type { Client } from "../../support/TestClient.ts"
import { idOf } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const brief = TestProxy.layerBrief()

/** The terminal events or errors of so many answers on lanes, by lane. */
const ends = Effect.fnUntraced(function* (client: Client, count: number) {
  const found = new Map<unknown, string>()
  while (found.size < count) {
    const last = (yield* client.answer).at(-1)
    found.set(last?.stream_id, last?.type ?? "")
  }
  return found
})

describe("The turns of a client's socket", () => {
  it.effect("run one after the other where they name no lane, in the order in which they came", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      yield* simulator.failNext({ _tag: "Hold", at: 2 })
      for (const input of ["one", "two", "three"]) yield* client.send({ input })
      yield* simulator.until(({ turns }) => turns.length === 1)
      // The proxy has read all three by the time it answers this.
      assert.strictEqual((yield* post({ input: "other" })).status, 200)
      assert.strictEqual(simulator.turns.length, 2)
      yield* simulator.release
      for (let turn = 0; turn < 3; turn++) {
        const events = yield* client.answer
        assert.deepStrictEqual(
          [events[0]?.type, events.at(-1)?.type, new Set(events.map(({ stream_id }) => stream_id)).size],
          ["response.created", "response.completed", 1],
        )
      }
      const asked = simulator.turns.map(({ request }) => request?.["input"])
      assert.deepStrictEqual(asked, ["one", "other", "two", "three"])
    }).pipe(Effect.provide(brief)),
  )

  for (const lane of [undefined, "a"]) {
    it.effect(`are asked for in their order on ${lane ?? "the default lane"}, however long one is read`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        const asked = ["x".repeat(1_500_000), "two", "y".repeat(300_000), "four", "five"]
        for (const input of asked) yield* client.send({ ...(lane === undefined ? {} : { stream_id: lane }), input })
        for (const _ of asked) assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
        const seen = simulator.turns.map(({ request }) => String(request?.["input"]))
        assert.deepStrictEqual(
          seen.map((input) => [input.length, input.slice(0, 4)]),
          asked.map((input) => [input.length, input.slice(0, 4)]),
        )
      }).pipe(Effect.provide(brief)),
    )
  }

  it.effect("run beside each other on lanes, and in order on one, with the lane in every event", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      yield* simulator.failNext({ _tag: "Hold" })
      yield* client.send({ stream_id: "a", input: "a1" })
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* client.send({ stream_id: "a", input: "a2" })
      const held: Array<JsonObject> = []
      for (const lane of ["b", "c.d-E_9", "b"]) {
        yield* client.send({ stream_id: lane, input: lane })
        let event = yield* client.next
        while (event.stream_id === "a") {
          held.push(event)
          event = yield* client.next
        }
        const events = [event, ...(yield* client.answer)]
        assert.deepStrictEqual(new Set(events.map(({ stream_id }) => stream_id)), new Set([lane]))
      }
      yield* client.send({ input: "default" })
      assert.deepStrictEqual(new Set((yield* client.answer).map(({ stream_id }) => stream_id)), new Set([undefined]))
      yield* simulator.release
      const [first, second] = [yield* client.answer, yield* client.answer]
      for (const events of [first, second]) assert.strictEqual(events.at(-1)?.stream_id, "a")
      assert.strictEqual(first.at(-1)?.type, "response.completed")
      assert.deepStrictEqual(
        simulator.turns.map(({ request }) => request?.["input"]),
        ["a1", "b", "c.d-E_9", "b", "default", "a2"],
      )
      for (const { request } of simulator.turns) assert.notProperty(request, "stream_id")
    }).pipe(Effect.provide(brief)),
  )

  it.effect("run 16 at a time, and the others when one of them has ended", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      yield* simulator.configure({ fault: () => [{ _tag: "Hold" }] })
      for (let lane = 0; lane < 20; lane++) yield* client.send({ stream_id: `lane-${lane}`, input: "x" })
      yield* simulator.until(({ turns }) => turns.filter(({ status }) => status === "running").length === 16)
      // What could still come, has come.
      yield* Effect.repeat(round, { times: 50 })
      assert.strictEqual(simulator.turns.length, 16)
      yield* simulator.configure({ fault: () => [] })
      yield* simulator.release
      const found = yield* ends(client, 20)
      assert.deepStrictEqual(new Set(found.values()), new Set(["response.completed"]))
      assert.strictEqual(simulator.counters.executions, 20)
    }).pipe(Effect.provide(brief)),
  )

  it.effect("have 32 named lanes and the default one; the next name is refused, and the others go on", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      for (let lane = 0; lane < 32; lane++) {
        assert.strictEqual((yield* client.turn({ stream_id: `lane-${lane}`, input: "x" })).type, "response.completed")
      }
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      const refused = yield* client.turn({ stream_id: "lane-32", input: "x" })
      assert.deepStrictEqual(errorIn(refused), [400, "websocket_stream_limit_reached", "lane-32"])
      assert.strictEqual((yield* client.turn({ stream_id: "lane-0", input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(brief)),
  )

  it.effect("wait up to 64 on a lane; a further one is refused, and those before run", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      yield* simulator.failNext({ _tag: "Hold", at: 0 })
      for (let turn = 0; turn < 66; turn++) yield* client.send({ stream_id: "a", input: "x" })
      assert.deepStrictEqual(errorIn(yield* client.next), [503, "server_overloaded", "a"])
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* Effect.repeat(round, { times: 50 })
      yield* simulator.release
      for (let turn = 0; turn < 65; turn++) {
        assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
      }
    }).pipe(Effect.provide(brief)),
  )

  const refusals: ReadonlyArray<readonly [what: string, body: JsonObject | string, code: string]> = [
    ["no JSON", "{", "invalid_json"],
    ["an empty message", "", "invalid_json"],
    ["a list", "[]", "not_object"],
    ["a text", '"response.create"', "not_object"],
    ["a member twice", `{"type":"response.create","model":"m","model":"m"}`, "duplicate_member"],
    ["no type", `{"model":"m","input":"x"}`, "missing_required_parameter"],
    ["a type of null", { type: null }, "missing_required_parameter"],
    ["a type that is no text", { type: 1 }, "invalid_value"],
    ["another type", { type: "response.cancel" }, "invalid_value"],
    ["a type of the server", { type: "response.completed" }, "invalid_value"],
    ["a type of another API", { type: "session.update" }, "invalid_value"],
    ["an event of older clients", { type: "response.processed", response_id: "resp_1" }, "invalid_value"],
    ["an empty lane", { stream_id: "" }, "invalid_stream_id"],
    ["a lane with a blank", { stream_id: "a b" }, "invalid_stream_id"],
    ["a lane with a slash", { stream_id: "a/b" }, "invalid_stream_id"],
    ["a lane with a quotation mark", { stream_id: 'a"b' }, "invalid_stream_id"],
    ["a lane beyond ASCII", { stream_id: "ä" }, "invalid_stream_id"],
    ["a lane that is no text", { stream_id: 7 }, "invalid_stream_id"],
    ["a lane that is too long", { stream_id: "a".repeat(257) }, "invalid_stream_id"],
    ["a turn in the background", { background: true, input: "x" }, "unsupported_parameter"],
    ["options of the background", { background_options: {}, input: "x" }, "unsupported_parameter"],
    ["a generate that is no boolean", { generate: "no", input: "x" }, "invalid_type"],
  ]
  for (const [what, body, code] of refusals) {
    it.effect(`refuse ${what} with ${code}, and the socket goes on`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        yield* client.send(body)
        assert.deepStrictEqual(errorIn(yield* client.next), [400, code, undefined])
        assert.strictEqual(simulator.turns.length, 0)
        assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
      }).pipe(Effect.provide(brief)),
    )
  }

  it.effect("take what clients really send, and keep it from the upstream", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const sent: JsonObject = {
        stream: true,
        background: false,
        generate: true,
        event_id: "event_1",
        stream_id: "main",
        input: "x",
        metadata: { a: "b" },
      }
      assert.strictEqual((yield* client.turn(sent)).type, "response.completed")
      const request = simulator.turns[0]?.request ?? {}
      assert.deepStrictEqual(Object.keys(request).sort(), ["input", "metadata", "model", "type"])
      assert.strictEqual(
        (yield* client.turn({ stream: "yes", background: null, input: "x" })).type,
        "response.completed",
      )
      assert.strictEqual(
        (yield* client.turn({ stream: false, stream_id: null, input: "x" })).type,
        "response.completed",
      )
      assert.strictEqual(simulator.counters.httpTurns, 0)
    }).pipe(Effect.provide(brief)),
  )

  it.effect("name the client's event in an error, and its lane", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      for (const body of [
        { type: "response.create", model: "m", stream_id: "a", event_id: "e1", background: true },
        { type: "nothing", stream_id: "a", event_id: "e1" },
        { type: "response.create", stream_id: "a", event_id: "e1", input: "x" },
      ]) {
        const event = yield* client.send(JSON.stringify(body)).pipe(Effect.andThen(client.next))
        assert.strictEqual(errorIn(event)[2], "a")
        assert.strictEqual((event.error as JsonObject).event_id, "e1")
      }
      yield* client.send(`{"type":"response.create","stream_id":"a","event_id":"e1","x":1,"x":2}`)
      const twice = yield* client.next
      assert.deepStrictEqual(errorIn(twice), [400, "duplicate_member", "a"])
    }).pipe(Effect.provide(brief)),
  )

  const failures = [
    ["a refusal", { _tag: "Refuse", status: 400, code: "bad_thing", message: "No." }, 400, "bad_thing"],
    [
      "a refusal without a code",
      { _tag: "Refuse", status: 400, code: null, message: "No." },
      400,
      "invalid_request_error",
    ],
    [
      "a rate limit",
      { _tag: "Refuse", status: 429, code: "rate_limit_exceeded", message: "Wait." },
      429,
      "rate_limit_exceeded",
    ],
    [
      "a refused credential",
      { _tag: "Refuse", status: 401, code: "invalid_api_key", message: "No." },
      401,
      "invalid_api_key",
    ],
    [
      "an error without a status",
      { _tag: "Error", at: 5, status: 500, code: "server_error", message: "Broke.", withoutStatus: true },
      500,
      "server_error",
    ],
    [
      "a flat error",
      { _tag: "Error", at: 5, status: 500, code: "server_error", message: "Broke.", flat: true },
      500,
      "server_error",
    ],
    [
      "a flat error without a code",
      { _tag: "Error", at: 5, status: 500, code: null, message: "Broke.", flat: true },
      502,
      "server_error",
    ],
    ["an end of the connection after content", { _tag: "Close", at: 5, code: 1011 }, 502, "upstream_closed"],
    ["text that is no event after content", { _tag: "InvalidJson", at: 5 }, 502, "upstream_protocol"],
    ["bytes after content", { _tag: "BinaryFrame", at: 5 }, 502, "upstream_protocol"],
  ] as const
  for (const [what, fault, status, code] of failures) {
    it.effect(`end in one error frame after ${what}, on their lane, and other lanes go on`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        yield* simulator.failNext({ _tag: "Hold" })
        yield* client.send({ stream_id: "other", input: "x" })
        yield* simulator.until(({ turns }) => turns[0]?.status === "running")
        yield* simulator.failNext(fault)
        for (const lane of ["failing", undefined]) {
          if (lane === undefined) yield* simulator.failNext(fault)
          yield* client.send({ ...(lane === undefined ? {} : { stream_id: lane }), input: "y" })
          let last = yield* client.next
          while (last.type !== "error" || last.stream_id === "other") last = yield* client.next
          assert.deepStrictEqual(errorIn(last), [status, code, lane])
        }
        yield* simulator.release
        let end = yield* client.next
        while (end.type !== "response.completed") end = yield* client.next
        assert.strictEqual(end.stream_id, "other")
        assert.strictEqual((yield* client.turn({ stream_id: "failing", input: "z" })).type, "response.completed")
      }).pipe(Effect.provide(TestProxy.layerBrief({ retry: "strict" }))),
    )
  }

  it.effect("pass an upstream's own end as it is", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      yield* simulator.failNext({ _tag: "Failed", at: 5, code: "server_error", message: "It failed." })
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.failed")
      yield* simulator.failNext({ _tag: "Incomplete", at: 5, reason: "max_output_tokens" })
      assert.strictEqual((yield* client.turn({ input: "x", stream_id: "a" })).type, "response.incomplete")
      assert.strictEqual((yield* client.turn({ input: "x" })).type, "response.completed")
    }).pipe(Effect.provide(brief)),
  )

  it.effect("have the ids that a client reads, whatever lane they are on", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const told = []
      for (const lane of ["a", "b"]) told.push(idOf(yield* client.turn({ stream_id: lane, input: "x" })))
      assert.deepStrictEqual(
        told,
        simulator.turns.map(({ responseId }) => responseId),
      )
      yield* client.close
      yield* client.closed
      yield* socketsOpen(simulator, 2)
    }).pipe(Effect.provide(brief)),
  )
})
