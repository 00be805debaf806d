import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestProxy } from "../support/TestProxy.ts"
import { PlainUpstream } from "../support/PlainUpstream.ts"
import { saidTo } from "../support/Talker.ts"

const proxied = PlainUpstream.layerProxied({ http: () => new Response("{}") }, { transport: "http" })

/** The status lines of whatever comes until the server closes the connection. */
const say = (url: string, text: string) =>
  Effect.map(saidTo(url, text), (heard): ReadonlyArray<string> => heard.match(/^HTTP\/1\.1 \d+/gm) ?? [])

const hidden = "DELETE /v1/responses/resp_hidden HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer test-key-b\r\n\r\n"
const chunked = `0\r\n\r\n${hidden}`

/** Headers and body whose end two readers could see at two places. */
const ambiguous: ReadonlyArray<readonly [what: string, headers: string, body: string]> = [
  ["a length and chunks", `content-length: ${chunked.length}\r\ntransfer-encoding: chunked`, chunked],
  ["chunks and a length", "transfer-encoding: chunked\r\ncontent-length: 4", chunked],
  ["two lengths", `content-length: 0\r\ncontent-length: ${hidden.length}`, hidden],
  ["a list of lengths", `content-length: 0, ${hidden.length}`, hidden],
  ["a length with a sign", `content-length: +0`, hidden],
  ["a length in hex", `content-length: 0x0`, hidden],
  ["an encoding that nobody knows", "transfer-encoding: xchunked", chunked],
  ["chunks that are not the last encoding", "transfer-encoding: chunked, identity", chunked],
  ["a blank before the colon", "content-length : 0", hidden],
  ["a header that goes on in the next line", "x-a: b\r\n transfer-encoding: chunked\r\ncontent-length: 0", hidden],
]

describe("A request whose end is ambiguous", () => {
  for (const path of ["/v1/models", "/v1/responses"]) {
    it.effect.each(ambiguous)(`(%s) on ${path} is refused, and nothing of it goes upstream`, ([, headers, body]) =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        const head = `POST ${path} HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer test-key-a\r\n${headers}\r\n\r\n`
        assert.deepStrictEqual(yield* say(url, head + body), ["HTTP/1.1 400"])
        assert.deepStrictEqual(heard, [])
      }).pipe(Effect.provide(proxied)),
    )
  }

  for (const [what, headers, body] of [
    ["a length", "content-length: 5", "hello"],
    ["chunks", "transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"],
  ] as const) {
    it.effect(`is none with ${what} alone, and goes upstream`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        const head = "POST /v1/models HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n"
        assert.deepStrictEqual(yield* say(url, `${head}${headers}\r\n\r\n${body}`), ["HTTP/1.1 200"])
        assert.deepStrictEqual(
          heard.map(({ body }) => body),
          ["hello"],
        )
      }).pipe(Effect.provide(proxied)),
    )
  }
})

describe("What comes in one piece with a request, behind its end", () => {
  const turn = `{"model":"gpt-5.5","input":"Hello"}`
  const head = (path: string, framing: string) =>
    `POST ${path} HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer test-key-a\r\n${framing}\r\n\r\n`
  const whole = (path: string) => `${head(path, `content-length: ${turn.length}`)}${turn}`
  const second = "GET /v1/models HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer test-key-b\r\n\r\n"
  const inChunks = (path: string, trailers: string) =>
    `${head(path, "transfer-encoding: chunked")}${turn.length.toString(16)}\r\n${turn}\r\n0\r\n${trailers}\r\n`

  const behind: ReadonlyArray<readonly [what: string, request: (path: string) => string]> = [
    ["a line end", (path) => `${whole(path)}\r\n`],
    ["a bare line feed", (path) => `${whole(path)}\n`],
    ["two line ends", (path) => `${whole(path)}\r\n\r\n`],
    ["a line end and a request", (path) => `${whole(path)}\r\n${second}`],
    ["a request", (path) => `${whole(path)}${second}`],
    ["the same request", (path) => `${whole(path)}${whole(path)}`],
    ["a request in chunks", (path) => `${whole(path)}${inChunks(path, "")}`],
    ["what is no request", (path) => `${whole(path)}garbage\r\n\r\n`],
    ["a request to upgrade", (path) => `${whole(path)}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`],
  ]
  for (const path of ["/v1/responses", "/v1/models"]) {
    it.effect.each(behind)(`(%s) on ${path} refuses both before anything goes upstream`, ([, request]) =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        const lines = yield* say(url, request(path))
        assert.isTrue(lines.length === 0 || lines.join() === "HTTP/1.1 400", lines.join())
        assert.deepStrictEqual(heard, [])
      }).pipe(Effect.provide(proxied)),
    )
  }

  const trailersOf = [
    "x-checksum: 1\r\n",
    "content-length: 5\r\n",
    "host: other\r\nx-a: b\r\n",
    "transfer-encoding: chunked\r\n",
    "authorization: Bearer test-key-b\r\n",
    "x-empty:\r\n",
    `x-long: ${"a".repeat(1_000)}\r\n`,
    "connection: close\r\n",
  ]
  for (const trailers of trailersOf) {
    it.effect(`refuses a turn in chunks with the trailers ${JSON.stringify(trailers)} before it goes upstream`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        assert.deepStrictEqual(yield* say(url, inChunks("/v1/responses", trailers)), ["HTTP/1.1 400"])
        assert.deepStrictEqual(heard, [])
      }).pipe(Effect.provide(proxied)),
    )
  }
})

describe("A request that does not name one host", () => {
  const hosts: ReadonlyArray<readonly [what: string, lines: string]> = [
    ["two of them", "host: proxy\r\nhost: other\r\n"],
    ["the same twice", "host: proxy\r\nhost: proxy\r\n"],
    ["a list", "host: proxy, other\r\n"],
    ["two in different case", "Host: proxy\r\nHOST: other\r\n"],
    ["a path", "host: proxy/v1\r\n"],
    ["a user", "host: user@proxy\r\n"],
    ["a query", "host: proxy?x\r\n"],
    ["an address without brackets", "host: ::1\r\n"],
    ["two ports", "host: proxy:80:80\r\n"],
    ["none", ""],
  ]
  for (const path of ["/v1/models", "/v1/responses"]) {
    it.effect.each(hosts)(`(%s) is refused on ${path}, and nothing of it goes upstream`, ([, lines]) =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        const text = `POST ${path} HTTP/1.1\r\n${lines}authorization: Bearer test-key-a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}`
        assert.deepStrictEqual(yield* say(url, text), ["HTTP/1.1 400"])
        assert.deepStrictEqual(heard, [])
      }).pipe(Effect.provide(proxied)),
    )
  }
})
