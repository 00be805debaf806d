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
