import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { NetAddress } from "effect/net"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import * as Zlib from "node:zlib"
import * as BunServer from "../../../src/downstream/http/BunServer.ts"
import type { Options } from "../../../src/downstream/http/RequestBytes.ts"
import { readRequestBytes } from "../../../src/downstream/http/RequestBytes.ts"
import { utf8 } from "../../support/Bytes.ts"
import { unlessItHangs } from "../../support/EventLoop.ts"
import { talker } from "../../support/Talker.ts"
import { encoders } from "../../support/Encodings.ts"

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const serving = Effect.fnUntraced(function* (options: Options, before: Effect.Effect<unknown> = Effect.void) {
  const context = yield* Layer.build(BunServer.layer({ hostname: "127.0.0.1", port: 0 }))
  const server = Context.get(context, HttpServer.HttpServer)
  yield* server.serve(
    Effect.gen(function* () {
      yield* before
      const bytes = yield* readRequestBytes(yield* HttpServerRequest.HttpServerRequest, options)
      return HttpServerResponse.text(`${bytes.length} ${hash(bytes)}`)
    }),
  )
  const port = NetAddress.isInetAddress(server.address) ? server.address.port : 0
  return { url: `http://127.0.0.1:${port}/` }
})

const post = (
  url: string,
  body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | string | null,
  encoding?: string,
) =>
  Effect.promise(async () => {
    const response = await fetch(url, {
      method: "POST",
      body,
      ...(encoding === undefined ? {} : { headers: { "content-encoding": encoding } }),
    })
    const text = await response.text()
    return { status: response.status, text, headers: response.headers }
  })

const chunked = (...parts: ReadonlyArray<Uint8Array>) =>
  new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const part of parts) controller.enqueue(part)
      controller.close()
    },
  })

/** What comes in answer to a text once `what` holds of it, or the server has closed the connection, which it tells. */
const exchange = (url: string, text: string, what: (received: string) => boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { isClosed, say, until } = yield* talker(url)
      say(text)
      const received = yield* until(what)
      return isClosed() ? `${received}<closed>` : received
    }),
  )

const plain = utf8(JSON.stringify({ input: "ümläut ".repeat(5_000) }))
const expected = `${plain.length} ${hash(plain)}`

const encodings = [...Object.entries(encoders), ["x-gzip", encoders.gzip] as const]

describe("readRequestBytes", () => {
  it.effect("lets others go on while a large body comes in one go, however quick its client is", () =>
    Effect.gen(function* () {
      const part = new Uint8Array(1 << 16)
      let rounds = 0
      let begun = 0
      const body = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          controller.enqueue(part.slice())
          if (++begun === 128) controller.close()
        },
      })
      const request = HttpServerRequest.fromWeb(new Request("http://proxy/", { method: "POST", body }))
      const count = () => {
        rounds++
        next = setImmediate(count)
      }
      let next = setImmediate(count)
      const bytes = yield* readRequestBytes(request, { maxBytes: 1 << 24 })
      clearImmediate(next)
      assert.strictEqual(bytes.length, 128 << 16)
      // Two parts in a round.
      assert.isAtLeast(rounds, 60)
    }),
  )

  it.effect("reads a body of known length, a chunked one and none", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: plain.length })
      assert.strictEqual((yield* post(url, plain)).text, expected)
      assert.strictEqual((yield* post(url, chunked(plain.subarray(0, 10), plain.subarray(10)))).text, expected)
      const none = `0 ${hash(new Uint8Array())}`
      assert.strictEqual((yield* post(url, null)).text, none)
      assert.strictEqual((yield* post(url, "", "gzip")).text, none)
      assert.strictEqual((yield* post(url, chunked())).text, none)
    }),
  )

  it.effect("takes off every encoding it names, in any case, with known length or chunked", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: plain.length })
      for (const [name, encode] of encodings) {
        assert.strictEqual((yield* post(url, encode(plain), name)).text, expected, name)
        assert.strictEqual((yield* post(url, chunked(encode(plain)), ` ${name.toUpperCase()}`)).text, expected, name)
      }
      assert.strictEqual((yield* post(url, plain, "identity")).text, expected)
    }),
  )

  it.effect("reads zstd with a checksum, without a size, of several frames, of blocks of every kind", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: 4_000_000 })
      const noise = new Uint8Array(Buffer.concat([hashes(20_000), new Uint8Array(1_000_000), plain]))
      const params = { [Zlib.constants.ZSTD_c_checksumFlag]: 1, [Zlib.constants.ZSTD_c_contentSizeFlag]: 0 }
      const one = new Uint8Array(Zlib.zstdCompressSync(noise, { params }))
      assert.strictEqual((yield* post(url, one, "zstd")).text, `${noise.length} ${hash(noise)}`)
      const two = Buffer.concat([Zlib.zstdCompressSync(plain), Zlib.zstdCompressSync(plain)])
      const twice = Buffer.concat([plain, plain])
      assert.strictEqual((yield* post(url, new Uint8Array(two), "zstd")).text, `${twice.length} ${hash(twice)}`)
    }),
  )

  it.effect("refuses unknown encodings and several in a row with 415, and says which it takes", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: 1_000 })
      for (const encoding of ["compress", "gzip, gzip", "gzip, identity", "__proto__", "toString"]) {
        const { headers, status, text } = yield* post(url, "body", encoding)
        assert.strictEqual(status, 415, encoding)
        assert.strictEqual(JSON.parse(text).error.code, "unsupported_content_encoding")
        assert.strictEqual(headers.get("accept-encoding"), "gzip, deflate, br, zstd")
      }
    }),
  )

  it.effect("refuses corrupt bytes and a stream cut at any place with 400", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: 1_000_000 })
      for (const [name, encode] of encodings) {
        const whole = encode(plain)
        for (const body of [
          utf8("no such thing"),
          whole.slice(0, whole.length - 1),
          whole.slice(0, whole.length >> 1),
          whole.slice(0, 4),
        ]) {
          const { status, text } = yield* post(url, body, name)
          assert.strictEqual(status, 400, `${name} of ${body.length}`)
          assert.strictEqual(JSON.parse(text).error.code, "invalid_content_encoding")
        }
      }
    }),
  )

  it.effect("applies the limit to what is announced, to what comes, and to what it decodes to", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: plain.length - 1 })
      const bodies = [
        yield* post(url, plain),
        yield* post(url, chunked(plain.subarray(0, 10), plain.subarray(10))),
        ...(yield* Effect.forEach(encodings, ([name, encode]) => post(url, encode(plain), name))),
      ]
      for (const { status, text } of bodies) {
        assert.strictEqual(status, 413)
        assert.strictEqual(JSON.parse(text).error.code, "request_too_large")
      }
    }),
  )

  it.effect("does not unfold a bomb", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: 1_000_000 })
      const zeros = new Uint8Array(100_000_000)
      const bombs = [Zlib.gzipSync(zeros, { level: 1 }), Zlib.zstdCompressSync(zeros)].map(
        (bomb) => new Uint8Array(bomb.subarray()),
      )
      for (const [i, encoding] of ["gzip", "zstd"].entries()) {
        const bomb = bombs[i] ?? new Uint8Array()
        const { status } = yield* post(url, bomb.length > 999_999 ? chunked(bomb) : bomb, encoding)
        assert.strictEqual(status, 413)
      }
    }),
  )

  it.effect("answers 413 at once, before an announced body has come, and the connection serves on", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: 10 })
      const rest = "x".repeat(100_000)
      const first = yield* exchange(url, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", (text) =>
        text.includes("request_too_large"),
      )
      assert.match(first, /^HTTP\/1.1 413 /)
      const next = `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok`
      const known = yield* exchange(
        url,
        `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n${rest}${next}`,
        (text) => text.includes("HTTP/1.1 200"),
      )
      assert.match(known, /^HTTP\/1.1 413 /)
      assert.notInclude(known, "<closed>")
      const piece = `${rest.length.toString(16)}\r\n${rest}\r\n`
      const streamed = yield* exchange(
        url,
        `POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${piece}${piece}0\r\n\r\n${next}`,
        (text) => text.includes("HTTP/1.1 200"),
      )
      assert.match(streamed, /^HTTP\/1.1 413 /)
      assert.notInclude(streamed, "<closed>")
    }),
  )

  it.effect("tells what it keeps before it keeps it, and what of it stays", () =>
    Effect.gen(function* () {
      const told: Array<number> = []
      const { url } = yield* serving({ maxBytes: 1_000_000, holds: (bytes) => told.push(bytes) > 0 })
      // The platform does not tell how much of a short body has come, so all of it counts before.
      yield* post(url, plain.subarray(0, 16_384))
      assert.deepStrictEqual(told.splice(0), [16_384])
      yield* post(url, plain)
      assert.strictEqual(told.at(-1), plain.length)
      assert.deepStrictEqual(
        told,
        [...told].sort((a, b) => a - b),
      )
      told.length = 0
      yield* post(url, chunked(plain.subarray(0, 10), plain.subarray(10)))
      assert.strictEqual(told.shift(), 0)
      assert.strictEqual(told.at(-1), plain.length)
      assert.deepStrictEqual(
        told,
        [...told].sort((a, b) => a - b),
      )
      told.length = 0
      const zipped = new Uint8Array(Zlib.gzipSync(plain))
      yield* post(url, zipped, "gzip")
      // While it is decoded both are there; afterwards only what came out.
      assert.strictEqual(told[0], zipped.length)
      assert.strictEqual(told.at(-2), zipped.length + plain.length)
      assert.strictEqual(told.at(-1), plain.length)
    }),
  )

  it.effect("answers 503 where there is no room, however the body comes, without waiting for the rest", () =>
    Effect.gen(function* () {
      const { url } = yield* serving({ maxBytes: 1_000_000, holds: (bytes) => bytes < plain.length })
      const zipped = new Uint8Array(Zlib.gzipSync(plain))
      for (const [body, encoding] of [
        [plain],
        [chunked(plain)],
        [zipped, "gzip"],
        [chunked(zipped), "gzip"],
      ] as const) {
        const { headers, status, text } = yield* post(url, body, encoding)
        assert.strictEqual(status, 503)
        assert.strictEqual(JSON.parse(text).error.code, "server_overloaded")
        assert.strictEqual(headers.get("retry-after"), "1")
      }
      const head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
      const half = yield* exchange(url, `${head}${"x".repeat(plain.length)}`, (text) =>
        text.includes("server_overloaded"),
      )
      assert.match(half, /^HTTP\/1.1 503 /)
    }),
  )

  it.effect("gives up on a body that does not come, with 408, and closes the connection", () =>
    Effect.gen(function* () {
      for (const head of ["content-length: 100\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"]) {
        const begun = yield* Deferred.make<void>()
        const { url } = yield* serving({ maxBytes: 1_000, timeout: "20 seconds" }, Deferred.succeed(begun, undefined))
        const exchanged = yield* Effect.forkChild(exchange(url, `POST / HTTP/1.1\r\nhost: x\r\n${head}`, () => false))
        yield* Deferred.await(begun)
        yield* TestClock.adjust("20 seconds")
        const answer = yield* unlessItHangs(Fiber.join(exchanged))
        assert.match(answer, /^HTTP\/1.1 408 /)
        assert.include(answer, "request_timeout")
        assert.isTrue(answer.endsWith("<closed>"))
      }
    }),
  )
})

/** Bytes that do not compress. */
function hashes(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, i) => createHash("sha256").update(String(i)).digest()))
}
