/**
 * A client that adds input to a response while it runs: it goes to the connection that runs it, and the turn lasts until
 * the successor has ended.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import { user } from "../../support/Items.ts"
import { socketsOpen } from "../../support/OpenSockets.ts"
import { outputOf, socket } from "../../support/SocketClient.ts"
import type { Client, Event } from "../../support/TestClient.ts"
import { at, idOf } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const brief = TestProxy.layerBrief()

const steer = (responseId: string | undefined, input: ReadonlyArray<JsonObject> | string, more: JsonObject = {}) =>
  JSON.stringify({ type: "response.steer", previous_response_id: responseId, input, ...more })

/** Begins a turn that waits before its end, and gives the id of its response. */
const begun = Effect.fnUntraced(function* (
  client: Client,
  request: JsonObject,
  ...faults: ReadonlyArray<{ _tag: "Incomplete"; reason: string }>
) {
  const simulator = yield* Simulator
  yield* simulator.failNext({ _tag: "Hold", at: 6 }, ...faults)
  yield* client.send(request)
  let event = yield* client.next
  const id = idOf(event)
  // The simulator waits once this has come.
  while (event.sequence_number !== 5) event = yield* client.next
  return id
})

const upTo = Effect.fnUntraced(function* (client: Client, ...types: ReadonlyArray<string>) {
  const seen: Array<Event> = []
  for (;;) {
    const event = yield* client.next
    seen.push(event)
    if (types.includes(event.type)) return seen
  }
})

describe("A steer", () => {
  for (const [how, faults] of [
    ["completes", []],
    ["ends as steered", [{ _tag: "Incomplete", reason: "steered" }]],
  ] as const) {
    for (const lane of [undefined, "a"]) {
      it.effect(
        `reaches the response that runs, on ${lane ?? "the default lane"}; it ${how}, and a successor follows`,
        () =>
          Effect.gen(function* () {
            const simulator = yield* Simulator
            const pool = yield* ConnectionPool
            const client = yield* socket()
            const named = lane === undefined ? {} : { stream_id: lane }
            const id = yield* begun(client, { store: false, input: [user("one")], ...named }, ...faults)
            yield* client.send({ store: false, input: [user("waits")], ...named })
            yield* client.send(steer(id, [user("rather two")]))
            const accepted = yield* upTo(client, "response.steer.accepted")
            assert.strictEqual(accepted.at(-1)?.stream_id, lane)
            yield* simulator.failNext({ _tag: "Hold", at: 2 })
            yield* simulator.release
            const parent = (yield* client.answer).at(-1)
            assert.strictEqual(parent?.type, how === "completes" ? "response.completed" : "response.incomplete")
            assert.deepStrictEqual(
              pool.connections().map(({ state }) => state),
              ["Leased"],
            )
            const begins = yield* upTo(client, "response.in_progress")
            yield* simulator.release
            const successor = [...begins, ...(yield* client.answer)]
            assert.strictEqual(successor[0]?.type, "response.created")
            assert.strictEqual(successor.at(-1)?.type, "response.completed")
            assert.deepStrictEqual(new Set(successor.map(({ stream_id }) => stream_id)), new Set([lane]))
            assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
            const asked = simulator.turns.map(({ context }) => context.map((text) => JSON.parse(text) as JsonObject))
            assert.deepStrictEqual(asked[1]?.at(-1)?.content, "rather two")
            assert.deepStrictEqual(
              asked[2]?.map(({ content }) => content),
              ["waits"],
            )
          }).pipe(Effect.provide(brief)),
      )
    }
  }

  it.effect("leaves a chain that its client continues by the successor's id", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const id = yield* begun(client, { store: false, input: [user("one")] })
      yield* client.send(steer(id, "rather two"))
      yield* upTo(client, "response.steer.accepted")
      yield* simulator.release
      yield* client.answer
      const last = (yield* client.answer).at(-1) as Event
      // What the client says as a whole is not taken for what was said until then, the steer included.
      const whole = yield* client.turn({ store: false, input: [user("one"), ...outputOf(last), user("three")] })
      assert.strictEqual(whole.type, "response.completed")
      assert.notProperty(simulator.turns.at(-1)?.request, "previous_response_id")
      const next = yield* client.turn({ store: false, previous_response_id: idOf(last), input: [user("three")] })
      assert.strictEqual(next.type, "response.completed")
      assert.strictEqual(simulator.counters.refusedTurns, 0)
    }).pipe(Effect.provide(brief)),
  )

  const refusals: ReadonlyArray<readonly [what: string, text: (id: string) => string, code: string]> = [
    ["of a response that nobody knows", () => steer("resp_none", "x"), "response_not_found"],
    ["of no response", () => steer(undefined, "x"), "invalid_input"],
    [
      "with a tool's output",
      (id) => steer(id, [{ type: "function_call_output", call_id: "c", output: "x" }]),
      "invalid_input",
    ],
    ["with a message of the assistant", (id) => steer(id, [{ role: "assistant", content: "x" }]), "invalid_input"],
    ["with no input", (id) => steer(id, []), "invalid_input"],
    ["with another member in its message", (id) => steer(id, [{ ...user("x"), id: "msg_1" }]), "invalid_input"],
  ]
  for (const [what, text, code] of refusals) {
    it.effect(`${what} fails, and the turn ends as it would have`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        const id = yield* begun(client, { store: false, input: [user("one")], stream_id: "a" })
        yield* client.send(text(id))
        const failed = (yield* upTo(client, "response.steer.failed")).at(-1) as Event
        assert.deepStrictEqual(at(failed, "error", "code"), code)
        yield* simulator.release
        assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
        assert.strictEqual((yield* client.turn({ input: "y", stream_id: "a" })).type, "response.completed")
        assert.strictEqual(simulator.turns.length, 2)
      }).pipe(Effect.provide(brief)),
    )
  }

  it.effect("of a response that is complete fails so", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      const one = yield* client.turn({ store: false, input: [user("one")] })
      yield* client.send(steer(idOf(one), "x"))
      assert.strictEqual(at(yield* client.next, "error", "code"), "response_already_completed")
    }).pipe(Effect.provide(brief)),
  )

  it.effect("that fails gives back all of its input, however long it is", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      for (const input of ["x".repeat(65_534), "x".repeat(65_535), "x".repeat(200_000), [user("y".repeat(100_000))]]) {
        yield* client.send(steer("resp_none", input))
        assert.deepStrictEqual(at(yield* client.next, "steer", "input"), input)
      }
    }).pipe(Effect.provide(brief)),
  )

  it.effect("of another socket's response does not reach it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const other = yield* socket()
      const id = yield* begun(client, { store: false, input: [user("one")] })
      yield* other.send(steer(id, "x"))
      assert.strictEqual(at(yield* other.next, "error", "code"), "response_not_found")
      yield* simulator.release
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
    }).pipe(Effect.provide(brief)),
  )

  it.effect("of a response that comes over HTTP is not supported", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const id = yield* begun(client, { store: false, input: [user("one")] })
      yield* client.send(steer(id, "x"))
      assert.strictEqual(at(yield* client.next, "error", "code"), "steering_not_supported")
      yield* simulator.release
      assert.strictEqual((yield* client.answer).at(-1)?.type, "response.completed")
    }).pipe(Effect.provide(TestProxy.layerBrief({ transport: "http" }))),
  )

  it.effect("whose client goes away ends the successor with it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const id = yield* begun(client, { store: false, input: [user("one")] })
      yield* client.send(steer(id, "x"))
      yield* upTo(client, "response.steer.accepted")
      yield* simulator.configure({ fault: () => [{ _tag: "Hold", at: 3 }] })
      yield* simulator.release
      yield* client.answer
      yield* simulator.until(({ turns }) => turns[1]?.status === "running")
      yield* client.close
      yield* socketsOpen(simulator, 0)
    }).pipe(Effect.provide(brief)),
  )
})
