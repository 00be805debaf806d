import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import type { WebSocket as WsWebSocket } from "ws"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { Event } from "../support/TestClient.ts"
import {
  at,
  callIds,
  codeOf,
  connect,
  get,
  idOf,
  messageOf,
  outputFor,
  post,
  upgrade,
  weather,
} from "../support/TestClient.ts"
import { user } from "../support/Items.ts"
import { wsModule } from "../support/WsModule.ts"

const codex = Simulator.layer({ profile: "codex" })
const headers = { authorization: "Bearer test-key-a", "chatgpt-account-id": "account-a" }
const handshake = { ...headers, "openai-beta": "responses_websockets=2026-02-06" }
const base = { model: "gpt-5.5-codex", store: false, instructions: "Be brief." }
const isExtra = ({ type }: Event) =>
  type === "keepalive" || !type.startsWith("response.") || type === "response.metadata"
const typesOf = (events: ReadonlyArray<Event>) => events.filter(isExtra).map(({ type }) => type)
const stateIn = (events: ReadonlyArray<Event>): string =>
  String(
    at(
      events.find(({ type }) => type === "response.metadata"),
      "headers",
      "x-codex-turn-state",
    ),
  )
const eventsOf = (text: string): ReadonlyArray<Event> =>
  [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data ?? "") as Event)
const carrying = (state: string) => ({ client_metadata: { "x-codex-turn-state": state } })

// Bun's own socket does not show the answer to its upgrade.
const Socket = wsModule("websocket") as typeof WsWebSocket

/** Opens a socket and gives the state that answered its upgrade, and what one request is answered with. */
const talk = Effect.fnUntraced(function* (url: string) {
  const events = yield* Queue.unbounded<Event>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => new Socket(`${url.replace("http", "ws")}/responses`, { headers: handshake })),
    (socket) => Effect.sync(() => socket.terminate()),
  )
  socket.on("message", (data) => Queue.offerUnsafe(events, JSON.parse(String(data)) as Event))
  const state = yield* Effect.callback<string>((resume) => {
    let told = ""
    socket.on("upgrade", (answer) => {
      told = String(answer.headers["x-codex-turn-state"])
    })
    socket.on("open", () => resume(Effect.succeed(told)))
  })
  const ask = (request: JsonObject) =>
    Effect.gen(function* () {
      socket.send(JSON.stringify({ type: "response.create", ...request }))
      const answer: Array<Event> = []
      for (;;) {
        const event = yield* Queue.take(events)
        answer.push(event)
        if (event.type === "response.completed" || event.type === "error") return answer
      }
    })
  return { state, ask }
})

describe("The Codex backend", () => {
  it.effect("needs a bearer and an account, on the upgrade and over HTTP", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { authorization, "chatgpt-account-id": account, ...rest } = handshake
      for (const part of [{ authorization }, { "chatgpt-account-id": account }]) {
        const incomplete = { ...rest, ...part }
        assert.strictEqual((yield* upgrade(simulator, incomplete)).status, 401)
        assert.strictEqual(
          (yield* post(simulator, { ...base, stream: true, input: "x" }, { headers: incomplete })).status,
          401,
        )
        assert.strictEqual((yield* get(simulator, "/models", "GET", incomplete)).status, 401)
      }
      assert.strictEqual((yield* upgrade(simulator, handshake)).status, 101)
      assert.deepInclude(simulator.counters, { upgrades: 1, refusedUpgrades: 2 })
    }).pipe(Effect.provide(codex)),
  )

  it.effect("needs its beta among those of the upgrade, and no turn state there", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      assert.strictEqual((yield* upgrade(simulator, headers)).status, 400)
      const openaiBeta = (beta: string) => upgrade(simulator, { ...headers, "openai-beta": beta })
      assert.strictEqual((yield* openaiBeta("responses_websockets=2026-02-04")).status, 400)
      assert.strictEqual((yield* openaiBeta("xresponses_websockets=2026-02-06")).status, 400)
      assert.strictEqual((yield* openaiBeta("other=v1, responses_websockets=2026-02-06")).status, 101)
      assert.strictEqual((yield* upgrade(simulator, { ...handshake, "x-codex-turn-state": "ts" })).status, 400)
    }).pipe(Effect.provide(codex)),
  )

  it.effect("refuses to store, to answer over HTTP without a stream, and to work without instructions", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator, handshake)
      const { store: _store, ...storing } = base
      const { instructions: _instructions, ...uninstructed } = base
      const cases = [
        [{ ...storing, stream: true, input: "x" }, "Store must be set to false"],
        [{ ...base, store: true, stream: true, input: "x" }, "Store must be set to false"],
        [{ ...uninstructed, stream: true, input: "x" }, "Instructions are required"],
        [{ ...base, instructions: "", stream: true, input: "x" }, "Instructions are required"],
      ] as const
      for (const [request, message] of cases) {
        const overSocket = yield* client.turn(request)
        assert.strictEqual(overSocket.status, 400)
        assert.strictEqual(messageOf(overSocket), message)
        const overHttp = yield* post(simulator, request, { headers })
        assert.strictEqual(overHttp.status, 400)
        assert.strictEqual(at(overHttp.json(), "error", "message"), message)
      }
      const whole = yield* post(simulator, { ...base, input: "x" }, { headers })
      assert.strictEqual(whole.status, 400)
      assert.strictEqual(at(whole.json(), "error", "message"), "Stream must be set to true")
      assert.strictEqual(simulator.counters.executions, 0)
      const first = { role: "developer", content: "Be brief." }
      const instructed = yield* client.turn({ ...uninstructed, input: [first, user("x")] })
      assert.strictEqual(instructed.type, "response.completed")
      const chained = { ...uninstructed, previous_response_id: idOf(instructed), input: [user("y")] }
      assert.strictEqual((yield* client.turn(chained)).type, "response.completed")
    }).pipe(Effect.provide(codex)),
  )

  it.effect("sends events of its own among the others and leaves their numbers alone", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator, handshake)
      yield* client.send({ ...base, input: [user("x")] })
      const events = yield* client.answer
      assert.deepStrictEqual([events[0]?.type, events[1]?.type], ["codex.rate_limits", "response.created"])
      assert.deepStrictEqual(typesOf(events), [
        "codex.rate_limits",
        "response.metadata",
        "keepalive",
        "responsesapi.websocket_timing",
      ])
      assert.strictEqual(
        at(
          events.find(({ type }) => type === "response.metadata"),
          "headers",
          "x-models-etag",
        ),
        'W/"models-1"',
      )
      assert.strictEqual(events.at(-1)?.type, "response.completed")
      const own = events.filter((event) => !isExtra(event))
      assert.deepStrictEqual(
        own.map(({ sequence_number }) => sequence_number),
        own.map((_, index) => index),
      )
      const answer = yield* post(simulator, { ...base, stream: true, input: [user("x")] }, { headers })
      const overHttp = eventsOf(answer.text)
      assert.strictEqual(overHttp[0]?.type, "response.created")
      assert.deepStrictEqual(typesOf(overHttp), ["codex.rate_limits", "keepalive"])
      assert.include(answer.text, "event: codex.rate_limits\ndata: ")
      assert.strictEqual(overHttp.at(-1)?.type, "response.completed")
    }).pipe(Effect.provide(codex)),
  )

  it.effect("gives the requests of one turn one state and the next turn another, over the socket", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator, handshake)
      const tools = [weather]
      yield* client.send({ ...base, tools, input: [user("use 1 steps")] })
      const first = yield* client.answer
      const state = stateIn(first)
      assert.match(state, /^ts_/)
      const called = first.at(-1) ?? { type: "nothing" }
      const outputs = callIds(called).map((id) => outputFor(id))
      yield* client.send({ ...base, tools, previous_response_id: idOf(called), input: outputs, ...carrying(state) })
      const second = yield* client.answer
      assert.strictEqual(stateIn(second), state)
      const previous_response_id = idOf(second.at(-1) ?? { type: "nothing" })
      yield* client.send({ ...base, tools, previous_response_id, input: [user("use 0 steps")] })
      assert.notStrictEqual(stateIn(yield* client.answer), state)
    }).pipe(Effect.provide(codex)),
  )

  it.effect("refuses a request that carries the state of another turn, over both transports", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator, handshake)
      yield* client.send({ ...base, input: [user("one")] })
      const stale = stateIn(yield* client.answer)
      for (const input of [[user("two")], [user("one"), user("two")]]) {
        const refused = yield* client.turn({ ...base, input, ...carrying(stale) })
        assert.strictEqual(refused.status, 400)
        assert.strictEqual(codeOf(refused), "invalid_turn_state")
      }
      const elsewhere = yield* client.turn({
        ...base,
        prompt_cache_key: "other",
        input: [user("one")],
        ...carrying(stale),
      })
      assert.strictEqual(codeOf(elsewhere), "invalid_turn_state")
      const same = yield* client.turn({ ...base, input: [user("one")], ...carrying(stale) })
      assert.strictEqual(same.type, "response.completed")

      const ask = (content: string, state?: string) => {
        const own = state === undefined ? headers : { ...headers, "x-codex-turn-state": state }
        return post(simulator, { ...base, stream: true, input: [user(content)] }, { headers: own })
      }
      const state = String((yield* ask("three")).headers.get("x-codex-turn-state"))
      assert.match(state, /^ts_/)
      assert.strictEqual((yield* ask("three", state)).headers.get("x-codex-turn-state"), state)
      const refused = yield* ask("four", state)
      assert.strictEqual(refused.status, 400)
      assert.strictEqual(at(refused.json(), "error", "code"), "invalid_turn_state")
      const inBody = yield* post(
        simulator,
        { ...base, stream: true, input: [user("four")], ...carrying(state) },
        { headers },
      )
      assert.strictEqual(inBody.status, 400)
    }).pipe(Effect.provide(codex)),
  )

  it.effect("answers an upgrade with the state of the first turn that comes over it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const one = yield* upgrade(simulator, handshake)
      const two = yield* upgrade(simulator, handshake)
      const states = [one, two].map((answer) => answer.headers.get("x-codex-turn-state"))
      assert.match(String(states[0]), /^ts_/)
      assert.notStrictEqual(states[0], states[1])
      assert.strictEqual(one.headers.get("x-models-etag"), 'W/"models-1"')
      const { ask, state } = yield* talk(simulator.url)
      assert.strictEqual(stateIn(yield* ask({ ...base, generate: false, input: [] })), state)
      assert.strictEqual(stateIn(yield* ask({ ...base, input: [user("one")], ...carrying(state) })), state)
      const next = yield* ask({ ...base, input: [user("two")], ...carrying(state) })
      assert.strictEqual(codeOf(next.at(-1) ?? { type: "nothing" }), "invalid_turn_state")
    }).pipe(Effect.provide(codex)),
  )

  it.effect("has no compaction of its own and continues the latest response only", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const compaction = yield* post(simulator, { ...base, input: "x" }, { headers, path: "/responses/compact" })
      assert.strictEqual(compaction.status, 404)
      const client = yield* connect(simulator, handshake)
      const first = yield* client.turn({ ...base, input: [user("one")] })
      const next = { ...base, previous_response_id: idOf(first), input: [user("two")] }
      assert.strictEqual((yield* client.turn(next)).type, "response.completed")
      assert.strictEqual(codeOf(yield* client.turn(next)), "previous_response_not_found")
    }).pipe(Effect.provide(codex)),
  )
})
