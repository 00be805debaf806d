import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { gzipSync } from "node:zlib"
import { TestProxy } from "../support/TestProxy.ts"
import type { Answer } from "../support/Ask.ts"
import { emptyAnswer, emptyResponse, PlainUpstream } from "../support/PlainUpstream.ts"
import type { RawConnection } from "../support/RawConnection.ts"
import { rawConnection } from "../support/RawConnection.ts"
import { eventually } from "../support/EventLoop.ts"
import { errorIn } from "../support/Ask.ts"
import { talker } from "../support/Talker.ts"
import type { Talker } from "../support/Talker.ts"
import { peers } from "../support/Peers.ts"
import { makeTenancy, startProxy } from "../support/Tenancy.ts"

const key = ["authorization", "Bearer test-key-a"] as const
const created = (id: string) =>
  `{"type":"response.created","sequence_number":0,"response":{"id":"${id}","status":"in_progress"}}`
const delta = `{"type":"response.output_text.delta","sequence_number":1,"delta":"a"}`

/** Does what the request asks for, under an id of its own. */
const frames = (message: string): ReadonlyArray<string> => {
  const end = emptyAnswer(2)
  const begins = created(/"id":"(\w+)"/.exec(end)?.[1] ?? "")
  if (message.includes("say nothing")) return []
  if (message.includes("begin")) return [begins, delta]
  if (message.includes("refuse")) return [`{"type":"error","status":400,"error":{"message":"no","code":"no"}}`]
  return [begins, delta, end]
}

const upstream = { frames, http: () => new Response(emptyResponse()) }

const turn = (input: string, stream = false) => JSON.stringify({ model: "m", stream, input })

const post = (body: string, path = "/v1/responses") =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\n${key.join(": ")}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

const head = (framing: string, path = "/v1/responses") =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\n${key.join(": ")}\r\n${framing}\r\n\r\n`

/** Exchanges until something has happened. */
const until = (happened: () => boolean, raw: RawConnection) =>
  eventually(happened, () => "what it asked for", settled(raw))

/** Two exchanges, so that whatever was written before them has been read. */
const settled = ({ ask }: RawConnection) => Effect.andThen(ask({ path: "/healthz" }), ask({ path: "/healthz" }))

/** Asks until what it waits for has come about in the proxy, which is told by nothing else. */
const asking = Effect.fnUntraced(function* (asked: Effect.Effect<Answer>, what: (answer: Answer) => boolean) {
  for (let round = 0; round < 2000; round++) {
    const answer = yield* asked
    if (what(answer)) return answer
  }
  return yield* Effect.die(new Error("it has not come about"))
})

describe("A request whose body stalls", () => {
  const cases = [
    ["a turn's of known length", head("content-length: 100"), "abc", 30],
    ["a turn's of known length, with nothing of it", head("content-length: 1"), "", 30],
    ["a turn's of known length that is long", head("content-length: 67108864"), "a", 30],
    ["a turn's of which much came at first", head("content-length: 200000"), "a".repeat(100_000), 60],
    ["a turn's in chunks", head("transfer-encoding: chunked"), "3\r\nabc\r\n", 30],
    ["a turn's that is compressed", head("content-encoding: gzip\r\ncontent-length: 90000"), "\x1f", 30],
    ["one that is passed through, of known length", head("content-length: 100", "/v1/files"), "abc", 30],
    ["one that is passed through, of a length that is long", head("content-length: 67108864", "/v1/files"), "abc", 30],
    ["one that is passed through in chunks", head("transfer-encoding: chunked", "/v1/files"), "3\r\nabc\r\n", 60],
  ] as const
  for (const [what, start, part, seconds] of cases) {
    it.effect(`is answered 408 after ${seconds} seconds: ${what}`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { begun } = yield* PlainUpstream
        const raw = yield* rawConnection(url)
        const talk = yield* talker(url)
        talk.say(start + part)
        // The silence of what is handed on as it comes counts from when the upstream has what came and wants more.
        if (what === "one that is passed through in chunks") {
          yield* until(() => begun() > 0, raw)
          yield* Effect.repeat(settled(raw), { times: 100 })
        }
        let passed = 0
        for (; passed < seconds + 30 && talk.text() === ""; passed += 10) {
          yield* settled(raw)
          if (talk.text() === "") yield* TestClock.adjust("10 seconds")
        }
        yield* until(() => talk.text() !== "", raw)
        assert.match(talk.text(), /^HTTP\/1.1 408 /)
        assert.include(talk.text(), `"code":"request_timeout"`)
        assert.isAtLeast(passed, seconds)
      }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream))),
    )
  }

  // A chunk every 20 seconds, which is always more than nothing and at last too little.
  for (const [what, start, part, seconds] of [
    ["a byte at a time", "content-length: 67108864", "a", 30],
    ["a byte a chunk", "transfer-encoding: chunked", "1\r\na\r\n", 30],
    ["a KiB at a time", "content-length: 67108864", "a".repeat(1024), 30],
    ["a KiB a chunk", "transfer-encoding: chunked", `400\r\n${"a".repeat(1024)}\r\n`, 30],
    ["less than 1 KiB a second", "content-length: 67108864", "a".repeat(14_000), 30],
    ["more than 1 KiB a second", "content-length: 67108864", "a".repeat(31_000), 300],
    ["more than 1 KiB a second in chunks", "transfer-encoding: chunked", `7d00\r\n${"a".repeat(32_000)}\r\n`, 300],
  ] as const) {
    it.effect(`is answered 408 after ${seconds} seconds where it brings ${what}`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const raw = yield* rawConnection(url)
        const talk = yield* talker(url)
        talk.say(head(start))
        let passed = 0
        for (; passed < seconds; passed += 10) {
          if (passed % 20 === 0) talk.say(part)
          yield* Effect.repeat(settled(raw), { times: 3 })
          assert.strictEqual(talk.text(), "", `after ${passed} seconds`)
          yield* TestClock.adjust("10 seconds")
        }
        yield* until(() => talk.text() !== "", raw)
        assert.match(talk.text(), /^HTTP\/1.1 408 /)
      }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream))),
    )
  }

  it.effect("is answered 408 after five minutes where it only drips and is handed on", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const raw = yield* rawConnection(url)
      const talk = yield* talker(url)
      talk.say(head("transfer-encoding: chunked", "/v1/files"))
      for (let passed = 0; passed < 300; passed += 20) {
        talk.say("1\r\na\r\n")
        yield* settled(raw)
        assert.strictEqual(talk.text(), "", `after ${passed} seconds`)
        yield* TestClock.adjust("20 seconds")
      }
      yield* TestClock.adjust("40 seconds")
      yield* until(() => talk.text() !== "", raw)
      assert.match(talk.text(), /^HTTP\/1.1 408 /)
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream))),
  )
})

describe("A body that is passed through", () => {
  it.effect("is 413 above the limit, announced or in chunks, and the proxy serves on", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const { ask } = yield* rawConnection(url)
      const body = "x".repeat(100_001)
      for (const chunk of [undefined, 1000]) {
        const refused = yield* ask({
          path: "/v1/files",
          headers: [key],
          body,
          ...(chunk === undefined ? {} : { chunk }),
        })
        assert.strictEqual(refused.status, 413, refused.text)
        assert.strictEqual(errorIn(refused)["code"], "request_too_large")
        const other = yield* rawConnection(url)
        assert.strictEqual((yield* other.ask({ path: "/v1/files", body: "x".repeat(100_000) })).status, 200)
      }
      assert.deepStrictEqual(
        heard.map(({ body }) => body.length),
        [100_000, 100_000],
      )
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream, { maxBody: 100_000 }))),
  )

  it.effect("brings back 502 where the upstream's status is none", () =>
    Effect.gen(function* () {
      for (const status of [199, 600, 999]) {
        const odd = yield* peers(({ socket }) =>
          socket.end(`HTTP/1.1 ${status} Odd\r\ncontent-length: 2\r\nx-a: b\r\n\r\n{}`),
        )
        const context = yield* Layer.build(TestProxy.layerProxy({ upstreamUrl: `http://127.0.0.1:${odd.port}/v1` }))
        yield* Effect.gen(function* () {
          const { url } = yield* TestProxy
          const { ask } = yield* rawConnection(url)
          const answer = yield* ask({ path: "/v1/models", headers: [key] })
          assert.strictEqual(answer.status, 502, answer.text)
          assert.strictEqual((yield* ask({ path: "/healthz" })).status, 200)
        }).pipe(Effect.provide(context))
      }
    }).pipe(Effect.scoped),
  )
})

describe("Where there is no more room", () => {
  it.effect("a request with a body is 503 with retry-after, one without is not, and a place that is left is free", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const raw = yield* rawConnection(url)
      const { ask } = raw
      const next = ask({ headers: [key], body: turn("Hello") })
      const [first, second] = [yield* talker(url), yield* talker(url)]
      first.say(post(turn("say nothing")))
      second.say(post(turn("say nothing", true)))
      yield* settled(raw)
      const refused = yield* next
      assert.strictEqual(refused.status, 503, refused.text)
      assert.strictEqual(errorIn(refused)["code"], "server_overloaded")
      assert.strictEqual(refused.headers.get("retry-after"), "1")
      assert.strictEqual((yield* ask({ path: "/v1/files", body: "x" })).status, 503)
      assert.strictEqual((yield* ask({ path: "/v1/models", headers: [key] })).status, 200)
      first.leave()
      assert.strictEqual((yield* asking(next, ({ status }) => status !== 503)).status, 200)
      second.leave()
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream, { maxTurns: 2 }))),
  )

  it.effect("bytes count as they come, until whoever sent them is gone", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const raw = yield* rawConnection(url)
      const { ask } = raw
      const next = ask({ headers: [key], body: turn("x".repeat(50_000)) })
      const stalled = yield* talker(url)
      stalled.say(head("content-length: 90000"), "x")
      yield* settled(raw)
      assert.strictEqual((yield* next).status, 200)
      stalled.say("x".repeat(60_000))
      const refused = yield* asking(next, ({ status }) => status === 503)
      assert.strictEqual(refused.headers.get("retry-after"), "1")
      assert.strictEqual((yield* ask({ headers: [key], body: turn("small") })).status, 200)
      stalled.leave()
      assert.strictEqual((yield* asking(next, ({ status }) => status !== 503)).status, 200)
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream, { maxBodies: 100_000 }))),
  )

  const announced: ReadonlyArray<readonly [what: string, text: string]> = [
    ["64 MiB with a byte", `${head("content-length: 67108864")}x`],
    ["64 MiB with nothing", head("content-length: 67108864")],
    ["64 MiB with a KiB", `${head("content-length: 67108864")}${"x".repeat(1024)}`],
    ["what is compressed", `${head("content-encoding: gzip\r\ncontent-length: 67108864")}\x1f`],
    ["64 MiB to pass through", `${head("content-length: 67108864", "/v1/files")}x`],
    ["JSON to pass through", `${head("content-type: application/json\r\ncontent-length: 67108864", "/v1/files")}{`],
    ["64 MiB to compact", `${head("content-length: 67108864", "/v1/responses/compact")}{`],
    ["64 MiB of nobody's", `${head("content-length: 67108864").replace(/authorization.*\r\n/, "")}x`],
  ]
  for (const [what, text] of announced) {
    it.effect(`what is announced takes none from others: ${what}, 16 times`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const raw = yield* rawConnection(url)
        const strangers = yield* Effect.forEach(Array.from({ length: 16 }), () => talker(url))
        for (const { say } of strangers) say(Buffer.from(text, "latin1"))
        yield* settled(raw)
        for (let round = 0; round < 3; round++) {
          const answer = yield* raw.ask({ headers: [key], body: turn("x".repeat(200_000)) })
          assert.strictEqual(answer.status, 200, answer.text)
        }
        for (const { text } of strangers) assert.strictEqual(text(), "")
      }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream, { maxBodies: 1024 * 1024 }))),
    )
  }

  it.effect("no credential and no address takes more than its share of places and bytes", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const raw = yield* rawConnection(url)
      const talkers = yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.map(talker(url), (talk) => ({ name, talk })),
      )
      for (const { name, talk } of talkers)
        talk.say(post(turn("say nothing")).replace("test-key-a", `test-key-${name}`))
      yield* settled(raw)
      const fourth = raw.ask({ headers: [["authorization", "Bearer test-key-d"]], body: turn("Hello") })
      const refused = yield* fourth
      assert.strictEqual(refused.status, 503, refused.text)
      assert.strictEqual(errorIn(refused)["code"], "server_overloaded")
      talkers[0]?.talk.leave()
      assert.strictEqual((yield* asking(fourth, ({ status }) => status !== 503)).status, 200)
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(upstream, { maxTurnsPerCaller: 3 }))),
  )

  it.effect("nobody without a key takes a place or a byte where keys are asked for", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { url: upstreamUrl } = yield* PlainUpstream
      const { url } = yield* startProxy(tenancy, upstreamUrl, { maxTurns: 1, maxBodies: 20_000 })
      const raw = yield* rawConnection(url)
      const next = raw.ask({
        headers: [["authorization", `Bearer ${tenancy.a.secret}`]],
        body: turn("x".repeat(19_000)),
      })
      const long = "x-much: 1\r\ncontent-length: 67108864"
      const strangers = [
        `POST /v1/responses HTTP/1.1\r\nhost: x\r\n${long}\r\n\r\n${"x".repeat(19_000)}`,
        `${head(long)}${"x".repeat(19_000)}`,
        `${head(long)}`,
        `${head("transfer-encoding: chunked")}4e20\r\n`,
        `${head("content-length: 16000")}x`,
        `${head(long, "/v1/responses/compact")}${"x".repeat(19_000)}`,
        `${head("transfer-encoding: chunked", "/v1/responses/compact")}1\r\nx\r\n`,
        head(long).replace("Bearer test-key-a", `Basic ${tenancy.a.secret}`),
        head(long).replace("test-key-a", `${tenancy.a.secret}x`),
      ]
      for (const text of strangers) {
        const talk = yield* talker(url)
        talk.say(text.replace("host: x", `host: ${new URL(url).host}`))
        yield* until(() => talk.text() !== "", raw)
        assert.match(talk.text(), /^HTTP\/1.1 401 /)
        const answer = yield* next
        assert.strictEqual(answer.status, 200, answer.text)
      }
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layer(upstream))),
  )

  const zipped = gzipSync(turn("x".repeat(5000)))
  const chunked = head("transfer-encoding: chunked")
  const answered: ReadonlyArray<readonly [what: string, text: string, status: number]> = [
    ["no JSON", post("{"), 400],
    ["too large, announced", post("x".repeat(3000)), 413],
    ["too large, in chunks", `${chunked}bb8\r\n${"x".repeat(3000)}\r\n0\r\n\r\n`, 413],
    [
      "too large once decoded",
      `${head(`content-encoding: gzip\r\ncontent-length: ${zipped.length}`)}${zipped.toString("latin1")}`,
      413,
    ],
    ["an unknown encoding", `${head("content-encoding: x\r\ncontent-length: 2")}{}`, 415],
    ["not what its encoding says", `${head("content-encoding: br\r\ncontent-length: 2")}{}`, 400],
    ["refused upstream", post(turn("refuse")), 400],
    ["a turn", post(turn("Hello")), 200],
    ["a streamed turn", post(turn("Hello", true)), 200],
    ["passed through", post("x", "/v1/files"), 200],
    ["passed through, in chunks", `${head("transfer-encoding: chunked", "/v1/files")}1\r\nx\r\n0\r\n\r\n`, 200],
    ["passed through, too large", post("x".repeat(3000), "/v1/files"), 413],
    ["another method", post("{}").replace("POST", "PUT"), 405],
    ["another path", post("{}", "/v2"), 404],
  ]
  const left: ReadonlyArray<readonly [what: string, text: string, until: string | undefined]> = [
    ["in the head", "POST /v1/responses HTTP/1.1\r\n", undefined],
    ["in the body", `${head("content-length: 900")}{`, undefined],
    ["in the chunks", `${chunked}1\r\n{\r\n`, undefined],
    ["in a long body", `${head("content-length: 1999")}${"x".repeat(1500)}`, undefined],
    ["while the upstream is silent", post(turn("say nothing")), undefined],
    ["while the upstream is silent to a stream", post(turn("say nothing", true)), undefined],
    ["in the stream", post(turn("begin", true)), "output_text.delta"],
    ["in a body that is passed through", `${head("content-length: 900", "/v1/files")}{`, undefined],
    ["in chunks that are passed through", `${head("transfer-encoding: chunked", "/v1/files")}1\r\n{\r\n`, undefined],
  ]

  it.effect("nothing is left of a request, however it ends: the only place, and all the room, are free again", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const raw = yield* rawConnection(url)
      const { ask } = raw
      const all = ask({ headers: [key], body: turn("x".repeat(1900)) })
      const free = Effect.fnUntraced(function* (what: string) {
        const answer = yield* asking(all, ({ status }) => status !== 503)
        assert.strictEqual(answer.status, 200, `${what}: ${answer.text}`)
      })
      const until = (talk: Talker, part: string) => asking(ask({ path: "/healthz" }), () => talk.text().includes(part))
      for (const [what, text, status] of answered) {
        const talk = yield* talker(url)
        talk.say(Buffer.from(text, "latin1"))
        yield* until(talk, "\r\n\r\n")
        assert.include(talk.text().slice(0, 20), ` ${status} `, `${what}: ${talk.text()}`)
        yield* free(what)
        talk.leave()
      }
      for (const [what, text, part] of left) {
        const talk = yield* talker(url)
        talk.say(Buffer.from(text, "latin1"))
        yield* settled(raw)
        if (part !== undefined) yield* until(talk, part)
        talk.leave()
        yield* free(what)
      }
      const stalled = yield* talker(url)
      stalled.say(`${head("content-length: 900")}{`)
      yield* settled(raw)
      assert.strictEqual((yield* all).status, 503)
      yield* TestClock.adjust("30 seconds")
      yield* free("timed out")
    }).pipe(
      Effect.scoped,
      Effect.provide(PlainUpstream.layerProxied(upstream, { maxTurns: 1, maxBody: 2000, maxBodies: 2000 })),
    ),
  )
})
