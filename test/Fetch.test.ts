/**
 * `respool/fetch` under the SDK's own retries, aborts at any moment, and what it does with requests of every form.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { getEventListeners } from "node:events"
import { OpenAI } from "openai"
import type { FetchOptions } from "../src/Fetch.ts"
import { createFetch } from "../src/Fetch.ts"
import { Simulator } from "../src/simulator/Simulator.ts"
import { Census } from "../src/testing/Census.ts"
import { round, unlessItHangs } from "./support/EventLoop.ts"
import { allowed } from "./support/FaultKinds.ts"
import { script } from "./support/Faulty.ts"
import { nameOf, outcomeCells } from "./support/OutcomeCells.ts"
import { user } from "./support/Items.ts"
import { makeRandom } from "./support/Random.ts"
import { runs, sample } from "./support/Runs.ts"

/** Closed with the scope. */
const pooled = (options?: FetchOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => createFetch(options)),
    (fetch) => Effect.promise(() => fetch.close()),
  )

const body = (text: string, more: object = {}) => JSON.stringify({ model: "gpt-5.5", input: text, ...more })
const headers = { authorization: "Bearer test-key-a", "content-type": "application/json" }

layer(Simulator.layer({ script }))("After a turn may have been sent", (it) => {
  it.effect.each(sample(outcomeCells, 0.1).map((cell) => [nameOf(cell), cell] as const))(
    "no SDK sends it again: %s",
    ([, cell]) =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const fetch = yield* pooled({ settings: { retry: cell.strict ? "strict" : "standard" } })
        const client = new OpenAI({
          baseURL: simulator.url,
          apiKey: "test-key-a",
          fetch,
          maxRetries: 2,
          defaultHeaders: { "session-id": nameOf(cell).replaceAll(" ", "-") },
        })
        const before = simulator.counters.executions
        yield* simulator.failNext(cell.kind.fault(cell.at))
        let reason: string | undefined
        const ending = yield* Effect.promise(async () => {
          try {
            const request = { model: "gpt-5.5", input: "One", stream: cell.stream }
            const { data, response } = await client.responses.create(request).withResponse()
            reason = response.headers.get("x-respool-reason") ?? undefined
            let last = cell.stream ? "" : (data as OpenAI.Responses.Response).status
            if (cell.stream) for await (const { type } of data as AsyncIterable<{ type: string }>) last = type
            return last === "completed" || last === "response.completed" ? "answer" : "error"
          } catch (error) {
            assert.instanceOf(error, OpenAI.APIError)
            assert.notInstanceOf(error, OpenAI.APIConnectionError)
            return "error"
          }
        })
        const ran = simulator.counters.executions - before
        assert.deepStrictEqual([ending, ran], allowed(cell, reason))
      }),
  )
})

describe("Aborting", () => {
  it.effect("at any moment ends the turn and leaves nothing behind", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const census = yield* Census
      const random = makeRandom(7)
      const timers = census.timers()
      const fetch = createFetch()
      const url = `${simulator.url}/responses`
      const controllers: Array<AbortController> = []
      const counts = { answered: 0, rejected: 0, broken: 0 }
      const run = Effect.runPromiseWith(yield* Effect.context<never>())
      for (let turn = 0; turn < runs(1_000, 60); turn++) {
        const controller = new AbortController()
        controllers.push(controller)
        const rounds = random(12)
        yield* Effect.promise(async () => {
          const asking = fetch(url, {
            method: "POST",
            headers: { ...headers, "session-id": `${turn % 7}` },
            body: body(`turn ${turn}`, { stream: turn % 3 !== 0 }),
            signal: controller.signal,
          })
          const aborting = (async () => {
            for (let at = 0; at < rounds; at++) await run(round)
            controller.abort(new Error("enough"))
          })()
          try {
            const response = await asking
            try {
              await response.text()
              counts.answered++
            } catch (error) {
              assert.match(String(error), /enough|abort/i)
              counts.broken++
            }
          } catch (error) {
            assert.match(String(error), /enough|abort/i)
            counts.rejected++
          }
          await aborting
        })
      }
      assert.isAbove(counts.rejected, 0)
      assert.isAbove(counts.answered, 0)
      for (const { signal } of controllers) assert.lengthOf(getEventListeners(signal, "abort"), 0)
      // It still works, and on a connection that nobody left half read.
      const last = yield* Effect.promise(() => fetch(url, { method: "POST", headers, body: body("last") }))
      assert.strictEqual(last.status, 200)
      assert.strictEqual((yield* Effect.promise(() => last.json() as Promise<{ status: string }>)).status, "completed")
      yield* Effect.promise(() => fetch.close())
      yield* unlessItHangs(simulator.until(({ counters }) => counters.openSockets === 0))
      assert.isAtMost(census.timers(), timers + 8)
    }).pipe(Effect.provide([Simulator.layer(), Census.layer])),
  )

  it.effect("ends a turn whose answer nobody reads", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const fetch = yield* pooled()
      const controller = new AbortController()
      yield* simulator.failNext({ _tag: "Hold", at: 5 })
      const asked = { method: "POST", headers, body: body("hello", { stream: true }), signal: controller.signal }
      const response = yield* Effect.promise(() => fetch(`${simulator.url}/responses`, asked))
      assert.strictEqual(response.status, 200)
      controller.abort(new Error("enough"))
      yield* unlessItHangs(simulator.until(({ turns }) => turns[0]?.status === "abandoned"))
      assert.match(String(yield* Effect.promise(() => response.text().catch(String))), /enough/)
    }).pipe(Effect.provide(Simulator.layer())),
  )
})

describe("A fetch with a pool", () => {
  const asked = (url: string) => `${url}/responses`

  it.effect("takes a request in every form that fetch does", () =>
    Effect.gen(function* () {
      const { url, turns } = yield* Simulator
      const fetch = yield* pooled()
      const text = body("hello")
      const bytes = new TextEncoder().encode(text)
      const init = { method: "POST", headers }
      const forms: ReadonlyArray<() => Promise<Response>> = [
        () => fetch(asked(url), { ...init, body: text }),
        () => fetch(new URL(asked(url)), { ...init, body: bytes }),
        () => fetch(asked(url), { ...init, headers: new Headers(headers), body: bytes.buffer }),
        () => fetch(asked(url), { ...init, headers: Object.entries(headers), body: new Blob([text]) }),
        () => fetch(asked(url), { ...init, body: new Response(text).body }),
        () => fetch(new Request(asked(url), { ...init, body: text })),
        () => fetch(new Request(asked(url), { ...init, body: "{}" }), { method: "POST", body: text }),
        () => fetch(`${asked(url)}?a=b`, { ...init, method: "post", body: text }),
      ]
      for (const form of forms) {
        const response = yield* Effect.promise(form)
        assert.strictEqual(response.headers.get("x-respool-transport"), "websocket")
        assert.strictEqual(response.status, 200)
      }
      assert.lengthOf(turns, forms.length)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("leaves everything else to the fetch that it was given", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const fetch = yield* pooled({
        fetch: async (input, init) => {
          seen.push(`${init?.method ?? "GET"} ${input instanceof Request ? input.url : String(input)}`)
          return new Response("given")
        },
      })
      const others: ReadonlyArray<readonly [string | Request, RequestInit?]> = [
        ["https://api.example.com/v1/models"],
        ["https://api.example.com/v1/responses"],
        ["https://api.example.com/v1/responses/resp_1/cancel", { method: "POST" }],
        ["https://api.example.com/v1/chat/completions", { method: "POST", body: "{}" }],
        ["https://api.example.com/v1/responses", { method: "POST" }],
        [
          "https://api.example.com/v1/responses",
          { method: "POST", body: "x", headers: { "content-encoding": "gzip" } },
        ],
        [new Request("https://api.example.com/v1/files", { method: "POST", body: "x" })],
      ]
      for (const [input, init] of others) {
        assert.strictEqual(yield* Effect.promise(async () => (await fetch(input, init)).text()), "given")
      }
      assert.lengthOf(seen, others.length)
    }),
  )

  it.effect("sends turns over HTTP by the fetch that it was given, where there are no sockets", () =>
    Effect.gen(function* () {
      const { url } = yield* Simulator
      const seen: Array<string> = []
      const given: FetchOptions["fetch"] = (input, init) => {
        seen.push(String(input))
        return globalThis.fetch(input, init)
      }
      const fetch = yield* pooled({ fetch: given })
      const response = yield* Effect.promise(() => fetch(asked(url), { method: "POST", headers, body: body("hello") }))
      assert.deepStrictEqual([response.status, response.headers.get("x-respool-transport")], [200, "http"])
      assert.deepStrictEqual(seen, [asked(url)])
    }).pipe(Effect.provide(Simulator.layer({ websocket: "off" }))),
  )

  it.effect("says nothing by itself, whatever the upstream does", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const said: Array<unknown> = []
      const { log } = console
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(console, { log: (...text: ReadonlyArray<unknown>) => said.push(text) })),
        () => Effect.sync(() => Object.assign(console, { log })),
      )
      const fetch = yield* pooled()
      yield* simulator.failNext({ _tag: "InvalidJson", at: 1_000 })
      for (const text of ["one", "two"]) {
        yield* Effect.promise(() => fetch(asked(simulator.url), { method: "POST", headers, body: body(text) }))
      }
      assert.deepStrictEqual(said, [])
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("answers what can't be carried in the API's shape, and rejects for the caller's signal alone", () =>
    Effect.gen(function* () {
      const { url } = yield* Simulator
      const fetch = yield* pooled({ settings: { maxBody: 2_000 } })
      for (const [sent, status] of [
        ["not json", 400],
        ["[]", 400],
        [body("x".repeat(3_000)), 413],
        [body("hello", { previous_response_id: "resp_unknown" }), 400],
      ] as const) {
        const response = yield* Effect.promise(() => fetch(asked(url), { method: "POST", headers, body: sent }))
        const { error } = (yield* Effect.promise(() => response.json())) as { readonly error: object }
        assert.strictEqual(response.status, status, sent.slice(0, 40))
        assert.containsAllKeys(error, ["message", "type", "code", "param"])
      }
      const aborted = AbortSignal.abort(new Error("not at all"))
      const refused = fetch(asked(url), { method: "POST", headers, body: body("x"), signal: aborted })
      assert.match(String(yield* Effect.promise(() => refused.catch(String))), /not at all/)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("is told apart from another, and goes where its settings say", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const one = yield* pooled({ settings: { upstreamUrl: url } })
      const other = yield* pooled({ settings: { upstreamUrl: url } })
      const ask = (fetch: typeof one, input: ReadonlyArray<object>) =>
        Effect.promise(async () => {
          const sent = JSON.stringify({ model: "gpt-5.5", input })
          const response = await fetch("https://api.example.com/v1/responses", { method: "POST", headers, body: sent })
          const { output } = (await response.json()) as { readonly output: ReadonlyArray<object> }
          return { reason: response.headers.get("x-respool-reason"), said: [...input, ...output, user("go on")] }
        })
      const [first, second] = [yield* ask(one, [user("hello")]), yield* ask(other, [user("hello")])]
      assert.strictEqual((yield* ask(other, first.said)).reason, "history_changed")
      assert.strictEqual((yield* ask(one, first.said)).reason, "continued")
      assert.strictEqual((yield* ask(other, second.said)).reason, "continued")
      assert.strictEqual(counters.upgrades, 3)
      yield* Effect.promise(() => one.close())
      assert.match(String(yield* Effect.promise(() => one("https://api.example.com").catch(String))), /closed/)
      assert.strictEqual((yield* ask(other, [user("still there?")])).reason, "no_checkpoint")
    }).pipe(Effect.provide(Simulator.layer())),
  )

  const wrong: ReadonlyArray<readonly [string, object]> = [
    ["upstreamUrl", { upstreamUrl: "nowhere" }],
    ["maxBody", { maxBody: -1 }],
    ["retry", { retry: "sometimes" }],
    ["pingInterval", { pingInterval: "soon" }],
    ["profile", { profile: "nobody" }],
    ["busy", { busy: "perhaps" }],
  ]

  it.effect.each(wrong)("says which setting can't hold, to who asks and to each turn: %s", ([name, settings]) =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const others: Array<string> = []
      const fetch = yield* pooled({ settings, fetch: async (input) => Response.json(others.push(String(input))) })
      const client = new OpenAI({ baseURL: url, apiKey: "test-key-a", fetch, maxRetries: 2 })
      const asking = client.responses.create({ model: "gpt-5.5", input: "hello" })
      const error = yield* Effect.promise(() => asking.catch((error: unknown) => error))
      assert.instanceOf(error, OpenAI.InternalServerError)
      assert.deepStrictEqual([error.code, error.headers?.get("x-should-retry")], ["invalid_settings", "false"])
      assert.include(error.message, name)
      assert.include(String(yield* Effect.promise(() => fetch.ready().catch(String))), name)
      // What is no turn needs no settings.
      yield* Effect.promise(() => fetch(`${url}/models`))
      assert.deepStrictEqual([others, counters.executions], [[`${url}/models`], 0])
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("is closed and broken off while it is being loaded as it is later", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const turn = { method: "POST", headers, body: body("hello") }
      const closed = createFetch()
      const late = closed(asked(url), turn).catch(String)
      yield* Effect.promise(() => closed.close())
      assert.match(String(yield* Effect.promise(() => late)), /closed/)
      const fetch = yield* pooled()
      const controller = new AbortController()
      const aborted = fetch(asked(url), { ...turn, signal: controller.signal }).catch(String)
      controller.abort(new Error("enough"))
      assert.match(String(yield* Effect.promise(() => aborted)), /enough/)
      assert.lengthOf(getEventListeners(controller.signal, "abort"), 0)
      yield* Effect.promise(() => fetch.ready())
      assert.strictEqual(counters.executions, 0)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("has pools for 64 addresses, from its first moment on, and leaves others to the fetch below", () =>
    Effect.gen(function* () {
      const { url } = yield* Simulator
      const given: FetchOptions["fetch"] = (_, init) => globalThis.fetch(`${url}/responses`, init)
      // Below a fixed upstream one pool carries them all.
      for (const settings of [{ transport: "http" }, { transport: "http", upstreamUrl: url }] as const) {
        const fetch = yield* pooled({ settings, fetch: given })
        const carried = async (at: number) => {
          const answer = await fetch(`${url}/${at}/responses`, { method: "POST", headers, body: body("hello") })
          return answer.headers.has("x-respool-transport")
        }
        const all = Array.from({ length: 66 }, (_, at) => at)
        // Before it is loaded, and then.
        for (const one of [() => Promise.all(all.map(carried)), () => Promise.all([65, 64, 63, 0].map(carried))]) {
          const without = (yield* Effect.promise(one)).filter((is) => !is)
          assert.lengthOf(without, "upstreamUrl" in settings ? 0 : 2)
        }
      }
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
