import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { gzipSync } from "node:zlib"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { TestProxy } from "../../support/TestProxy.ts"
import { ask, idOf } from "../../support/Ask.ts"
import { driven } from "../../support/Faulty.ts"
import type { Heard } from "../../support/PlainUpstream.ts"
import { PlainUpstream } from "../../support/PlainUpstream.ts"
import { rawConnection } from "../../support/RawConnection.ts"
import type { Line } from "../../support/RawUpstream.ts"
import { chunk, head, rawUpstream } from "../../support/RawUpstream.ts"

const proxied = TestProxy.layerBrief()
const key = "test-key-a"

describe("A stored response", () => {
  it.effect("is read, listed and deleted through the proxy as at the upstream", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const simulator = yield* Simulator
      const body = {
        model: "gpt-5.5",
        store: true,
        input: [
          { role: "user", content: "One" },
          { role: "user", content: "Two" },
        ],
      }
      const turn = yield* ask(`${url}/responses`, { key, body })
      const id = idOf(turn)
      const same = Effect.fnUntraced(function* (path: string, status: number) {
        const through = yield* ask(`${url}${path}`, { key })
        const straight = yield* ask(`${simulator.url}${path}`, { key })
        assert.strictEqual(through.status, status)
        assert.strictEqual(straight.status, status)
        assert.strictEqual(through.text, straight.text)
        assert.strictEqual(through.headers.get("content-type"), straight.headers.get("content-type"))
        return through
      })
      assert.strictEqual((yield* same(`/responses/${id}`, 200)).text, turn.text)
      assert.deepInclude((yield* same(`/responses/${id}/input_items?limit=1&order=asc`, 200)).json, { has_more: true })
      assert.strictEqual((yield* same("/responses/resp_unknown", 404)).status, 404)
      yield* same("/models", 200)
      yield* same("/models/gpt-5.5", 200)
      yield* same("/nothing/here?a=b", 404)
      const deleted = yield* ask(`${url}/responses/${id}`, { key, method: "DELETE" })
      assert.deepStrictEqual(deleted.json, { id, object: "response", deleted: true })
      yield* same(`/responses/${id}`, 404)
    }).pipe(Effect.provide(proxied)),
  )

  /** What a client asks for, and what the upstream is asked for; undefined: there is no such path. */
  const paths: ReadonlyArray<readonly [asked: string, sent: string | undefined]> = [
    ["/v1", "/v1"],
    ["/v1?", "/v1"],
    ["/v1?limit=1", "/v1?limit=1"],
    ["/v1/", "/v1/"],
    ["/v1/?limit=1", "/v1/?limit=1"],
    ["/v1/files", "/v1/files"],
    ["/v1/v1", "/v1/v1"],
    ["/models", "/v1/models"],
    ["/v10", undefined],
    ["/v1.1/models", undefined],
  ]
  it.effect.each(paths)("is at the base URL of the upstream and below it: %s", ([asked, sent]) =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const { ask } = yield* rawConnection(url)
      const answer = yield* ask({ path: asked, headers: [["authorization", `Bearer ${key}`]] })
      assert.strictEqual(answer.status, sent === undefined ? 404 : 200)
      assert.deepStrictEqual(
        heard.map((request) => request.url),
        sent === undefined ? [] : [sent],
      )
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied({ http: () => new Response("{}") }))),
  )

  it.effect("is compacted and models are listed without /v1 too", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const simulator = yield* Simulator
      const root = url.replace(/\/v1$/, "")
      const body = { model: "gpt-5.5", input: [{ role: "user", content: "One" }] }
      for (const base of [url, root]) {
        const compacted = yield* ask(`${base}/responses/compact`, { key, body })
        assert.strictEqual(compacted.status, 200, compacted.text)
        assert.include(compacted.text, `"type":"compaction"`)
        assert.strictEqual(
          (yield* ask(`${base}/models`, { key })).text,
          (yield* ask(`${simulator.url}/models`, { key })).text,
        )
        assert.strictEqual((yield* ask(`${base}/responses`, { key, body })).status, 200)
      }
      assert.strictEqual(simulator.counters.websocketTurns, 2)
    }).pipe(Effect.provide(proxied)),
  )
})

const upstream = (http: (request: Heard) => Response) => PlainUpstream.layerProxied({ http })
const plain = upstream(() => new Response("{}", { headers: { "content-type": "application/json" } }))

describe("A request that is passed through", () => {
  it.effect(
    "keeps method, path, query, bytes and the client's headers, but none of a hop or of this proxy's door",
    () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        const { ask } = yield* rawConnection(url)
        const body = ` {"a" : 1.0,"b":"\\u00e9"}\n`
        yield* ask({
          method: "PATCH",
          path: "/v1/some/thing%2Felse?limit=2&order=a%20b&x=%C3%A9&x=2",
          headers: [
            ["authorization", "Bearer test-key-a"],
            ["content-type", "application/json; charset=utf-8"],
            ["openai-organization", "org-a"],
            ["x-request-id", "request-1"],
            ["connection", "keep-alive, X-Foo"],
            ["x-foo", "hop"],
            ["x-bar", "end"],
            ["te", "trailers"],
            ["keep-alive", "timeout=5"],
            ["proxy-authorization", "Basic test-key-b"],
            ["cookie", "a=b"],
            ["forwarded", "for=10.0.0.1"],
            ["x-forwarded-for", "10.0.0.1"],
            ["via", "1.1 other"],
          ],
          body,
        })
        assert.strictEqual(heard.length, 1)
        const [request] = heard
        assert.strictEqual(request?.method, "PATCH")
        assert.strictEqual(request?.url, "/v1/some/thing%2Felse?limit=2&order=a%20b&x=%C3%A9&x=2")
        assert.strictEqual(request?.body, body)
        assert.strictEqual(request?.headers.get("authorization"), "Bearer test-key-a")
        assert.strictEqual(request?.headers.get("content-type"), "application/json; charset=utf-8")
        assert.strictEqual(request?.headers.get("openai-organization"), "org-a")
        assert.strictEqual(request?.headers.get("x-bar"), "end")
        assert.notStrictEqual(request?.headers.get("host"), new URL(url).host)
        for (const name of [
          "x-foo",
          "te",
          "keep-alive",
          "proxy-authorization",
          "cookie",
          "forwarded",
          "x-forwarded-for",
          "via",
          "traceparent",
          "b3",
        ]) {
          assert.isFalse(request?.headers.has(name), name)
        }
        for (const name of request?.headers.keys() ?? []) assert.notMatch(name, /respool/)
      }).pipe(Effect.scoped, Effect.provide(plain)),
  )

  it.effect("brings no credential where the client had none", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      yield* ask(`${url}/models`)
      assert.isFalse((yield* PlainUpstream).heard[0]?.headers.has("authorization"))
    }).pipe(Effect.provide(plain)),
  )

  it.effect("keeps an encoded body encoded, and one in chunks whole", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const { ask } = yield* rawConnection(url)
      const zipped = gzipSync(`{"model":"m"}`)
      yield* ask({ path: "/v1/files", headers: [["content-encoding", "gzip"]], body: zipped })
      yield* ask({ path: "/v1/files", body: "x".repeat(100_000), chunk: 999 })
      assert.strictEqual(heard[0]?.headers.get("content-encoding"), "gzip")
      assert.strictEqual(heard[0]?.headers.get("content-length"), String(zipped.length))
      assert.strictEqual(heard[1]?.body, "x".repeat(100_000))
    }).pipe(Effect.scoped, Effect.provide(plain)),
  )
})

describe("An upstream that is silent behind a request that is passed through", () => {
  /** A proxy with one place and room for one body, in front of an upstream that answers each request but the first. */
  const behind = Effect.fnUntraced(function* (first: (line: Line) => void) {
    const asked = yield* Deferred.make<Line>()
    let requests = 0
    const { port } = yield* rawUpstream((line) => {
      if (requests++ > 0) return line.write(head(200, "content-length: 2"), "{}")
      first(line)
      Deferred.doneUnsafe(asked, Effect.succeed(line))
    })
    const layer = TestProxy.layerProxy({
      upstreamUrl: `http://127.0.0.1:${port}/v1`,
      maxTurns: 1,
      maxBodies: 100,
      turnTimeout: 100_000,
      eventTimeout: 30_000,
    })
    const { url } = Context.get(yield* Layer.build(layer), TestProxy)
    return { url, line: yield* Effect.cached(Deferred.await(asked)) }
  })
  const body = `{"input":"${"x".repeat(80)}"}`

  it.effect("is left when it has not answered in a turn's time, and place and bytes are given back", () =>
    Effect.gen(function* () {
      const { line, url } = yield* behind(() => {})
      const asking = yield* Effect.forkChild(ask(`${url}/responses/compact`, { key, body }))
      const { closed } = yield* line
      yield* TestClock.adjust("99999 millis")
      assert.strictEqual((yield* ask(`${url}/responses/compact`, { key, body })).status, 503)
      assert.isUndefined(asking.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const answer = yield* Fiber.join(asking)
      assert.strictEqual(answer.status, 504)
      assert.deepInclude(answer.json?.["error"], { type: "server_error", code: "turn_timeout", param: null })
      assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      yield* Deferred.await(closed)
      assert.strictEqual((yield* ask(`${url}/responses/compact`, { key, body })).status, 200)
    }).pipe(Effect.scoped),
  )

  it.effect("may be asked again where nothing was sent but a question", () =>
    Effect.gen(function* () {
      const { line, url } = yield* behind(() => {})
      const asking = yield* Effect.forkChild(ask(`${url}/models`, { key }))
      yield* line
      yield* TestClock.adjust("100 seconds")
      const answer = yield* Fiber.join(asking)
      assert.strictEqual(answer.status, 504)
      assert.isFalse(answer.headers.has("x-should-retry"))
    }).pipe(Effect.scoped),
  )

  it.effect("is left when it does not go on with its answer, which breaks off", () =>
    Effect.gen(function* () {
      const { line, url } = yield* behind((line) =>
        line.write(head(200, "transfer-encoding: chunked", "content-type: application/json"), chunk("one")),
      )
      const asking = Effect.promise(async () => {
        const reader = (await fetch(`${url}/files/1`)).body?.getReader()
        const first = Buffer.from((await reader?.read())?.value ?? []).toString()
        const rest = await reader?.read().then(
          ({ done }) => (done ? "ended" : "went on"),
          () => "broke off",
        )
        return [first, rest]
      })
      const startedAt = yield* Clock.currentTimeMillis
      assert.deepStrictEqual(yield* driven(asking, Effect.asVoid(line)), ["one", "broke off"])
      assert.isAtLeast((yield* Clock.currentTimeMillis) - startedAt, 30_000)
      yield* Deferred.await((yield* line).closed)
    }).pipe(Effect.scoped),
  )
})

describe("An answer that is passed through", () => {
  it.effect("keeps status, headers and bytes, but no cookies, framing or hop headers", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const answer = yield* ask(`${url}/models`, { key })
      assert.strictEqual(answer.status, 418)
      assert.strictEqual(answer.text, ` {"error": {"n": 1.0}}`)
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      assert.strictEqual(answer.headers.get("openai-processing-ms"), "12")
      for (const name of ["set-cookie", "x-hop", "keep-alive", "content-encoding"])
        assert.isFalse(answer.headers.has(name), name)
    }).pipe(
      Effect.provide(
        upstream(
          () =>
            new Response(new Uint8Array(gzipSync(` {"error": {"n": 1.0}}`)), {
              status: 418,
              headers: {
                "content-type": "application/problem+json",
                "content-encoding": "gzip",
                "openai-processing-ms": "12",
                "set-cookie": "a=b",
                connection: "x-hop",
                "x-hop": "1",
                "keep-alive": "timeout=5",
              },
            }),
        ),
      ),
    ),
  )

  it.effect("is not followed where it is a redirect", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const answer = yield* ask(`${url}/models`, { key })
      assert.strictEqual(answer.status, 307)
      assert.strictEqual(answer.headers.get("location"), "http://127.0.0.1:1/elsewhere")
    }).pipe(
      Effect.provide(
        upstream(() => new Response(null, { status: 307, headers: { location: "http://127.0.0.1:1/elsewhere" } })),
      ),
    ),
  )

  let writer: ReadableStreamDefaultController<Uint8Array> | undefined
  const gone = Promise.withResolvers<void>()
  const streaming = upstream(
    () =>
      new Response(
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            writer = controller
            controller.enqueue(Buffer.from("one"))
          },
          cancel: () => gone.resolve(),
        }),
        { headers: { "content-type": "text/event-stream" } },
      ),
  )

  it.effect("streams: each part arrives before the next is written, and leaving early leaves the upstream too", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      yield* Effect.promise(async () => {
        const response = await fetch(`${url}/responses/resp_1?stream=true`)
        const reader = response.body?.getReader()
        const text = async () => Buffer.from((await reader?.read())?.value ?? []).toString()
        assert.strictEqual(await text(), "one")
        writer?.enqueue(Buffer.from("two"))
        assert.strictEqual(await text(), "two")
        await reader?.cancel()
        await gone.promise
      })
    }).pipe(Effect.provide(streaming)),
  )

  it.effect("is a 502 in the API's shape where there is no upstream", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const answer = yield* ask(`${url}/models`, { key, headers: { "x-request-id": "request-1" } })
      assert.strictEqual(answer.status, 502)
      assert.strictEqual(answer.headers.get("x-request-id"), "request-1")
      assert.deepInclude(answer.json?.["error"], { type: "server_error", code: "upstream_unreachable", param: null })
    }).pipe(Effect.provide(TestProxy.layerProxy({ upstreamUrl: "http://127.0.0.1:1/v1" }))),
  )
})
