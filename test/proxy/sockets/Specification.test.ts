/**
 * What the Open Responses specification asks of a server, straight at the simulator and through respool.
 *
 * The behaviours are those of its public compliance suite, one test for each, with checks of our own.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Json, JsonObject } from "../../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../../src/simulator/JsonText.ts"
import { agent } from "../../../src/simulator/Script.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import type { Answer } from "../../support/Ask.ts"
import { ask } from "../../support/Ask.ts"
import { eventsOf } from "../../support/Events.ts"
import { objectIn } from "../../support/Parsed.ts"
import { errorIn, keyed, outputOf } from "../../support/SocketClient.ts"
import type { Event } from "../../support/TestClient.ts"
import { at, connect, idOf } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

type Check = (value: Json | undefined) => boolean

const text: Check = (value) => typeof value === "string"
const number: Check = (value) => typeof value === "number"
const integer: Check = (value) => Number.isInteger(value)
const flag: Check = (value) => typeof value === "boolean"
const object: Check = (value) => isObject(value)
const or =
  (...checks: ReadonlyArray<Check>): Check =>
  (value) =>
    value === null || checks.some((check) => check(value))

/** Members that every response has. */
const members: Readonly<Record<string, Check>> = {
  id: text,
  object: (value) => value === "response",
  created_at: integer,
  completed_at: or(integer),
  status: text,
  incomplete_details: or(object),
  model: text,
  previous_response_id: or(text),
  instructions: or(text),
  output: (value) => isArray(value) && value.every(isItem),
  error: or(object),
  tools: (value) => isArray(value) && value.every(isTool),
  tool_choice: (value) => text(value) || object(value),
  truncation: text,
  parallel_tool_calls: flag,
  text: object,
  top_p: number,
  presence_penalty: number,
  frequency_penalty: number,
  top_logprobs: integer,
  temperature: number,
  reasoning: or(object),
  usage: or(object),
  max_output_tokens: or(integer),
  max_tool_calls: or(integer),
  store: flag,
  background: flag,
  service_tier: text,
  metadata: () => true,
  safety_identifier: or(text),
  prompt_cache_key: or(text),
}

const isTool: Check = (tool) =>
  isObject(tool) &&
  (tool.type !== "function" ||
    (text(tool.name) && ["description", "parameters", "strict"].every((name) => tool[name] !== undefined)))

const isItem: Check = (item) => {
  if (!isObject(item) || !text(item.id)) return false
  switch (item.type) {
    case "message":
      return (
        text(item.status) &&
        text(item.role) &&
        isArray(item.content) &&
        item.content.every((part) => isObject(part) && text(part.type))
      )
    case "function_call":
      return text(item.call_id) && text(item.name) && text(item.arguments) && text(item.status)
    case "reasoning":
      return isArray(item.summary)
    case "compaction":
      return text(item.encrypted_content)
    default:
      return false
  }
}

const whole = (response: Json | undefined): JsonObject => {
  if (!isObject(response)) throw new Error("no response")
  for (const [name, check] of Object.entries(members)) {
    assert.isTrue(check(response[name]), `${name}: ${JSON.stringify(response[name])}`)
  }
  assert.strictEqual(response.completed_at === null, response.status !== "completed")
  return response
}

/** A stream of events that is whole: numbered, and with its response at both ends. */
const wholeEvents = (events: ReadonlyArray<Event>) => {
  assert.deepStrictEqual(
    events.map(({ sequence_number }) => sequence_number),
    events.map((_, index) => index),
  )
  assert.strictEqual(events[0]?.type, "response.created")
  whole(events[0]?.response)
  assert.strictEqual(events.at(-1)?.type, "response.completed")
  return whole(events.at(-1)?.response)
}

const wholeAnswer = ({ json, status, text }: Answer): JsonObject => {
  assert.strictEqual(status, 200, text)
  return whole(json)
}

const hello: JsonObject = { role: "user", content: "Say hello." }

const tool: JsonObject = {
  type: "function",
  name: "get_weather",
  description: "Says what the weather is.",
  parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] },
}

const script = agent({ rounds: 1 })

for (const where of ["the simulator", "respool"] as const) {
  const url = Effect.gen(function* () {
    return where === "respool" ? (yield* TestProxy).url : (yield* Simulator).url
  })
  const post = (body: JsonObject, path = "/responses") =>
    Effect.flatMap(url, (url) => ask(`${url}${path}`, { key: "test-key-a", body: { model: "gpt-5.5", ...body } }))
  const socket = Effect.flatMap(url, (url) => connect({ url }, keyed()))
  const layer = TestProxy.layer({ simulator: { script } })

  describe(`The specification, at ${where}`, () => {
    it.effect("basic response", () =>
      Effect.gen(function* () {
        const response = wholeAnswer(yield* post({ input: [hello] }))
        assert.isAbove((response.output as ReadonlyArray<Json>).length, 0)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("phases of the assistant's messages go in, and come out", () =>
      Effect.gen(function* () {
        const said = (phase: string): JsonObject => ({ type: "message", role: "assistant", content: "One.", phase })
        const response = wholeAnswer(yield* post({ input: [hello, said("commentary"), said("final_answer"), hello] }))
        const phases = (response.output as ReadonlyArray<JsonObject>).flatMap(({ phase }) => phase ?? [])
        assert.isTrue(phases.every((phase) => phase === "commentary" || phase === "final_answer"))
        assert.isNotEmpty(phases)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("streaming response", () =>
      Effect.gen(function* () {
        const { text } = yield* post({ input: [hello], stream: true })
        wholeEvents(eventsOf(text).map(({ data }) => objectIn(data) as Event))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("system prompt", () =>
      Effect.gen(function* () {
        wholeAnswer(yield* post({ input: [{ type: "message", role: "system", content: "Be brief." }, hello] }))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("tool calling", () =>
      Effect.gen(function* () {
        const response = wholeAnswer(yield* post({ input: [hello], tools: [tool] }))
        assert.isTrue((response.output as ReadonlyArray<JsonObject>).some(({ type }) => type === "function_call"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("image input", () =>
      Effect.gen(function* () {
        const content = [
          { type: "input_text", text: "What is it?" },
          { type: "input_image", image_url: "data:image/png;base64,iVBORw0KGgo=" },
        ]
        wholeAnswer(yield* post({ input: [{ type: "message", role: "user", content }] }))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("multi-turn conversation", () =>
      Effect.gen(function* () {
        wholeAnswer(yield* post({ input: [hello, { type: "message", role: "assistant", content: "Hello." }, hello] }))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("compaction", () =>
      Effect.gen(function* () {
        const { json, status } = yield* post({ input: [hello, hello] }, "/responses/compact")
        assert.strictEqual(status, 200)
        assert.strictEqual(json?.["object"], "response.compaction")
        assert.isTrue(members["output"]?.(json?.["output"]))
        assert.isTrue(integer(json?.["created_at"]) && object(json?.["usage"]) && text(json?.["id"]))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("compaction without a model is refused", () =>
      Effect.gen(function* () {
        const answer = yield* ask(`${yield* url}/responses/compact`, { key: "test-key-a", body: { input: [hello] } })
        assert.isTrue(answer.status >= 400 && answer.status < 500, answer.text)
        assert.isTrue(object(answer.json?.["error"]))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket response", () =>
      Effect.gen(function* () {
        const client = yield* socket
        yield* client.send({ store: false, input: [hello] })
        wholeEvents(yield* client.answer)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket sequential responses", () =>
      Effect.gen(function* () {
        const client = yield* socket
        for (const input of [[hello], "A text."]) yield* client.send({ store: false, input })
        const [first, second] = [wholeEvents(yield* client.answer), wholeEvents(yield* client.answer)]
        assert.notStrictEqual(first.id, second.id)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket continuation", () =>
      Effect.gen(function* () {
        const client = yield* socket
        const first = yield* client.turn({ store: false, input: [hello] })
        const next = yield* client.turn({ store: false, previous_response_id: idOf(first), input: "And then?" })
        assert.strictEqual(whole(next.response).previous_response_id, idOf(first))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket reconnect: what is not stored is not found, and the socket recovers", () =>
      Effect.gen(function* () {
        const first = yield* Effect.scoped(
          Effect.flatMap(socket, (client) => client.turn({ store: false, input: [hello] })),
        )
        const client = yield* socket
        const refused = yield* client.turn({ store: false, previous_response_id: idOf(first), input: "And then?" })
        assert.strictEqual(errorIn(refused)[1], "previous_response_not_found")
        whole((yield* client.turn({ store: false, input: [hello] })).response)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket previous response not found", () =>
      Effect.gen(function* () {
        const client = yield* socket
        const id = "resp_missing_1234567890"
        const refused = yield* client.turn({ store: false, previous_response_id: id, input: "x" })
        assert.deepStrictEqual(errorIn(refused).slice(0, 2) as ReadonlyArray<unknown>, [
          400,
          "previous_response_not_found",
        ])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket failed continuation evicts", () =>
      Effect.gen(function* () {
        const client = yield* socket
        const first = yield* client.turn({ store: false, input: [hello] })
        const output = { type: "function_call_output", call_id: "call_that_is_not_there", output: "x" }
        const chained = { store: false, previous_response_id: idOf(first) }
        assert.strictEqual((yield* client.turn({ ...chained, input: [output] })).type, "error")
        const again = yield* client.turn({ ...chained, input: "x" })
        assert.strictEqual(errorIn(again)[1], "previous_response_not_found")
        whole((yield* client.turn({ store: false, input: [hello] })).response)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("websocket compaction begins a new chain", () =>
      Effect.gen(function* () {
        const compacted = yield* post({ input: [hello, hello] }, "/responses/compact")
        const window = compacted.json?.["output"] as ReadonlyArray<Json>
        const client = yield* socket
        const response = whole((yield* client.turn({ store: false, input: [...window, hello] })).response)
        assert.isNull(response.previous_response_id)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("every item of every turn has its members, and its lane's name where it has one", () =>
      Effect.gen(function* () {
        const client = yield* socket
        yield* client.send({ stream_id: "a", input: [hello], tools: [tool] })
        const events = yield* client.answer
        wholeEvents(events)
        for (const event of events) {
          assert.strictEqual(event.stream_id, "a")
          if (event.type === "response.output_item.done") assert.isTrue(isItem(at(event, "item")))
        }
        assert.isNotEmpty(outputOf(events.at(-1) as Event))
      }).pipe(Effect.provide(layer)),
    )
  })
}
