/**
 * What a client's socket may continue, and by which connection: by its whole history, or by an id of its own.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import { agent } from "../../../src/simulator/Script.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { outputOf as answered } from "../../support/Ask.ts"
import { post } from "../../support/AskProxy.ts"
import { eventsOf } from "../../support/Events.ts"
import { user } from "../../support/Items.ts"
import { socketsOpen } from "../../support/OpenSockets.ts"
import { errorIn, outputOf, socket } from "../../support/SocketClient.ts"
import type { Client, Event } from "../../support/TestClient.ts"
import { at, idOf } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const brief = TestProxy.layerBrief()

const lost: ReadonlyArray<unknown> = [400, "previous_response_not_found"]

/** Status and code of an answer that must be an error. */
const refusal = (event: Event): ReadonlyArray<unknown> => errorIn(event).slice(0, 2)

const chained = (parent: Event, content: string, more: JsonObject = {}): JsonObject => ({
  store: false,
  previous_response_id: idOf(parent),
  input: [user(content)],
  ...more,
})

const completes = Effect.fnUntraced(function* (client: Client, request: JsonObject) {
  const last = yield* client.turn(request)
  assert.strictEqual(last.type, "response.completed", JSON.stringify(last))
  return last
})

/** How the proxy sent each turn. */
const inputs = Effect.map(TestProxy, ({ logged }) =>
  logged.flatMap((line) => /input=(\w+) reason=(\w+)/.exec(line)?.slice(1, 3).join(" ") ?? []),
)

describe("A conversation that changes its front at each turn", () => {
  for (const store of [true, false]) {
    it.effect(`is one chain, with store ${store}, and the upstream sees what the client said`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        let history: ReadonlyArray<JsonObject> = []
        const next = (content: string) => ({ store, input: [...history, user(content)] })
        const fronts: ReadonlyArray<(body: JsonObject) => Effect.Effect<ReadonlyArray<JsonObject>, never, TestProxy>> =
          [
            (body) =>
              Effect.map(post({ ...body, stream: true }), ({ text }) => {
                const last = eventsOf(text).at(-1)
                return outputOf(JSON.parse(last?.data ?? "") as Event)
              }),
            (body) => Effect.map(post(body), answered),
            (body) => Effect.map(completes(client, body), outputOf),
            (body) => Effect.map(completes(client, { ...body, stream_id: "lane" }), outputOf),
            (body) =>
              Effect.scoped(
                Effect.flatMap(socket(), (other) => Effect.map(completes(other, { ...body, stream: true }), outputOf)),
              ),
          ]
        let turns = 0
        for (const round of [0, 1, 2]) {
          for (const [index, front] of fronts.entries()) {
            const body = next(`Question ${round}.${index}`)
            const output = yield* front(body)
            history = [...body.input, ...output]
            const { context } = simulator.turns[turns++] ?? { context: [] }
            assert.strictEqual(context.length, body.input.length)
          }
        }
        assert.strictEqual(simulator.counters.upgrades, 1)
        assert.deepStrictEqual(yield* inputs, [
          "full no_checkpoint",
          ...Array.from({ length: 14 }, () => "suffix continued"),
        ])
        assert.strictEqual(simulator.counters.editedItems, 0)
      }).pipe(Effect.scoped, Effect.provide(TestProxy.layer({ simulator: { script: agent({ rounds: 0 }) } }))),
    )
  }
})

describe("A client's own chain", () => {
  it.effect("stays on the connection that holds it, on every lane", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const lanes = ["a", "b", undefined]
      const lane = (name: string | undefined) => (name === undefined ? {} : { stream_id: name })
      const latest = new Map<string | undefined, Event>()
      for (const name of lanes) {
        latest.set(name, yield* completes(client, { store: false, input: [user(`${name}`)], ...lane(name) }))
      }
      for (const content of ["two", "three", "four"]) {
        for (const name of lanes) {
          const parent = latest.get(name) as Event
          latest.set(name, yield* completes(client, chained(parent, content, lane(name))))
        }
      }
      assert.strictEqual(simulator.counters.upgrades, 3)
      assert.strictEqual(simulator.counters.refusedTurns, 0)
      assert.strictEqual((yield* inputs).filter((how) => how === "suffix client_chain").length, 9)
    }).pipe(Effect.provide(brief)),
  )

  it.effect("is continued by its whole history as well, on the same connection, by a socket opened later", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* socket()
          const one = yield* completes(client, { store: false, input: [user("one")] })
          const two = yield* completes(client, chained(one, "two"))
          const three = yield* completes(client, chained(two, "three"))
          return [one, two, three]
        }),
      )
      const history = first.flatMap((event, index) => [user(["one", "two", "three"][index] ?? ""), ...outputOf(event)])
      const later = yield* socket()
      const four = yield* completes(later, { store: false, input: [...history, user("four")] })
      yield* completes(later, chained(four, "five"))
      const all = [...history, user("four"), ...outputOf(four), user("six")]
      const six = yield* post({ store: false, input: all })
      assert.strictEqual(six.status, 200)
      assert.strictEqual(simulator.counters.upgrades, 2)
      assert.deepStrictEqual(yield* inputs, [
        "full no_checkpoint",
        "suffix client_chain",
        "suffix client_chain",
        "suffix continued",
        "suffix client_chain",
        // It goes back behind the fifth turn.
        "full history_changed",
      ])
    }).pipe(Effect.provide(brief)),
  )

  for (const [what, request] of [
    ["an id that was never given", { previous_response_id: "resp_none" }],
    ["an empty id", { previous_response_id: "" }],
    ["an id of another lane's name", { previous_response_id: "main", stream_id: "main" }],
  ] as const) {
    it.effect(`is refused for ${what}, without asking the upstream, and the socket goes on`, () =>
      Effect.gen(function* () {
        const { counters } = yield* Simulator
        const client = yield* socket()
        assert.deepStrictEqual(refusal(yield* client.turn({ store: false, input: [user("x")], ...request })), lost)
        assert.strictEqual(counters.upgrades, 0)
        yield* completes(client, { store: false, input: [user("x")] })
      }).pipe(Effect.provide(brief)),
    )
  }

  it.effect("that is not stored is not continued by another socket, nor by one that was opened again", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      const one = yield* completes(client, { store: false, input: [user("one")] })
      const other = yield* socket()
      assert.deepStrictEqual(refusal(yield* other.turn(chained(one, "two"))), lost)
      yield* completes(client, chained(one, "two"))
      yield* client.close
      yield* client.closed
      const again = yield* socket()
      assert.deepStrictEqual(refusal(yield* again.turn(chained(one, "two"))), lost)
      yield* completes(again, { store: false, input: [user("fresh")] })
    }).pipe(Effect.provide(brief)),
  )

  it.effect(
    "that is not stored is continued by any socket of the caller where the setting says so, and by no other",
    () =>
      Effect.gen(function* () {
        const { counters } = yield* Simulator
        const one = yield* Effect.scoped(
          Effect.flatMap(socket(), (client) => completes(client, { store: false, input: [user("one")] })),
        )
        const two = yield* completes(yield* socket(), chained(one, "two"))
        const stranger = yield* socket({ authorization: "Bearer test-key-b" })
        assert.deepStrictEqual(refusal(yield* stranger.turn(chained(two, "three"))), lost)
        assert.strictEqual(counters.upgrades, 1)
      }).pipe(Effect.provide(TestProxy.layerBrief({ downstreamAnchors: "scope" }))),
  )

  it.effect("that is stored is continued from any socket", () =>
    Effect.gen(function* () {
      const one = yield* Effect.scoped(
        Effect.flatMap(socket(), (client) => completes(client, { input: [user("one")] })),
      )
      yield* completes(yield* socket(), { previous_response_id: idOf(one), input: [user("two")] })
    }).pipe(Effect.provide(brief)),
  )

  it.effect("ends with a continuation that fails: its id is gone, and the socket is not", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const failing: ReadonlyArray<JsonObject> = [
        { input: [{ type: "function_call_output", call_id: "call_unknown", output: "x" }] },
        { input: [{ type: "custom_tool_call_output", call_id: "call_unknown", output: "x" }] },
        { input: 7 },
        { tools: "none" },
        { instructions: 7 },
        { stream_id: "other", input: [{ type: "function_call_output", call_id: "call_unknown", output: "x" }] },
      ]
      for (const wrong of failing) {
        const one = yield* completes(client, { store: false, input: [user("one")] })
        const failed = yield* client.turn(chained(one, "two", wrong))
        assert.strictEqual(errorIn(failed)[0], 400, JSON.stringify(failed))
        assert.deepStrictEqual(refusal(yield* client.turn(chained(one, "two"))), lost, JSON.stringify(wrong))
      }
      for (const [fault, end] of [
        [{ _tag: "Failed", at: 5, code: "server_error", message: "It failed." }, "response.failed"],
        [{ _tag: "Error", at: 5, status: 500, code: "server_error", message: "It failed." }, "error"],
      ] as const) {
        const one = yield* completes(client, { store: false, input: [user("one")] })
        yield* simulator.failNext(fault)
        assert.strictEqual((yield* client.turn(chained(one, "two"))).type, end)
        assert.deepStrictEqual(refusal(yield* client.turn(chained(one, "two"))), lost)
      }
      yield* completes(client, { store: false, input: [user("one")] })
    }).pipe(Effect.provide(brief)),
  )

  for (const [what, fault] of [
    ["is closed while it is idle", undefined],
    ["hangs up before it answers", { _tag: "Unread" }],
    ["hangs up with a close frame before it answers", { _tag: "Unread", code: 1012 }],
    ["hangs up before the answer's content", { _tag: "Close", at: 1, code: 1011 }],
    ["is reset before the answer's content", { _tag: "Reset", at: 1 }],
    ["has reached its limit", { _tag: "ConnectionLimit" }],
    ["has forgotten it", { _tag: "Forget" }],
  ] as const) {
    it.effect(`whose connection ${what} is told the API's word for that, and goes on by its whole history`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        const one = yield* completes(client, { store: false, input: [user("one")] })
        if (fault === undefined) {
          yield* simulator.disconnect({ code: 1001 })
          yield* socketsOpen(simulator, 0)
        } else yield* simulator.failNext(fault)
        const told = yield* client.turn(chained(one, "two", { stream_id: "a" }))
        assert.deepStrictEqual<ReadonlyArray<unknown>>(errorIn(told), [...lost, "a"])
        assert.deepStrictEqual(told.error, {
          type: "invalid_request_error",
          code: "previous_response_not_found",
          message: `Previous response with id '${idOf(one)}' not found.`,
          param: "previous_response_id",
        })
        yield* completes(client, { store: false, input: [user("one"), ...outputOf(one), user("two")] })
      }).pipe(Effect.provide(brief)),
    )
  }

  it.effect("whose connection is lost where it may have run is told so, where nothing may run twice", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const one = yield* completes(client, { store: false, input: [user("one")] })
      yield* simulator.failNext({ _tag: "Close", at: 1, code: 1011 })
      assert.deepStrictEqual(refusal(yield* client.turn(chained(one, "two"))), [502, "upstream_closed"])
    }).pipe(Effect.provide(TestProxy.layerBrief({ retry: "strict" }))),
  )
})

describe("A warm-up on a client's socket", () => {
  const warmUp = (input: ReadonlyArray<JsonObject>): JsonObject => ({ store: false, generate: false, input })

  it.effect("goes to the upstream, has an empty output, and is continued by its id or by its items", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      const warm = yield* completes(client, warmUp([user("rules")]))
      assert.deepStrictEqual(outputOf(warm), [])
      assert.strictEqual(simulator.turns[0]?.request?.["generate"], false)
      const one = yield* completes(client, chained(warm, "one"))
      assert.strictEqual(at(one, "response", "previous_response_id"), idOf(warm))
      yield* completes(client, chained(one, "two"))
      assert.deepStrictEqual(yield* inputs, ["full no_checkpoint", "suffix continued", "suffix client_chain"])
      assert.deepStrictEqual(
        [simulator.counters.upgrades, simulator.counters.executions, simulator.counters.refusedTurns],
        [1, 2, 0],
      )
      assert.deepStrictEqual(
        simulator.turns.map(({ context }) => context.length),
        [1, 2, 2 + outputOf(one).length + 1],
      )
    }).pipe(Effect.provide(brief)),
  )

  it.effect("of a session with a warm connection is answered here, and what continues it finds the conversation", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const session = { "session-id": "one" }
      const history = yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* socket(session)
          const warm = yield* completes(client, warmUp([user("rules")]))
          const one = yield* completes(client, chained(warm, "one"))
          const two = yield* completes(client, chained(one, "two"))
          return [user("one"), ...outputOf(one), user("two"), ...outputOf(two)]
        }),
      )
      const client = yield* socket(session)
      const warm = yield* completes(client, warmUp([user("rules")]))
      assert.deepStrictEqual(outputOf(warm), [])
      assert.strictEqual(simulator.turns.length, 3)
      yield* completes(client, {
        store: false,
        previous_response_id: idOf(warm),
        input: [...history, user("three")],
      })
      assert.strictEqual(simulator.counters.upgrades, 1)
      assert.strictEqual((yield* inputs).at(-1), "suffix continued")
    }).pipe(Effect.provide(brief)),
  )

  for (const settings of [{ transport: "http" as const }, {}]) {
    it.effect(`is answered here where the upstream takes no socket (${settings.transport ?? "it says so"})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* socket()
        const warm = yield* completes(client, { ...warmUp([user("rules")]), stream_id: "a" })
        assert.strictEqual(warm.stream_id, "a")
        const instructions = "long ".repeat(40_000)
        const long = yield* completes(client, { ...warmUp([user("rules")]), instructions })
        assert.strictEqual(at(long, "response", "instructions"), instructions)
        assert.strictEqual(simulator.turns.length, 0)
        yield* completes(client, chained(warm, "one"))
        const { context, request } = simulator.turns[0] ?? { context: [] }
        assert.deepStrictEqual(
          [context.length, request?.["previous_response_id"], request?.["stream"]],
          [2, undefined, true],
        )
        for (const input of ["a text", []]) {
          const last = yield* client.turn({ store: false, previous_response_id: idOf(warm), input })
          assert.strictEqual(last.type, "response.completed")
        }
        assert.deepStrictEqual(
          simulator.turns.map(({ context }) => context.length),
          [2, 2, 1],
        )
      }).pipe(Effect.provide(TestProxy.layerBrief(settings, { websocket: "off", websocketOffStatus: 404 }))),
    )
  }
})
