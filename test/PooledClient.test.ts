/**
 * `layerHttpClient` under policies that repeat requests, interruptions at any moment, and what it leaves to the client
 * below it.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import type { HttpClientResponse } from "effect/http"
import { FetchHttpClient, HttpBody, HttpClient, HttpClientError, HttpClientRequest } from "effect/http"
import type { HttpClientOptions } from "../src/PooledClient.ts"
import { layerHttpClient } from "../src/PooledClient.ts"
import { ConnectionPool, layerDialerBun, Server, Settings } from "../src/Respool.ts"
import { Simulator } from "../src/simulator/Simulator.ts"
import { Census } from "../src/testing/Census.ts"
import { eventually, promptly, round, unlessItHangs } from "./support/EventLoop.ts"
import { eventsOf, responseIn } from "./support/Events.ts"
import { allowed } from "./support/FaultKinds.ts"
import { script } from "./support/Faulty.ts"
import { nameOf, outcomeCells } from "./support/OutcomeCells.ts"
import { user } from "./support/Items.ts"
import { makeRandom } from "./support/Random.ts"
import { runs, sample } from "./support/Runs.ts"

const pooled = (options?: HttpClientOptions) => layerHttpClient(options).pipe(Layer.provide(FetchHttpClient.layer))

/** The client of a layer that lives as long as the scope. */
const clientOf = (options?: HttpClientOptions) =>
  Effect.map(Layer.build(Layer.fresh(pooled(options))), (context) =>
    HttpClient.HttpClient.pipe(Effect.provide(context)),
  ).pipe(Effect.flatten)

const turn = (url: string, body: object, headers: Readonly<Record<string, string>> = {}) =>
  HttpClientRequest.post(`${url}/responses`).pipe(
    HttpClientRequest.bearerToken("test-key-a"),
    HttpClientRequest.setHeaders(headers),
    HttpClientRequest.bodyJsonUnsafe({ model: "gpt-5.5", ...body }),
  )

const ended = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse) {
  const text = yield* response.text
  if (response.status >= 400) return "error"
  if (!(response.headers["content-type"] ?? "").startsWith("text/event-stream")) {
    return (JSON.parse(text) as { readonly status: string }).status === "completed" ? "answer" : "error"
  }
  return eventsOf(text).at(-1)?.type === "response.completed" ? "answer" : "error"
})

layer(Simulator.layer({ script }))("After a turn may have been sent", (it) => {
  it.effect.each(sample(outcomeCells, 0.1).map((cell) => [nameOf(cell), cell] as const))(
    "no policy for passing trouble sends it again: %s",
    ([, cell]) =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const client = HttpClient.retryTransient(
          yield* clientOf({ settings: { retry: cell.strict ? "strict" : "standard" } }),
          { times: 2 },
        )
        const before = simulator.counters.executions
        yield* simulator.failNext(cell.kind.fault(cell.at))
        const named = { "session-id": nameOf(cell).replaceAll(" ", "-") }
        const response = yield* client.execute(turn(simulator.url, { input: "One", stream: cell.stream }, named))
        const ending = yield* ended(response)
        const ran = simulator.counters.executions - before
        assert.deepStrictEqual([ending, ran], allowed(cell, response.headers["x-respool-reason"]))
      }),
  )
})

describe("An answer that no policy may repeat", () => {
  const failing = (status: number, code: string) =>
    ({ _tag: "Error", at: 4, status, code, message: "It failed." }) as const
  const faults = [
    ["a broken protocol", { _tag: "BinaryFrame", at: 1 }, "502"],
    ["a close in the middle", { _tag: "Close", at: 4, code: 1011 }, "502"],
    ["a reset in the middle", { _tag: "Reset", at: 4 }, "502"],
    ["a failure of the upstream's", failing(500, "server_error"), "500"],
    ["an overload of the upstream's", failing(503, "overloaded"), "503"],
    ["a limit in the middle", failing(429, "rate_limit_exceeded"), "429"],
  ] as const

  it.effect.each(faults)("has the status 424, and says what it was: %s", ([, fault, status]) =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* clientOf()
      yield* simulator.failNext(fault)
      const response = yield* client.execute(turn(simulator.url, { input: "One" }))
      const { error } = (yield* response.json) as { readonly error: object }
      assert.deepStrictEqual([response.status, response.headers["x-respool-status"]], [424, status])
      assert.containsAllKeys(error, ["message", "type", "code"])
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("is none where nothing was sent, or where the upstream refused it", () =>
    Effect.gen(function* () {
      const { failNext, url } = yield* Simulator
      const client = yield* clientOf()
      yield* failNext({ _tag: "Error", at: 0, status: 429, code: "rate_limit_exceeded", message: "Slow down." })
      assert.strictEqual((yield* client.execute(turn(url, { input: "One" }))).status, 429)
      const refused = turn(url, { input: "One", previous_response_id: "resp_unknown" })
      assert.strictEqual((yield* client.execute(refused)).status, 400)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("Interrupting", () => {
  it.effect("at any moment ends the turn and leaves nothing behind", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const census = yield* Census
      const random = makeRandom(11)
      const scope = yield* Scope.make()
      const fibers = census.fibers()
      const client = yield* clientOf().pipe(Scope.provide(scope))
      const counts = { answered: 0, interrupted: 0 }
      for (let count = 0; count < runs(1_000, 60); count++) {
        const asked = turn(
          simulator.url,
          { input: `turn ${count}`, stream: count % 3 !== 0 },
          { "session-id": `${count % 7}` },
        )
        const asking = yield* Effect.forkChild(Effect.flatMap(client.execute(asked), ({ text }) => text))
        yield* Effect.repeat(round, { times: random(12) })
        yield* Fiber.interrupt(asking)
        if (Exit.isSuccess(yield* Fiber.await(asking))) counts.answered++
        else counts.interrupted++
      }
      assert.isAbove(counts.answered, 0)
      assert.isAbove(counts.interrupted, 0)
      // It still works, and on a connection that nobody left half read.
      const last = yield* client.execute(turn(simulator.url, { input: "last" }))
      assert.strictEqual(((yield* last.json) as { readonly status: string }).status, "completed")
      yield* Scope.close(scope, Exit.void)
      yield* unlessItHangs(simulator.until(({ counters }) => counters.openSockets === 0))
      yield* eventually(
        () => census.fibers() === fibers,
        () => `${census.fibers()} fibers, ${fibers} before`,
      )
    }).pipe(Effect.provide([Simulator.layer(), Census.layer])),
  )

  const leaving: ReadonlyArray<
    readonly [
      string,
      (client: HttpClient.HttpClient, url: string) => Effect.Effect<unknown, HttpClientError.HttpClientError>,
    ]
  > = [
    [
      "a stream that is not read to its end",
      (client, url) => bytesOfTurn(client, url).pipe(Stream.take(1), Stream.runDrain),
    ],
    [
      "a stream whose reader fails",
      (client, url) =>
        bytesOfTurn(client, url).pipe(
          Stream.mapEffect(() => Effect.fail("enough")),
          Stream.runDrain,
          Effect.exit,
        ),
    ],
    [
      "a request with a scope of its own that closes",
      (client, url) => Effect.scoped(HttpClient.withScope(client).execute(turn(url, { input: "x", stream: true }))),
    ],
    [
      "a request that loses a race",
      (client, url) => Effect.raceFirst(client.execute(turn(url, { input: "x" })), Effect.repeat(round, { times: 20 })),
    ],
    [
      "the reading of a text that is interrupted",
      (client, url) =>
        Effect.raceFirst(
          Effect.flatMap(client.execute(turn(url, { input: "x", stream: true })), ({ text }) => text),
          Effect.repeat(round, { times: 30 }),
        ),
    ],
  ]

  it.effect.each(leaving)("ends the turn: %s", ([, leave]) =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* clientOf()
      yield* simulator.failNext({ _tag: "Hold", at: 3 })
      yield* leave(client, simulator.url)
      yield* promptly(
        () => simulator.turns[0]?.status === "abandoned",
        () => `it is ${simulator.turns[0]?.status}`,
      )
      yield* promptly(
        () => simulator.counters.openSockets === 0,
        () => "a socket is open",
      )
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

const bytesOfTurn = (client: HttpClient.HttpClient, url: string) =>
  Stream.unwrap(Effect.map(client.execute(turn(url, { input: "x", stream: true })), ({ stream }) => stream))

describe("Closing the layer's scope", () => {
  it.effect("ends the turns under way with an answer, closes the sockets, and sends nothing after it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const scope = yield* Scope.make()
      const client = yield* clientOf().pipe(Scope.provide(scope))
      for (const stream of [true, false]) yield* simulator.failNext({ _tag: "Hold", at: stream ? 4 : 3 })
      const asking = yield* Effect.forEach([true, false], (stream) =>
        Effect.forkChild(
          Effect.flatMap(client.execute(turn(simulator.url, { input: "x", stream })), (response) =>
            Effect.map(response.text, (text) => ({ status: response.status, text })),
          ),
        ),
      )
      yield* unlessItHangs(simulator.until(({ counters }) => counters.websocketTurns === 2))
      yield* Effect.repeat(round, { times: 20 })
      yield* Scope.close(scope, Exit.void)
      const [streamed, json] = yield* unlessItHangs(Effect.forEach(asking, Fiber.join))
      assert.strictEqual(eventsOf(streamed?.text ?? "").at(-1)?.type, "error")
      assert.strictEqual(json?.status, 424)
      assert.include(json?.text, '"shutdown"')
      yield* unlessItHangs(simulator.until(({ counters }) => counters.openSockets === 0))
      const late = yield* Effect.flip(client.execute(turn(simulator.url, { input: "late" })))
      assert.instanceOf(late, HttpClientError.HttpClientError)
      assert.strictEqual(late.reason._tag, "TransportError")
      assert.strictEqual(simulator.counters.websocketTurns, 2)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("is not waited for by a caller whose pool is only being made", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const scope = yield* Scope.make()
      const client = yield* clientOf().pipe(Scope.provide(scope))
      const begun = yield* Deferred.make<void>()
      const asking = yield* Effect.forkChild(
        Effect.andThen(Deferred.succeed(begun, undefined), Effect.exit(client.execute(turn(url, { input: "x" })))),
      )
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      yield* unlessItHangs(Fiber.join(asking))
      yield* unlessItHangs(Effect.suspend(() => Effect.repeat(round, { until: () => counters.openSockets === 0 })))
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("A client with a pool", () => {
  it.effect("carries a conversation on one connection, streamed or not, every later turn as a suffix", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* clientOf()
      const input: Array<object> = []
      const ways: Array<string | undefined> = []
      for (let count = 0; count < 6; count++) {
        input.push(user(`question ${count}`))
        const response = yield* client.execute(turn(simulator.url, { input, stream: count % 2 === 0 }))
        ways.push(response.headers["x-respool-input"])
        const text = yield* response.text
        const whole = count % 2 === 0 ? JSON.parse(responseIn(eventsOf(text).at(-1))) : JSON.parse(text)
        input.push(...(whole as { readonly output: ReadonlyArray<object> }).output)
      }
      assert.deepStrictEqual(ways, ["full", "suffix", "suffix", "suffix", "suffix", "suffix"])
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("takes a body in every form that there is", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* clientOf()
      const text = JSON.stringify({ model: "gpt-5.5", input: "hello" })
      const bytes = new TextEncoder().encode(text)
      const bodies = [
        HttpBody.text(text, "application/json"),
        HttpBody.uint8Array(bytes, "application/json"),
        HttpBody.stream(Stream.make(bytes.subarray(0, 9), bytes.subarray(9)), "application/json"),
        HttpBody.raw(text, { contentType: "application/json" }),
        HttpBody.raw(new Blob([text])),
        HttpBody.raw(new Response(text).body),
      ]
      const requests = [
        ...bodies.map((body) => HttpClientRequest.post(`${simulator.url}/responses`, { body })),
        HttpClientRequest.post(`${simulator.url}/responses`, { body: bodies[0], urlParams: { a: "b" } }),
        HttpClientRequest.post("/responses", { body: bodies[0] }).pipe(HttpClientRequest.prependUrl(simulator.url)),
      ]
      for (const request of requests) {
        const response = yield* client.execute(HttpClientRequest.bearerToken(request, "test-key-a"))
        assert.deepStrictEqual([response.status, response.headers["x-respool-transport"]], [200, "websocket"])
      }
      const broken = HttpBody.stream(Stream.fail("it broke"))
      const failed = yield* Effect.flip(
        client.execute(HttpClientRequest.post(`${simulator.url}/responses`, { body: broken })),
      )
      assert.strictEqual(failed.reason._tag, "EncodeError")
      assert.lengthOf(simulator.turns, requests.length)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("leaves everything else to the client below it, as it is", () =>
    Effect.gen(function* () {
      const seen: Array<HttpClientRequest.HttpClientRequest> = []
      const base = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) =>
          Effect.suspend(() => {
            seen.push(request)
            return Effect.fail(
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, cause: "below" }),
              }),
            )
          }),
        ),
      )
      const client = yield* Effect.provide(
        HttpClient.HttpClient,
        yield* Layer.build(Layer.provide(layerHttpClient(), base)),
      )
      const url = "https://api.example.com/v1"
      const body = HttpBody.text("{}", "application/json")
      const others = [
        HttpClientRequest.get(`${url}/models`),
        HttpClientRequest.get(`${url}/responses`),
        HttpClientRequest.post(`${url}/responses`),
        HttpClientRequest.post(`${url}/responses/resp_1/cancel`, { body }),
        HttpClientRequest.post(`${url}/chat/completions`, { body }),
        HttpClientRequest.post(`${url}/responses`, { body, headers: { "content-encoding": "gzip" } }),
        HttpClientRequest.post(`${url}/responses`, { body: HttpBody.formDataRecord({ a: "b" }) }),
        HttpClientRequest.put(`${url}/responses`, { body }),
        HttpClientRequest.post("ftp://api.example.com/responses", { body }),
      ]
      for (const request of others) {
        const failed = yield* Effect.flip(client.execute(request))
        assert.strictEqual(failed.reason._tag === "TransportError" ? failed.reason.cause : failed, "below")
      }
      assert.deepStrictEqual(
        seen.map(({ method, url: to }) => [method, to]),
        others.map(({ method, url: to }) => [method, to]),
      )
    }),
  )

  it.effect("sends a turn over HTTP by the platform's fetch, once, where there are no sockets", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const asked: Array<string> = []
      const given = ((input: string | URL | Request, init?: RequestInit) => {
        asked.push(String(input))
        return globalThis.fetch(input, init)
      }) as typeof globalThis.fetch
      const built = yield* Layer.build(pooled().pipe(Layer.provideMerge(Layer.succeed(FetchHttpClient.Fetch, given))))
      const client = yield* Effect.provide(HttpClient.HttpClient, built)
      const response = yield* client.execute(turn(url, { input: "hello" }))
      assert.deepStrictEqual([response.status, response.headers["x-respool-transport"]], [200, "http"])
      assert.deepStrictEqual(asked, [`${url}/responses`])
      assert.strictEqual(counters.executions, 1)
    }).pipe(Effect.provide(Simulator.layer({ websocket: "off" }))),
  )

  it.effect("does not take the pool that the app has composed for itself", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const own = Server.layerExecutor.pipe(
        Layer.provide(layerDialerBun),
        Layer.provide(Settings.layer({ upstreamUrl: url })),
      )
      const app = yield* Layer.build(Layer.merge(own, pooled({ settings: { upstreamUrl: url } })))
      const client = Context.get(app, HttpClient.HttpClient)
      assert.strictEqual((yield* client.execute(turn(url, { input: "hello" }))).status, 200)
      assert.lengthOf(Context.get(app, ConnectionPool).connections(), 0)
      assert.strictEqual(counters.upgrades, 1)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("shares nothing with another, and goes where its settings say", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const one = yield* clientOf({ settings: { upstreamUrl: url } })
      const other = yield* clientOf({ settings: { upstreamUrl: url } })
      const ask = Effect.fnUntraced(function* (client: HttpClient.HttpClient, input: ReadonlyArray<object>) {
        const response = yield* client.execute(turn("https://api.example.com/v1", { input }))
        const { output } = (yield* response.json) as unknown as { readonly output: ReadonlyArray<object> }
        return { reason: response.headers["x-respool-reason"], said: [...input, ...output, user("go on")] }
      })
      const first = yield* ask(one, [user("hello")])
      assert.strictEqual((yield* ask(other, first.said)).reason, "no_checkpoint")
      assert.strictEqual((yield* ask(one, first.said)).reason, "continued")
      assert.strictEqual(counters.upgrades, 2)
      const mistaken = yield* Effect.flip(clientOf({ settings: { upstreamUrl: "nowhere" } }))
      assert.match(mistaken.message, /upstreamUrl/)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
