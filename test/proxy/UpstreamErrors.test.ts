import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { APIError } from "openai"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { Fault, SimulatorOptions } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Answer } from "../support/Ask.ts"
import { errorIn } from "../support/Ask.ts"
import { eventsOf, responseIn } from "../support/Events.ts"
import { PlainUpstream } from "../support/PlainUpstream.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"

const proxied = (simulator: SimulatorOptions = {}, settings: Partial<SettingsValues> = {}) =>
  TestProxy.layerBrief(settings, simulator)

/** Every turn has these faults, so that no second try comes out better. */
const failing = (...faults: ReadonlyArray<Fault>) => ({ fault: () => faults })

const greet = (stream: boolean) => post({ input: "Hello", stream }, { headers: { "x-request-id": "request-1" } })

const assertJson = (answer: Answer) => {
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json\b/)
  assert.strictEqual(answer.headers.get("x-request-id"), "request-1")
  for (const name of ["connection", "transfer-encoding", "set-cookie", "upgrade"])
    assert.isFalse(answer.headers.has(name), name)
  assert.strictEqual(answer.headers.get("content-length"), String(Buffer.byteLength(answer.text)))
}

const said: JsonObject = { type: "message", id: "msg_1", role: "assistant", content: [] }

/** Completes a first turn, and says of the second, late, that it has forgotten the first. */
const forgetting = (message: string): ReadonlyArray<string> => {
  const event = (type: string, more: JsonObject) => JSON.stringify({ type, ...more })
  return message.includes("previous_response_id")
    ? [
        ...Array.from({ length: 65 }, () => event("response.in_progress", { response: { id: "resp_2" } })),
        event("response.failed", { response: { id: "resp_2", error: { code: "previous_response_not_found" } } }),
      ]
    : [event("response.completed", { response: { id: "resp_1", output: [said] } })]
}

/** What the openai SDK throws for a streaming turn, and the types of the events it saw before; `eighth` runs at the eighth of them. */
const thrown = Effect.fnUntraced(function* (eighth: Effect.Effect<void> = Effect.void) {
  const { client } = yield* TestProxy
  const run = Effect.runForkWith(yield* Effect.context<never>())
  return yield* Effect.promise(async () => {
    const seen: Array<string> = []
    try {
      for await (const event of await client().responses.create({ model: "gpt-5.5", input: "Hello", stream: true })) {
        if (seen.push(event.type) === 8) run(eighth)
      }
    } catch (error) {
      return { seen, error }
    }
    throw new Error(`nothing was thrown after ${seen.join()}`)
  })
})

/** An upstream whose answer is no JSON. */
const noJson = (headers: Readonly<Record<string, string>> = {}) =>
  PlainUpstream.layerProxied(
    { http: () => new Response("<html>", { headers: { "content-type": "text/html", ...headers } }) },
    { transport: "http" },
  )

const modes = [
  ["streaming", true],
  ["not streaming", false],
] as const

for (const [mode, stream] of modes) {
  describe(`Before the head has left, ${mode}`, () => {
    it.effect("a refused credential is the upstream's own 401, and is not asked again over HTTP", () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 401)
        assertJson(answer)
        assert.deepInclude(errorIn(answer), { code: "invalid_api_key", message: "Incorrect API key provided." })
        assert.isFalse(answer.headers.has("x-should-retry"))
        assert.deepInclude(simulator.counters, { refusedUpgrades: 1, httpTurns: 0 })
      }).pipe(Effect.provide(proxied({ apiKeys: ["test-key-b"] }))),
    )

    for (const status of [401, 403, 429]) {
      it.effect(`a ${status} on the upgrade has the upgrade's body and headers, but not its framing`, () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator
          const body = `{"error": {"message":"no \\u00e9 1.0","type":"t","param":null,"code":"c"}}`
          yield* simulator.configure({
            upgradeRefusal: {
              status,
              body,
              headers: {
                "retry-after": "7",
                "x-ratelimit-remaining-requests": "0",
                "set-cookie": "a=b",
                "sec-websocket-version": "13",
                "content-type": "application/json; charset=utf-8",
                "x-request-id": "upstreams-own",
              },
            },
          })
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, status)
          assert.strictEqual(answer.text, body)
          assertJson(answer)
          assert.strictEqual(answer.headers.get("content-type"), "application/json; charset=utf-8")
          assert.strictEqual(answer.headers.get("retry-after"), "7")
          assert.strictEqual(answer.headers.get("x-ratelimit-remaining-requests"), "0")
          assert.isFalse(answer.headers.has("sec-websocket-version"))
          assert.isFalse(answer.headers.has("x-should-retry"))
          assert.strictEqual(simulator.counters.httpTurns, 0)
        }).pipe(Effect.provide(proxied())),
      )
    }

    const coded: ReadonlyArray<readonly [code: string, status: number]> = [
      ["rate_limit_exceeded", 429],
      ["insufficient_quota", 429],
      ["invalid_prompt", 400],
      ["context_length_exceeded", 400],
      ["server_error", 500],
      ["something_else", 502],
    ]
    for (const [code, status] of coded) {
      it.effect(`an error without a status gets ${status} from its code ${code}`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, status)
          assertJson(answer)
          assert.deepInclude(errorIn(answer), { code, message: "It failed." })
        }).pipe(
          Effect.provide(
            proxied(
              failing({
                _tag: "Error",
                at: 0,
                status: 418,
                withoutStatus: true,
                type: "t",
                code,
                message: "It failed.",
              }),
            ),
          ),
        ),
      )
    }

    for (const at of [0, 2]) {
      const after = at === 0 ? "as the first event" : "after lifecycle events"
      it.effect(`a 400 envelope ${after} is a 400 with its error as it is`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, 400)
          assertJson(answer)
          assert.strictEqual(
            answer.text,
            `{"error":{"type":"invalid_request_error","code":"bad_thing","message":"Not so.","param":"input[0]"}}`,
          )
          assert.isFalse(answer.headers.has("x-should-retry"))
        }).pipe(
          Effect.provide(
            proxied(
              failing({ _tag: "Error", at, status: 400, code: "bad_thing", message: "Not so.", param: "input[0]" }),
            ),
          ),
        ),
      )

      it.effect(`a flat error event ${after} is a real status too`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, 429)
          assertJson(answer)
          assert.deepInclude(errorIn(answer), { code: "rate_limit_exceeded", message: "Slow down.", param: null })
        }).pipe(
          Effect.provide(
            proxied(
              failing({
                _tag: "Error",
                at,
                status: 429,
                flat: true,
                code: "rate_limit_exceeded",
                message: "Slow down.",
              }),
            ),
          ),
        ),
      )
    }

    it.effect("a 429 envelope brings its headers, but none that could break the answer", () =>
      Effect.gen(function* () {
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 429)
        assertJson(answer)
        assert.strictEqual(answer.headers.get("retry-after-ms"), "1500")
        assert.strictEqual(answer.headers.get("x-ratelimit-reset-requests"), "1s")
        assert.isFalse(answer.headers.has("x-broken"))
        assert.strictEqual(answer.headers.get("x-respool-transport"), "websocket")
      }).pipe(
        Effect.provide(
          proxied(
            failing({
              _tag: "Error",
              at: 0,
              status: 429,
              code: "rate_limit_exceeded",
              message: "Slow down.",
              headers: {
                "Retry-After-Ms": "1500",
                "x-ratelimit-reset-requests": "1s",
                "content-length": "3",
                "transfer-encoding": "chunked",
                "set-cookie": "a=b",
                "content-encoding": "gzip",
                "x-broken": "a\r\nx-injected: b",
                "no header name": "x",
                "x-respool-transport": "forged",
                "x-request-id": "forged",
              },
            }),
          ),
        ),
      ),
    )

    // Over HTTP only a stream has events before its end.
    for (const transport of stream ? (["auto", "http"] as const) : (["auto"] as const)) {
      const failure = { _tag: "Error", status: 500, code: "server_error", message: "It broke." } as const
      it.effect(`a 500 after lifecycle events may have run, so that no SDK repeats it (${transport})`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, 500)
          assertJson(answer)
          assert.deepInclude(errorIn(answer), { code: "server_error", message: "It broke." })
          assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        }).pipe(Effect.provide(proxied(failing({ ...failure, at: 2 }), { transport }))),
      )

      it.effect(`a 500 before any event may be repeated (${transport})`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, 500)
          assert.isFalse(answer.headers.has("x-should-retry"))
        }).pipe(Effect.provide(proxied(failing({ ...failure, at: 0 }), { transport }))),
      )
    }

    const lost: ReadonlyArray<readonly [what: string, fault: Fault]> = [
      ["a close", { _tag: "Close", at: 0, code: 1011 }],
      ["a reset", { _tag: "Reset", at: 0 }],
      ["a close after lifecycle events", { _tag: "Close", at: 2, code: 1011 }],
      ["a frame that is no event", { _tag: "InvalidJson", at: 0 }],
    ]
    for (const [what, fault] of lost) {
      it.effect(`${what} is a 502 that no SDK repeats, since the turn may have run`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, 502)
          assertJson(answer)
          assert.strictEqual(answer.headers.get("x-should-retry"), "false")
          assert.sameMembers(Object.keys(errorIn(answer)), ["message", "type", "code", "param"])
        }).pipe(Effect.provide(proxied(failing(fault)))),
      )
    }

    for (const transport of ["auto", "http"] as const) {
      it.effect(`silence until the time-out is a 504 that no SDK repeats (${transport})`, () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator
          const fiber = yield* Effect.forkChild(greet(false))
          yield* simulator.until(({ turns }) => turns[0]?.status === "running")
          yield* TestClock.adjust("60 minutes")
          const answer = yield* Fiber.join(fiber)
          assert.strictEqual(answer.status, 504)
          assertJson(answer)
          assert.strictEqual(answer.headers.get("x-should-retry"), "false")
          yield* simulator.until(({ turns }) => turns[0]?.status === "abandoned")
        }).pipe(Effect.provide(proxied(failing({ _tag: "Stall", at: 0 }), { transport }))),
      )
    }

    it.effect("over HTTP the upstream's status, headers and body are the answer", () =>
      Effect.gen(function* () {
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 429)
        assertJson(answer)
        assert.strictEqual(answer.headers.get("retry-after"), "3")
        assert.deepInclude(errorIn(answer), { code: "rate_limit_exceeded", message: "Slow down." })
        assert.isFalse(answer.headers.has("x-should-retry"))
      }).pipe(
        Effect.provide(
          proxied(
            failing({
              _tag: "Error",
              at: 0,
              status: 429,
              code: "rate_limit_exceeded",
              message: "Slow down.",
              headers: { "retry-after": "3" },
            }),
            { transport: "http" },
          ),
        ),
      ),
    )

    it.effect("over HTTP an error event that begins the stream is a real status too", () =>
      Effect.gen(function* () {
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 429)
        assertJson(answer)
        assert.deepInclude(errorIn(answer), { code: "rate_limit_exceeded", message: "Slow down." })
      }).pipe(
        Effect.provide(
          PlainUpstream.layerProxied(
            {
              http: () =>
                new Response(
                  `data: {"type":"response.created","response":{}}\n\ndata: {"type":"error","code":"rate_limit_exceeded","message":"Slow down.","param":null}\n\n`,
                  { headers: { "content-type": "text/event-stream" } },
                ),
            },
            { transport: "http" },
          ),
        ),
      ),
    )

    it.effect("over HTTP an answer that is no JSON is a 502 that no SDK repeats", () =>
      Effect.gen(function* () {
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 502)
        assertJson(answer)
        assert.deepInclude(errorIn(answer), { code: "upstream_protocol" })
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      }).pipe(Effect.provide(noJson())),
    )

    it.effect("what the upstream's head says of another try gives way to what is said here", () =>
      Effect.gen(function* () {
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 502)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        assert.strictEqual(answer.headers.get("x-upstream"), "kept")
      }).pipe(Effect.provide(noJson({ "x-should-retry": "true", "x-upstream": "kept" }))),
    )

    it.effect("an upstream that nobody can reach is a 502, which may be repeated", () =>
      Effect.gen(function* () {
        const answer = yield* greet(stream)
        assert.strictEqual(answer.status, 502)
        assertJson(answer)
        assert.deepInclude(errorIn(answer), { code: "upstream_unreachable" })
        assert.isFalse(answer.headers.has("x-should-retry"))
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreamUrl: "http://127.0.0.1:1/v1" }))),
    )
  })
}

describe("Once a stream has begun", () => {
  const cases: ReadonlyArray<readonly [what: string, fault: Fault, message: string]> = [
    [
      "an error envelope",
      { _tag: "Error", at: 8, status: 500, code: "server_error", message: "It broke." },
      "It broke.",
    ],
    [
      "a flat error",
      { _tag: "Error", at: 8, status: 500, flat: true, code: "server_error", message: "It broke." },
      "It broke.",
    ],
    ["a close of the socket", { _tag: "Close", at: 8, code: 1011, reason: "gone" }, "1011"],
  ]
  for (const [what, fault, message] of cases) {
    it.effect(`${what} is an in-stream error event, which ends the stream and which the openai SDK throws`, () =>
      Effect.gen(function* () {
        const answer = yield* greet(true)
        assert.strictEqual(answer.status, 200)
        const events = eventsOf(answer.text)
        assert.strictEqual(events.length, 9)
        const last = events.at(-1)
        assert.strictEqual(last?.type, "error")
        assert.strictEqual((JSON.parse(last?.data ?? "") as { readonly type: string }).type, "error")
        const { error, seen } = yield* thrown()
        assert.instanceOf(error, APIError)
        assert.include(error.message, message)
        assert.strictEqual(seen.length, 8)
      }).pipe(Effect.provide(proxied(failing(fault)))),
    )
  }

  it.effect("a break of the upstream's own HTTP stream is one too", () =>
    Effect.gen(function* () {
      const { error, seen } = yield* thrown((yield* Simulator).release)
      assert.instanceOf(error, APIError)
      assert.strictEqual(seen.length, 8)
    }).pipe(Effect.provide(proxied(failing({ _tag: "Hold", at: 8 }, { _tag: "Reset", at: 8 }), { transport: "http" }))),
  )

  for (const [mode, fault] of [
    ["an error", { _tag: "Error", at: 8, status: 500, code: "server_error", message: "It broke." }],
    ["a close", { _tag: "Close", at: 8, code: 1011 }],
  ] as const) {
    it.effect(`${mode} is a real status for who waits for JSON, and no SDK repeats what has run`, () =>
      Effect.gen(function* () {
        const answer = yield* greet(false)
        assert.strictEqual(answer.status, fault._tag === "Error" ? 500 : 502)
        assertJson(answer)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      }).pipe(Effect.provide(proxied(failing(fault)))),
    )
  }
})

describe("The upstream's response.failed", () => {
  it.effect("is an event of its own type where it names a lost anchor too late for another try", () =>
    Effect.gen(function* () {
      const turn = (...input: ReadonlyArray<JsonObject>) => post({ stream: true, input: [...input] })
      yield* turn(user("One"))
      const events = eventsOf((yield* turn(user("One"), said, user("Two"))).text)
      assert.lengthOf(events, 66)
      for (const { data, type } of events) assert.strictEqual((JSON.parse(data) as { type: string }).type, type)
      assert.strictEqual(events.at(-1)?.type, "response.failed")
    }).pipe(Effect.provide(PlainUpstream.layerProxied({ frames: forgetting }))),
  )

  const fault: Fault = { _tag: "Failed", at: 8, code: "server_error", message: "It broke." }
  for (const transport of ["auto", "http"] as const) {
    it.effect(`passes as it is (${transport})`, () =>
      Effect.gen(function* () {
        const streamed = yield* greet(true)
        assert.strictEqual(streamed.status, 200)
        const last = eventsOf(streamed.text).at(-1)
        assert.strictEqual(last?.type, "response.failed")
        assert.deepInclude(JSON.parse(responseIn(last)), {
          status: "failed",
          error: { code: "server_error", message: "It broke." },
        })
        const whole = yield* greet(false)
        assert.strictEqual(whole.status, 200)
        assert.deepInclude(whole.json, { status: "failed", error: { code: "server_error", message: "It broke." } })
      }).pipe(Effect.provide(proxied(failing(fault), { transport }))),
    )
  }
})
