import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { at, callIds, codeOf, connect, idOf, messageOf, outputFor, post, weather } from "../support/TestClient.ts"

describe("Requests over the socket", () => {
  it.effect("refuses what is no request with an envelope and stays open", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      const cases: ReadonlyArray<readonly [string, string]> = [
        ["{", "invalid_json"],
        ["[]", "invalid_type"],
        ['{"model":"m","input":"x"}', "missing_required_parameter"],
        ['{"type":"response.cancel"}', "invalid_value"],
        ['{"type":"response.create","input":"x"}', "missing_required_parameter"],
        ['{"type":"response.create","model":"m","background":true,"input":"x"}', "unsupported_parameter"],
        ['{"type":"response.create","model":"m","background_options":{},"input":"x"}', "unsupported_parameter"],
        ['{"type":"response.create","model":"m","input":"x","model":"m"}', "duplicate_parameter"],
        ['{"type":"response.create","model":"m","input":"x","m\\u006fdel":"m"}', "duplicate_parameter"],
        ['{"type":"response.create","model":"m","input":"x","stream_id":""}', "invalid_stream_id"],
        ['{"type":"response.create","model":"m","input":"x","stream_id":"a b"}', "invalid_stream_id"],
        ['{"type":"response.create","model":"m","input":7}', "invalid_type"],
        ['{"type":"response.create","model":"m"}', "missing_required_parameter"],
        [
          '{"type":"response.create","model":"m","input":"x","conversation":"c","previous_response_id":"r"}',
          "mutually_exclusive_parameters",
        ],
      ]
      for (const [text, code] of cases) {
        yield* client.send(text)
        const answer = yield* client.next
        assert.strictEqual(answer.type, "error", text)
        assert.strictEqual(answer.status, 400, text)
        assert.strictEqual(codeOf(answer), code, text)
      }
      const fine = yield* client.turn({ input: "x", stream: true, background: false, background_options: null })
      assert.strictEqual(fine.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("counts a refused request as a turn that was not executed", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      yield* client.turn({ previous_response_id: "resp_none", input: "x" })
      assert.strictEqual(simulator.turns[0]?.status, "error")
      assert.strictEqual(simulator.turns[0]?.refusal?.code, "previous_response_not_found")
      assert.deepInclude(simulator.counters, { websocketTurns: 1, refusedTurns: 1, executions: 0 })
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("Requests over HTTP", () => {
  it.effect("refuses the members that only the socket has", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      for (const [name, value] of [
        ["type", "response.create"],
        ["stream_id", "a"],
        ["generate", false],
      ] as const) {
        const answer = yield* post(simulator, { input: "x", [name]: value })
        assert.strictEqual(answer.status, 400)
        assert.deepStrictEqual(answer.json(), {
          error: {
            message: `Unknown parameter: '${name}'.`,
            type: "invalid_request_error",
            param: name,
            code: "unknown_parameter",
          },
        })
      }
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("judges the options of the background, whose long windows cost less and take no stream", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const window = (completion_window: string) => ({ background_options: { completion_window } })
      const cases: ReadonlyArray<readonly [members: JsonObject, code: string | undefined]> = [
        [{ background_options: null }, undefined],
        [{ background_options: {} }, undefined],
        [window("soonest"), undefined],
        [{ background: true, stream: true, service_tier: "flex", ...window("soonest") }, undefined],
        [{ background: true, ...window("2h") }, undefined],
        [{ background: true, stream: false, service_tier: "default", ...window("8h") }, undefined],
        [{ background: true, background_options: { completion_window: null, continuation_id: "a" } }, undefined],
        [{ background: true, background_options: [] }, "invalid_type"],
        [{ background: true, background_options: { continuation_id: 1 } }, "invalid_type"],
        [{ background: true, background_options: { completion_window: ["2h"] } }, "invalid_type"],
        [{ background: true, ...window("1h") }, "invalid_value"],
        [window("2h"), "unsupported_parameter"],
        [{ background: false, ...window("8h") }, "unsupported_parameter"],
        [{ background: true, stream: true, ...window("2h") }, "unsupported_parameter"],
        [{ background: true, service_tier: "flex", ...window("8h") }, "unsupported_parameter"],
      ]
      for (const [members, code] of cases) {
        const answer = yield* post(simulator, { input: "x", ...members })
        const what = JSON.stringify(members)
        assert.strictEqual(answer.status, code === undefined ? 200 : 400, what)
        if (code !== undefined) assert.strictEqual(at(answer.json(), "error", "code"), code, what)
      }
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("reads a gzipped body and refuses a broken or unknown encoding", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const text = JSON.stringify({ model: "m", input: "x" })
      const send = (body: Uint8Array<ArrayBuffer>, encoding: string) =>
        Effect.promise(() =>
          fetch(`${simulator.url}/responses`, { method: "POST", body, headers: { "content-encoding": encoding } }),
        )
      assert.strictEqual((yield* send(Bun.gzipSync(text), "gzip")).status, 200)
      assert.strictEqual(simulator.turns[0]?.raw, text)
      assert.strictEqual((yield* send(new Uint8Array([1, 2]), "gzip")).status, 400)
      assert.strictEqual((yield* send(new Uint8Array([1, 2]), "br")).status, 415)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("answers unknown paths in the API's shape", () =>
    Effect.gen(function* () {
      const answer = yield* post(yield* Simulator, {}, { path: "/chat/completions" })
      assert.strictEqual(answer.status, 404)
      assert.strictEqual(at(answer.json(), "error", "message"), "Invalid URL (POST /v1/chat/completions)")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("compacts to the user's messages and one opaque item that a new chain can start with", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const input = [
        { role: "user", content: "one" },
        { role: "assistant", content: "two" },
      ]
      const answer = yield* post(simulator, { input }, { path: "/responses/compact" })
      assert.strictEqual(answer.json().object, "response.compaction")
      const output = answer.json().output
      assert.strictEqual(at(output, 0, "content", 0, "text"), "one")
      assert.strictEqual(at(output, 1, "type"), "compaction")
      const continued = yield* post(simulator, { previous_response_id: String(answer.json().id), input: "x" })
      assert.strictEqual(continued.status, 400)
      assert.strictEqual((yield* post(simulator, { input: output ?? [] })).status, 200)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("accepts only the keys it was given, on the upgrade too", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const refused = yield* post(simulator, { input: "x" }, { headers: { authorization: "Bearer test-key-b" } })
      assert.strictEqual(refused.status, 401)
      assert.strictEqual(at(refused.json(), "error", "code"), "invalid_api_key")
      const accepted = yield* post(simulator, { input: "x" }, { headers: { authorization: "Bearer test-key-a" } })
      assert.strictEqual(accepted.status, 200)
      const closed = yield* connect(simulator, { authorization: "Bearer test-key-b" })
      assert.strictEqual(yield* closed.closed, 1006)
      assert.deepInclude(simulator.counters, { upgrades: 0, refusedUpgrades: 1 })
      const open = yield* connect(simulator, { authorization: "Bearer test-key-a" })
      assert.strictEqual((yield* open.turn({ input: "x" })).type, "response.completed")
      assert.strictEqual(simulator.connections[0]?.headers.authorization, "Bearer test-key-a")
      assert.strictEqual(simulator.turns.at(-1)?.headers.authorization, "Bearer test-key-a")
    }).pipe(Effect.provide(Simulator.layer({ apiKeys: ["test-key-a"] }))),
  )
})

describe("The rebuilt context", () => {
  it.effect("needs an output for every call and a call for every output", () =>
    Effect.gen(function* () {
      const client = yield* connect(yield* Simulator)
      const call = { type: "function_call", call_id: "call_1", name: "f", arguments: "{}" }
      const custom = { type: "custom_tool_call", call_id: "call_2", name: "g", input: "" }
      const refusalOf = (...input: ReadonlyArray<Record<string, string>>) =>
        Effect.map(client.turn({ input }), messageOf)
      assert.strictEqual(yield* refusalOf(call), "No tool output found for function call call_1.")
      assert.strictEqual(yield* refusalOf(custom), "No tool output found for custom tool call call_2.")
      assert.strictEqual(
        yield* refusalOf({ type: "function_call_output", call_id: "call_1", output: "" }),
        "No tool call found for function call output with call_id call_1.",
      )
      assert.strictEqual(
        yield* refusalOf(custom, { type: "function_call_output", call_id: "call_2", output: "" }),
        "No tool call found for function call output with call_id call_2.",
      )
      assert.strictEqual(
        yield* refusalOf({ type: "function_call_output", call_id: "call_1", output: "" }, call),
        "No tool call found for function call output with call_id call_1.",
      )
      const fine = yield* client.turn({
        input: [call, custom, outputFor("call_1"), { type: "custom_tool_call_output", call_id: "call_2", output: "" }],
      })
      assert.strictEqual(fine.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("refuses a continuation that leaves a call unanswered or sends the whole history again", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* connect(simulator)
      const input = [{ role: "user", content: "use 1 steps" }]
      const first = yield* client.turn({ input, tools: [weather] })
      const unanswered = yield* client.turn({ previous_response_id: idOf(first), input: "go on" })
      assert.match(messageOf(unanswered), /^No tool output found for function call call_/)
      const outputs = callIds(first).map((id) => outputFor(id))
      const replayed = (simulator.turns[0]?.output ?? []).map((raw) => JSON.parse(raw) as Record<string, string>)
      const twice = yield* client.turn({
        previous_response_id: idOf(first),
        input: [...input, ...replayed, ...outputs],
      })
      assert.match(messageOf(twice), /^Duplicate item found with id rs_/)
      const withoutIds = replayed
        .filter(({ type }) => type === "function_call")
        .map(({ call_id, name, arguments: text }) => ({ type: "function_call", call_id, name, arguments: text }))
      const again = yield* client.turn({
        previous_response_id: idOf(first),
        input: [...withoutIds, ...outputs],
      } as never)
      assert.match(messageOf(again), /^Duplicate item found with call_id call_/)
      const full = yield* client.turn({ input: [...input, ...replayed, ...outputs] })
      assert.strictEqual(full.type, "response.completed")
    }).pipe(Effect.provide(Simulator.layer({}))),
  )

  it.effect("resolves a reference to a stored item, with or without a type, and to nothing else", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* post(simulator, { input: "one" })
      yield* post(simulator, { input: "one", store: false })
      const idIn = (turn: number) => String(at(JSON.parse(simulator.turns[turn]?.output[1] ?? "{}"), "id"))
      for (const reference of [{ id: idIn(0) }, { type: "item_reference", id: idIn(0) }]) {
        assert.strictEqual((yield* post(simulator, { input: [reference, { role: "user", content: "x" }] })).status, 200)
        assert.strictEqual(simulator.turns.at(-1)?.context[0], simulator.turns[0]?.output[1])
      }
      const unknown = yield* post(simulator, { input: [{ type: "item_reference", id: idIn(1) }] })
      assert.strictEqual(unknown.status, 404)
      assert.match(String(at(unknown.json(), "error", "message")), /^Item with id 'msg_.*' not found\./)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
