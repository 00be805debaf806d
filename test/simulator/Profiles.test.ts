import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator, tokenLabel } from "../../src/simulator/Simulator.ts"
import { at, codeOf, connect, get, idOf, messageOf, post, upgrade } from "../support/TestClient.ts"

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

const paths = [
  ["openai", "/v1", "gpt-5.5"],
  ["azure", "/openai/v1", "gpt-4.1"],
  ["xai", "/v1", "grok-4"],
  ["vercel", "/v1", "openai/gpt-5.5"],
  ["codex", "/backend-api/codex", "gpt-5.5-codex"],
] as const

describe("Every profile", () => {
  for (const [profile, path, model] of paths) {
    const headers = { ...bearer("test-key-a"), "chatgpt-account-id": "account-a" }
    const handshake = { ...headers, "openai-beta": "responses_websockets=2026-02-06" }
    const request = { model, store: false, stream: true, instructions: "Be brief.", input: "x" }

    it.effect(`serves turns and models below its own path and nowhere else (${profile})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        assert.strictEqual(simulator.url, `http://127.0.0.1:${simulator.port}${path}`)
        assert.strictEqual((yield* post(simulator, request, { headers })).status, 200)
        const client = yield* connect(simulator, handshake)
        assert.strictEqual((yield* client.turn(request)).type, "response.completed")
        for (const other of ["/other/v1", path.replace(/.$/, "_")]) {
          const elsewhere = { ...simulator, url: `http://127.0.0.1:${simulator.port}${other}` }
          assert.strictEqual((yield* post(elsewhere, request, { headers })).status, 404)
          assert.strictEqual((yield* upgrade(elsewhere, handshake)).status, 404)
        }

        const { body } = yield* get(simulator, "/models", "GET", headers)
        assert.strictEqual(at(body, "object"), "list")
        assert.strictEqual(at(body, "data", 0, "id"), model)
        assert.strictEqual(at((yield* get(simulator, `/models/${model}`, "GET", headers)).body, "id"), model)
        const unknown = yield* get(simulator, "/models/none", "GET", headers)
        assert.strictEqual(unknown.status, 404)
        assert.strictEqual(at(unknown.body, "error", "code"), "model_not_found")
      }).pipe(Effect.provide(Simulator.layer({ profile }))),
    )

    it.effect(`refuses tokens that are accepted no longer and keeps its sockets (${profile})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator, handshake)
        assert.strictEqual((yield* client.turn(request)).type, "response.completed")
        yield* simulator.setAccepted(["test-key-b"])
        const refused = yield* post(simulator, request, { headers })
        assert.strictEqual(refused.status, 401)
        assert.strictEqual(at(refused.json(), "error", "code"), "invalid_api_key")
        assert.strictEqual((yield* upgrade(simulator, handshake)).status, 401)
        assert.strictEqual((yield* get(simulator, "/models", "GET", headers)).status, 401)
        const others = { ...handshake, ...bearer("test-key-b") }
        assert.strictEqual((yield* post(simulator, request, { headers: others })).status, 200)
        assert.strictEqual((yield* upgrade(simulator, others)).status, 101)
        assert.strictEqual((yield* client.turn(request)).type, "response.completed")
        yield* simulator.setAccepted(undefined)
        assert.strictEqual((yield* upgrade(simulator, handshake)).status, 101)
      }).pipe(Effect.provide(Simulator.layer({ profile, accepts: ["test-key-a"] }))),
    )

    it.effect(`reports a connection's models and whose token opened it, not the token (${profile})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator, handshake)
        yield* client.turn(request)
        yield* client.turn(request)
        yield* upgrade(simulator, { ...handshake, ...bearer("test-key-b") })
        const labels = simulator.connections.map(({ token }) => token)
        assert.deepStrictEqual(labels, [tokenLabel("test-key-a"), tokenLabel("test-key-b")])
        assert.notStrictEqual(labels[0], labels[1])
        assert.deepStrictEqual(simulator.connections[0]?.models, [model])
        assert.deepStrictEqual(simulator.connections[1]?.models, [])
        assert.deepInclude(simulator.counters, { executions: 2, websocketTurns: 2, upgrades: 2 })
        assert.include(simulator.turns[0]?.context[0], '"x"')
        const control = { url: `http://127.0.0.1:${simulator.port}/simulator` }
        const { body } = yield* get(control, "/connections")
        assert.strictEqual(at(body, 0 as never, "token"), tokenLabel("test-key-a"))
        assert.notInclude(JSON.stringify(body), "test-key")
      }).pipe(Effect.provide(Simulator.layer({ profile }))),
    )
  }

  it.effect("lists the models it is given", () =>
    Effect.gen(function* () {
      const { body } = yield* get(yield* Simulator, "/models")
      assert.deepStrictEqual([at(body, "data", 0, "id"), at(body, "data", 1, "id")], ["one", "two"])
    }).pipe(Effect.provide(Simulator.layer({ models: ["one", "two"] }))),
  )
})

describe("Upstreams without lanes", () => {
  for (const profile of ["azure", "xai", "vercel"] as const) {
    const model = "gpt-4.1"

    it.effect(`know no stream_id (${profile})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator)
        const refused = yield* client.turn({ model, stream_id: "a", input: "x" })
        assert.strictEqual(codeOf(refused), "unknown_parameter")
        assert.strictEqual(refused.stream_id, undefined)
        assert.strictEqual(simulator.counters.executions, 0)
      }).pipe(Effect.provide(Simulator.layer({ profile }))),
    )

    it.effect(`answer a second request of a busy socket after the first (${profile})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = yield* connect(simulator)
        yield* simulator.failNext({ _tag: "Hold", at: 2 })
        yield* client.send({ model, input: "one" })
        yield* client.send({ model, input: "two" })
        yield* simulator.until(({ turns }) => turns.length === 2)
        assert.deepStrictEqual(
          simulator.turns.map(({ status }) => status),
          ["running", "queued"],
        )
        yield* simulator.release
        const ids = [yield* client.answer, yield* client.answer].map((events) => idOf(events.at(-1) ?? { type: "" }))
        assert.deepStrictEqual(
          ids,
          simulator.turns.map(({ responseId }) => String(responseId)),
        )
      }).pipe(Effect.provide(Simulator.layer({ profile }))),
    )
  }
})

describe("Azure", () => {
  it.effect("answers for its deployments and says of others that there are none", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      for (const model of ["team-a", "team-b"]) {
        assert.strictEqual((yield* client.turn({ model, input: "x" })).type, "response.completed")
      }
      assert.deepStrictEqual(simulator.connections[0]?.models, ["team-a", "team-b"])
      const message =
        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."
      const error = { code: "DeploymentNotFound", message }
      const overHttp = yield* post(simulator, { input: "x" })
      assert.strictEqual(overHttp.status, 404)
      assert.deepStrictEqual(overHttp.json(), { error })
      assert.deepStrictEqual(yield* client.turn({ input: "x" }), { type: "error", status: 404, error })
      assert.strictEqual((yield* post(simulator, { input: "x" }, { path: "/responses/compact" })).status, 404)
      const listed = yield* get(simulator, "/models")
      assert.deepStrictEqual([at(listed.body, "data", 0, "id"), at(listed.body, "data", 1, "id")], ["team-a", "team-b"])
    }).pipe(Effect.provide(Simulator.layer({ profile: "azure", deployments: ["team-a", "team-b"] }))),
  )

  it.effect("takes its key in either header over HTTP, and as a bearer on the upgrade", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const key = { "api-key": "test-key-a" }
      const request = { model: "gpt-4.1", input: "x" }
      assert.strictEqual((yield* post(simulator, request, { headers: key })).status, 200)
      assert.strictEqual((yield* post(simulator, request, { headers: bearer("test-key-a") })).status, 200)
      assert.strictEqual((yield* post(simulator, request, { headers: { "api-key": "test-key-b" } })).status, 401)
      assert.strictEqual((yield* post(simulator, request)).status, 401)
      assert.strictEqual((yield* upgrade(simulator, key)).status, 401)
      assert.strictEqual((yield* upgrade(simulator, bearer("test-key-a"))).status, 101)
    }).pipe(Effect.provide(Simulator.layer({ profile: "azure", accepts: ["test-key-a"] }))),
  )

  it.effect("is the only one to take a key in api-key", () =>
    Effect.gen(function* () {
      const headers = { "api-key": "test-key-a" }
      assert.strictEqual((yield* post(yield* Simulator, { input: "x" }, { headers })).status, 401)
    }).pipe(Effect.provide(Simulator.layer({ accepts: ["test-key-a"] }))),
  )

  it.effect("keeps one previous response per connection and reads stored ones back", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const turn = (request: object) => client.turn({ model: "gpt-4.1", input: "x", ...request })
      const unstored = yield* turn({ store: false })
      const stored = yield* turn({ store: true })
      const refused = yield* turn({ store: false, previous_response_id: idOf(unstored) })
      assert.strictEqual(messageOf(refused), `Previous response with id '${idOf(unstored)}' not found.`)
      assert.strictEqual(at(refused, "error", "type"), undefined)
      yield* turn({ store: false })
      assert.strictEqual((yield* turn({ previous_response_id: idOf(stored) })).type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer({ profile: "azure" }))),
  )
})
