import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Answer } from "../support/Ask.ts"
import { outputOf, request } from "../support/Ask.ts"
import { completed, delta, sse } from "../support/HttpTurn.ts"
import { PlainUpstream } from "../support/PlainUpstream.ts"
import { chunk, rawUpstream } from "../support/RawUpstream.ts"
import { user } from "../support/Items.ts"
import { get, post } from "../support/AskProxy.ts"
import { reading } from "../support/Reading.ts"
import { eventually } from "../support/EventLoop.ts"
import { socketsOpen } from "../support/OpenSockets.ts"

const proxied = TestProxy.layerBrief

const turn = (
  input: ReadonlyArray<JsonObject>,
  members: JsonObject = {},
  headers: Readonly<Record<string, string>> = {},
) =>
  post(
    { input: [...input], ...members },
    { headers: { "session-id": "the-session", "x-request-id": "request-1", ...headers } },
  )

/** The headers that are the proxy's own. */
const decisions = ({ headers }: Answer) =>
  Object.fromEntries(
    [...headers].filter(([name]) => name.startsWith("x-respool-")).map(([name, value]) => [name.slice(10), value]),
  )

const timing = /^lease;dur=\d+(\.\d+)?, upstream;dur=\d+(\.\d+)?$/

describe("The head of a turn's answer", () => {
  for (const stream of [false, true]) {
    it.effect(`says how the turn went (stream: ${stream})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const first = yield* turn([user("One")], { stream })
        assert.deepStrictEqual(decisions(first), {
          transport: "websocket",
          connection: "new",
          input: "full",
          reason: "no_checkpoint",
        })
        const items = (simulator.turns[0]?.output ?? []).map((item) => JSON.parse(item) as JsonObject)
        const second = yield* turn([user("One"), ...items, user("Two")], { stream })
        assert.deepStrictEqual(decisions(second), {
          transport: "websocket",
          connection: "reused",
          input: "suffix",
          reason: "continued",
        })
        const third = yield* turn([user("Three")], { stream, background: true })
        assert.deepStrictEqual(decisions(third), {
          transport: "http",
          connection: "new",
          input: "full",
          reason: "background",
        })
        for (const answer of [first, second, third]) {
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.headers.get("x-request-id"), "request-1")
          assert.match(answer.headers.get("server-timing") ?? "", timing)
          assert.strictEqual(
            answer.headers.get("content-type"),
            stream ? "text/event-stream; charset=utf-8" : "application/json",
          )
          assert.strictEqual(answer.headers.get("cache-control"), stream ? "no-cache, no-transform" : null)
        }
      }).pipe(Effect.provide(proxied())),
    )
  }

  it.effect("says it of an error too", () =>
    Effect.gen(function* () {
      const answer = yield* turn([user("One")])
      assert.strictEqual(answer.status, 400)
      assert.deepStrictEqual(decisions(answer), {
        transport: "websocket",
        connection: "new",
        input: "full",
        reason: "no_checkpoint",
      })
      assert.strictEqual(answer.headers.get("x-request-id"), "request-1")
      assert.match(answer.headers.get("server-timing") ?? "", timing)
    }).pipe(
      Effect.provide(proxied({}, { fault: () => [{ _tag: "Error", at: 0, status: 400, code: null, message: "No." }] })),
    ),
  )

  it.effect("has the request id alone where the settings say so", () =>
    Effect.gen(function* () {
      for (const members of [{}, { stream: true }, { background: true }]) {
        const answer = yield* turn([user("One")], members)
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(decisions(answer), {})
        assert.isFalse(answer.headers.has("server-timing"))
        assert.strictEqual(answer.headers.get("x-request-id"), "request-1")
      }
    }).pipe(Effect.provide(proxied({ decisionHeaders: "off" }))),
  )

  it.effect("has a request id of our own, each turn another, where the client gave none that can be used", () =>
    Effect.gen(function* () {
      const ids = new Set<string | null>()
      for (const given of ["", "two words", "x".repeat(129)]) {
        const { headers } = yield* turn([user("One")], {}, { "x-request-id": given })
        assert.match(headers.get("x-request-id") ?? "", /^req_[0-9a-f]{32}$/)
        ids.add(headers.get("x-request-id"))
      }
      assert.strictEqual(ids.size, 3)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("has the upstream's own headers over HTTP, but for its request id", () =>
    Effect.gen(function* () {
      const { headers } = yield* turn([user("One")])
      assert.strictEqual(headers.get("openai-processing-ms"), "12")
      assert.strictEqual(headers.get("x-ratelimit-remaining-tokens"), "7")
      assert.strictEqual(headers.get("x-request-id"), "request-1")
      assert.isFalse(headers.has("set-cookie"))
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied({
          http: () =>
            new Response(`{"id":"resp_1","output":[]}`, {
              headers: {
                "content-type": "application/json",
                "openai-processing-ms": "12",
                "x-ratelimit-remaining-tokens": "7",
                "x-request-id": "upstreams-own",
                "set-cookie": "a=b",
              },
            }),
        }),
      ),
    ),
  )
})

describe("The log", () => {
  const turnLines = (logged: ReadonlyArray<string>) => logged.filter((line) => line.includes("message=turn"))

  it.effect("has one line per turn with the final words, and never a credential", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      const simulator = yield* Simulator
      const first = yield* turn([user("One")])
      yield* turn([user("One"), ...outputOf(first), user("Two")])
      yield* turn([user("One")], { background: true })
      yield* simulator.failNext({ _tag: "Error", at: 0, status: 400, code: "bad_thing", message: "No." })
      yield* turn([user("Other")])
      yield* simulator.failNext({ _tag: "Incomplete", at: 8, reason: "max_output_tokens" })
      yield* turn([user("More")])
      yield* simulator.configure({ upgradeRefusal: { status: 429 } })
      yield* simulator.disconnect()
      yield* socketsOpen(simulator, 0)
      yield* turn([user("Again")])
      yield* get("/models")
      yield* post("{")
      const lines = turnLines(logged)
      assert.strictEqual(lines.length, 6, logged.join("\n"))
      const says = (index: number, ...words: ReadonlyArray<string>) => {
        for (const word of ["request=request-1", "session=the-session", ...words]) assert.include(lines[index], word)
      }
      says(0, "transport=websocket", "input=full", "reason=no_checkpoint", "itemsSent=1 items=1 ", "outcome=completed")
      says(1, "transport=websocket", "input=suffix", "reason=continued", "itemsSent=1 ", "outcome=completed")
      says(2, "transport=http", "input=full", "reason=background", "itemsSent=1 items=1 ", "outcome=completed")
      says(
        3,
        "transport=websocket",
        "outcome=upstream_error",
        "upstreamStatus=400",
        "upstreamCode=bad_thing",
        "status=400",
        "events=0",
      )
      says(4, "transport=websocket", "outcome=incomplete")
      says(5, "outcome=upgrade_refused")
      for (const line of logged) assert.notInclude(line, "test-key")
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("names a turn by respool's own id, beside the id that its client gave it", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      yield* post({ input: "One" }, { headers: { "x-request-id": "request-1" } })
      const { headers } = yield* post({ input: "Two" })
      const [named, unnamed] = turnLines(logged)
      assert.match(named ?? "", / request=request-1 turn=req_[0-9a-f]{32} /)
      assert.match(headers.get("x-request-id") ?? "", /^req_[0-9a-f]{32}$/)
      assert.include(unnamed, ` request=${headers.get("x-request-id")} scope=`)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("has the status that a JSON answer over HTTP says", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      const answer = yield* turn([user("One")])
      assert.strictEqual(answer.text, `{"id":"resp_1","status":"incomplete","output":[]}`)
      assert.include(turnLines(logged)[0], "outcome=incomplete")
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied({
          http: () =>
            new Response(`{"id":"resp_1","status":"incomplete","output":[]}`, {
              headers: { "content-type": "application/json" },
            }),
        }),
      ),
    ),
  )

  it.effect("has a turn as completed although its client leaves right behind the terminal event", () =>
    Effect.gen(function* () {
      // The body goes on, so that the proxy waits for its end.
      const { port } = yield* rawUpstream((line) => line.write(sse, chunk(delta + completed)))
      const layer = TestProxy.layerProxy({ upstreamUrl: `http://127.0.0.1:${port}/v1`, transport: "http" })
      const { logged, url } = Context.get(yield* Layer.build(layer), TestProxy)
      const leaving = new AbortController()
      const body = { model: "gpt-5.5", input: "One", stream: true }
      const response = yield* Effect.promise(() => request(`${url}/responses`, { body }, leaving.signal))
      yield* reading(response).upTo("response.completed")
      leaving.abort()
      yield* eventually(
        () => turnLines(logged).length > 0,
        () => "the turn's line",
      )
      assert.include(turnLines(logged)[0], "outcome=completed")
    }).pipe(Effect.scoped),
  )

  it.effect("has no credential when the upstream is not there", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      yield* turn([user("One")])
      yield* get("/models")
      assert.strictEqual(turnLines(logged).length, 1)
      for (const line of logged) assert.notInclude(line, "test-key")
    }).pipe(Effect.provide(TestProxy.layerProxy({ upstreamUrl: "http://127.0.0.1:1/v1" }))),
  )
})
