import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { DialError, DialRequest } from "../../../src/upstream/dialer/Dialer.ts"
import { Dialer } from "../../../src/upstream/dialer/Dialer.ts"
import { layerBun } from "../../../src/upstream/dialer/DialerBun.ts"
import { layerWs } from "../../../src/upstream/dialer/DialerWs.ts"
import * as Dials from "../../support/Dials.ts"
import { utf8 } from "../../support/Bytes.ts"
import { unlessItHangs } from "../../support/EventLoop.ts"
import { echo, failureOf, flood, requestTo, seeing } from "../../support/Dials.ts"
import { closing, frame, ping, readFrames, switching, text } from "../../support/Frames.ts"
import { peers } from "../../support/Peers.ts"
import type { Peer } from "../../support/Peers.ts"

const dial = Effect.fnUntraced(function* (url: string, more?: Partial<DialRequest>) {
  const seen = yield* seeing
  const socket = yield* Dials.dial(url, { maxMessage: 16 * 1024 * 1024, ...more }, seen.handlers)
  return { socket, ...seen }
})

/** A dial that succeeded, and the peer it reached. */
const connected = Effect.fnUntraced(function* (extra?: Uint8Array, more?: Partial<DialRequest>) {
  const { first, url } = yield* peers((peer) => peer.accept(extra))
  const dialled = yield* dial(url, more)
  return { ...dialled, peer: yield* first }
})

const echoing = Effect.map(echo(), (port) => `ws://127.0.0.1:${port}/`)

const failure = (url: string, more?: Partial<DialRequest>) => failureOf(Effect.scoped(dial(url, more)))

for (const [name, layer] of [
  ["layerBun", layerBun],
  ["layerWs", layerWs],
] as const) {
  const test = (title: string, body: () => Effect.Effect<void, DialError, Dialer | Scope.Scope>) =>
    it.effect(title, () => body().pipe(Effect.provide(layer)))

  describe(`Dialer.${name}`, () => {
    test("sends the headers, offers no extension and reports the upgrade's answer", () =>
      Effect.gen(function* () {
        const { peer, socket } = yield* connected()
        assert.match(peer.head, /authorization: Bearer test-key-a/i)
        assert.notMatch(peer.head, /sec-websocket-extensions/i)
        assert.strictEqual(socket.handshake.status, 101)
        assert.strictEqual(socket.handshake.headers["x-upstream"], "one")
      }))

    test("carries text of any size and script both ways, in order", () =>
      Effect.gen(function* () {
        const { next, socket } = yield* dial(yield* echoing)
        const messages = [
          "",
          "{}",
          "ümläut 漢字 🜂 \u0000",
          "\ufeffmark",
          "x".repeat(126),
          "y".repeat(70_000),
          "é".repeat(1_000_000),
        ]
        for (const message of messages) assert.isTrue(socket.send(utf8(message)))
        for (const message of messages) assert.deepStrictEqual(yield* next, { _tag: "Text", text: message })
      }))

    test("sends large messages and small ones in the order in which they were given, and pings between them", () =>
      Effect.gen(function* () {
        const { next: heard, socket } = yield* dial(yield* echoing)
        // A pong may come between any two.
        const next = Effect.repeat(heard, { while: ({ _tag }) => _tag === "Alive" })
        const messages = ["漢".repeat(1_000_000), "small", "x".repeat(1 << 18), "y".repeat((1 << 18) + 1), "", "z"]
        for (const message of messages) {
          assert.isTrue(socket.send(utf8(message)))
          socket.ping()
        }
        for (const message of messages) assert.deepStrictEqual(yield* next, { _tag: "Text", text: message })
        assert.strictEqual(socket.bufferedAmount(), 0)
        assert.isTrue(socket.send(utf8("after")))
        assert.deepStrictEqual(yield* next, { _tag: "Text", text: "after" })
      }))

    test("counts what of a large message waits", () =>
      Effect.gen(function* () {
        const { next, socket } = yield* dial(yield* echoing)
        assert.isTrue(socket.send(utf8("x".repeat(8_000_000))))
        assert.isAbove(socket.bufferedAmount(), 4_000_000)
        yield* next
        assert.strictEqual(socket.bufferedAmount(), 0)
      }))

    test("leaves the bytes it sends as they were", () =>
      Effect.gen(function* () {
        const { next, socket } = yield* dial(yield* echoing)
        const whole = utf8("--payload--")
        assert.isTrue(socket.send(whole.subarray(2, 9)))
        assert.deepStrictEqual(yield* next, { _tag: "Text", text: "payload" })
        assert.deepStrictEqual(whole, utf8("--payload--"))
      }))

    test("survives a ping that came with the upgrade's answer", () =>
      Effect.gen(function* () {
        const { next, peer } = yield* connected(ping("early"))
        yield* peer.until((received) => pongs(received).includes("early"))
        peer.socket.write(text("still here"))
        assert.deepStrictEqual(yield* next, { _tag: "Text", text: "still here" })
      }))

    test("reports a binary message as one", () =>
      Effect.gen(function* () {
        const { next, peer } = yield* connected()
        peer.socket.write(frame(2, "binary"))
        assert.deepStrictEqual(yield* next, { _tag: "Binary" })
      }))

    test("accepts a message of exactly the limit in bytes", () =>
      Effect.gen(function* () {
        const { next, peer } = yield* connected(undefined, { maxMessage: 200 })
        peer.socket.write(text("é".repeat(100)))
        assert.deepStrictEqual(yield* next, { _tag: "Text", text: "é".repeat(100) })
      }))

    test("ends the socket with an overflow, and only that, on a message over the limit", () =>
      Effect.gen(function* () {
        const { all, next, peer, socket } = yield* connected(undefined, { maxMessage: 199 })
        peer.socket.write(Buffer.concat([text("é".repeat(100)), text("after")]))
        assert.deepStrictEqual(yield* next, { _tag: "Overflow" })
        yield* peer.closed
        assert.isFalse(socket.send(utf8("late")))
        assert.strictEqual(all.length, 1)
      }))

    test("reports the peer's own 1009 as a close, since it is about what was sent to it", () =>
      Effect.gen(function* () {
        const { all, next, peer } = yield* connected(undefined, { maxMessage: 199 })
        peer.socket.end(closing(1009, "too big for me"))
        assert.deepStrictEqual(yield* next, { _tag: "Close", code: 1009, reason: "too big for me" })
        yield* peer.closed
        assert.strictEqual(all.length, 1)
      }))

    test("reports the peer's close code and reason, and writes nothing afterwards", () =>
      Effect.gen(function* () {
        const { all, next, peer, socket } = yield* connected()
        peer.socket.end(closing(4001, "session over"))
        assert.deepStrictEqual(yield* next, { _tag: "Close", code: 4001, reason: "session over" })
        assert.isFalse(socket.send(utf8("too late")))
        socket.ping()
        socket.pause()
        socket.resume()
        assert.strictEqual(socket.bufferedAmount(), 0)
        yield* peer.closed
        assert.strictEqual(all.length, 1)
      }))

    test("reports a close although the peer keeps its end of the connection open", () =>
      Effect.gen(function* () {
        const { first, url } = yield* peers((peer) => peer.accept(), { allowHalfOpen: true })
        const { next } = yield* dial(url)
        const peer = yield* first
        peer.socket.write(closing(1000, "bye"))
        assert.deepStrictEqual(yield* next, { _tag: "Close", code: 1000, reason: "bye" })
      }))

    test("reports a reset connection as 1006", () =>
      Effect.gen(function* () {
        const { next, peer } = yield* connected()
        peer.socket.resetAndDestroy()
        const closed = yield* next
        assert.isTrue(closed._tag === "Close" && closed.code === 1006)
      }))

    test("ends on frames that break the protocol", () =>
      Effect.gen(function* () {
        for (const bad of [
          Buffer.from([0x81, 0x81, 1, 2, 3, 4, 5]),
          Buffer.from([0xc1, 0x01, 0x61]),
          frame(1, Buffer.from([0xff, 0xfe])),
        ]) {
          const { next, peer, socket } = yield* connected()
          peer.socket.write(bad)
          assert.strictEqual((yield* next)._tag, "Close")
          assert.isFalse(socket.send(utf8("late")))
          yield* peer.closed
        }
      }))

    test("answers pings, reports them and pongs as life, and survives a burst of pings", () =>
      Effect.gen(function* () {
        const { next, peer, socket } = yield* connected()
        const burst = 2_000
        peer.socket.write(
          Buffer.concat([...Array.from({ length: burst }, (_, i) => ping(`p${i}`)), text("still here")]),
        )
        for (let i = 0; i < burst; i++) assert.deepStrictEqual(yield* next, { _tag: "Alive" })
        assert.deepStrictEqual(yield* next, { _tag: "Text", text: "still here" })
        assert.isTrue(socket.send(utf8("up")))
        socket.ping()
        yield* peer.until((received) => pongs(received).includes(`p${burst - 1}`))
        peer.socket.write(frame(10, ""))
        assert.deepStrictEqual(yield* next, { _tag: "Alive" })
      }))

    test("gives a refusal's status, headers and body", () =>
      Effect.gen(function* () {
        const body = `{"error":{"message":"slow down"}}`
        const { url } = yield* peers(({ socket }) =>
          socket.end(
            `HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
          ),
        )
        const error = yield* failure(url)
        assert.strictEqual(error.reason, "Refused")
        assert.strictEqual(error.answer?.status, 429)
        assert.strictEqual(error.answer?.headers["retry-after"], "7")
        assert.strictEqual(error.answer?.headers["set-cookie"], "a=1, b=2")
        assert.strictEqual(error.answer?.body, body)
      }))

    test("takes the chunked coding off a refusal's body", () =>
      Effect.gen(function* () {
        const { url } = yield* peers(({ socket }) =>
          socket.end(
            `HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\n{"e\r\nA\r\nrror":"x"}\r\n0\r\n\r\n`,
          ),
        )
        assert.strictEqual((yield* failure(url)).answer?.body, `{"error":"x"}`)
      }))

    test("keeps at most 64 KiB of a refusal's body and closes the connection", () =>
      Effect.gen(function* () {
        const { first, url } = yield* peers((peer) => {
          peer.socket.write(`HTTP/1.1 403 No\r\ncontent-length: 900000\r\n\r\n${"z".repeat(300_000)}`)
        })
        const error = yield* failure(url)
        assert.strictEqual(error.answer?.status, 403)
        assert.isAtMost(error.answer?.body.length ?? 0, 64 * 1024)
        yield* (yield* first).closed
      }))

    test("gives a refusal whose body breaks off", () =>
      Effect.gen(function* () {
        const { url } = yield* peers(({ socket }) => socket.end(`HTTP/1.1 426 No\r\ncontent-length: 10\r\n\r\nabc`))
        const error = yield* failure(url)
        assert.strictEqual(error.answer?.status, 426)
        assert.strictEqual(error.answer?.body, "abc")
      }))

    const broken: ReadonlyArray<readonly [string, (peer: Peer) => void]> = [
      ["an answer of 200", ({ socket }) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")],
      [
        "a redirect",
        ({ socket }) => socket.end("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
      ],
      ["a wrong accept key", ({ socket }) => socket.write(switching("sec-websocket-key: AAAA"))],
      [
        "a 101 without an accept key",
        ({ socket }) => socket.write("HTTP/1.1 101 Ok\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
      ],
      [
        "an extension nobody asked for",
        ({ head, socket }) => socket.write(switching(head, "sec-websocket-extensions: permessage-deflate")),
      ],
      ["garbage", ({ socket }) => socket.end("\u0000\u0001 garbage\r\n\r\n")],
      ["an endless head", ({ socket }) => socket.write(`HTTP/1.1 101 Ok\r\nx: ${"y".repeat(200_000)}`)],
      ["a reset", ({ socket }) => socket.resetAndDestroy()],
      ["a message together with the answer", ({ accept }) => accept(text("early"))],
      ["a binary message together with the answer", ({ accept }) => accept(frame(2, "early"))],
      ["a broken frame together with the answer", ({ accept }) => accept(frame(3, "early"))],
      [
        "an answer of a status that is none",
        ({ socket }) => socket.end("HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n"),
      ],
      ["an end without an answer", ({ socket }) => socket.end()],
      ["an end inside the head", ({ socket }) => socket.end("HTTP/1.1 101 Swit")],
    ]
    for (const [what, behave] of broken) {
      test(`fails as unreachable on ${what}`, () =>
        Effect.gen(function* () {
          const error = yield* failure((yield* peers(behave)).url)
          assert.strictEqual(error.reason, "Unreachable")
          assert.isUndefined(error.answer)
          assert.isNotEmpty(error.message)
        }))
    }

    test("fails as hung up on a close together with the answer", () =>
      Effect.gen(function* () {
        const { url } = yield* peers(({ accept }) => accept(closing(1013, "try again later")))
        const error = yield* failure(url)
        assert.strictEqual(error.reason, "HungUp")
        assert.isUndefined(error.answer)
        assert.isNotEmpty(error.message)
      }))

    test("fails as unreachable where nobody listens, and where the name has no address", () =>
      Effect.gen(function* () {
        const { url } = yield* Effect.scoped(peers())
        assert.strictEqual((yield* failure(url)).reason, "Unreachable")
        // A label this long fails in the resolver itself, without a question to the network.
        assert.strictEqual((yield* failure(`ws://${"a".repeat(64)}.invalid/?api-key=test-key-a`)).reason, "Unreachable")
      }))

    test("fails as unreachable on a TLS client that meets plain text", () =>
      Effect.gen(function* () {
        const plain = yield* Effect.acquireRelease(
          Effect.sync(() =>
            Bun.listen({
              hostname: "127.0.0.1",
              port: 0,
              socket: { data: (socket) => void socket.end("no TLS here") },
            }),
          ),
          (server) => Effect.sync(() => server.stop(true)),
        )
        assert.strictEqual((yield* failure(`wss://127.0.0.1:${plain.port}/`)).reason, "Unreachable")
      }))

    test("refuses what is no socket URL or no header, and names no credential", () =>
      Effect.gen(function* () {
        const urls = [
          "http://127.0.0.1/",
          "https://127.0.0.1/",
          "ftp://x/",
          "nonsense",
          "ws://127.0.0.1/#a",
          "ws://me:test-key-a@127.0.0.1/",
        ]
        for (const url of urls) assert.strictEqual((yield* failure(url)).reason, "Unsendable")
        const bad = yield* failure("ws://127.0.0.1:1/", { headers: { authorization: "test-key-a\r\nx: y" } })
        assert.strictEqual(bad.reason, "Unsendable")
        const refused = yield* failure("ws://127.0.0.1:1/?api-key=test-key-a")
        for (const error of [bad, refused]) assert.notInclude(String(error) + JSON.stringify(error), "test-key-a")
      }))

    test("closes the connection when the dial is interrupted while the upgrade hangs", () =>
      Effect.gen(function* () {
        const { first, url } = yield* peers()
        const outer = yield* Scope.make()
        const { all, handlers } = yield* seeing
        const dialer = yield* Dialer
        const fiber = yield* Effect.forkChild(dialer.dial(requestTo(url), handlers).pipe(Scope.provide(outer)))
        const peer = yield* first
        yield* Fiber.interrupt(fiber)
        yield* peer.closed
        yield* Scope.close(outer, Exit.void)
        assert.deepStrictEqual(all, [])
      }))

    test("closes the connection when the dial times out", () =>
      Effect.gen(function* () {
        const { first, url } = yield* peers()
        const fiber = yield* Effect.forkChild(Effect.exit(Effect.timeout(dial(url), "15 seconds")))
        const peer = yield* first
        yield* TestClock.adjust("15 seconds")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        yield* peer.closed
      }))

    test("terminates with its scope, without a close frame, and calls no handler any more", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { first, url } = yield* peers((peer) => peer.accept())
        const { all, next, socket } = yield* dial(url).pipe(Scope.provide(scope))
        const peer = yield* first
        peer.socket.write(text("first"))
        yield* next
        peer.socket.write(Buffer.concat(Array.from({ length: 100 }, (_, i) => text(`more ${i}`))))
        yield* Scope.close(scope, Exit.void)
        const count = all.length
        yield* peer.closed
        assert.strictEqual(all.length, count)
        assert.isFalse(all.some((seen) => seen._tag === "Close"))
        assert.strictEqual(peer.received().length, 0)
        assert.isFalse(socket.send(utf8("late")))
        yield* Scope.close(scope, Exit.void)
      }))

    test("calls no handler from inside a handler that closed the scope", () =>
      Effect.gen(function* () {
        const dialer = yield* Dialer
        const scope = yield* Scope.make()
        const context = yield* Effect.context<never>()
        const texts: Array<string> = []
        const { first, url } = yield* peers((peer) => peer.accept())
        yield* dialer
          .dial(requestTo(url), {
            onText: (text) => {
              texts.push(text)
              Effect.runSyncWith(context)(Scope.close(scope, Exit.void))
            },
            onBinary: () => texts.push("binary"),
            onAlive: () => texts.push("alive"),
            onOverflow: () => texts.push("overflow"),
            onViolation: () => texts.push("violation"),
            onClose: () => texts.push("close"),
          })
          .pipe(Scope.provide(scope))
        const peer = yield* first
        peer.socket.write(Buffer.concat([text("one"), text("two"), ping(""), frame(2, "b")]))
        yield* peer.closed
        assert.deepStrictEqual(texts, ["one"])
      }))

    test("counts what the peer has not taken yet", () =>
      Effect.gen(function* () {
        const { peer, socket } = yield* connected()
        peer.socket.pause()
        assert.strictEqual(socket.bufferedAmount(), 0)
        for (let i = 0; i < 16; i++) assert.isTrue(socket.send(new Uint8Array(1024 * 1024).fill(97)))
        assert.isAbove(socket.bufferedAmount(), 1024 * 1024)
      }))

    test("reads nothing while paused, and everything after", () =>
      Effect.gen(function* () {
        const url = yield* echoing
        const paused = yield* dial(url)
        const other = yield* dial(url)
        paused.socket.pause()
        assert.isTrue(paused.socket.send(utf8("flood")))
        assert.isTrue(other.socket.send(utf8("flood")))
        // The same flood through the same server has arrived elsewhere, so time was not what was missing.
        assert.strictEqual((yield* other.next)._tag, "Text")
        assert.deepStrictEqual(paused.all, [])
        paused.socket.resume()
        const flooded = yield* paused.next
        assert.isTrue(flooded._tag === "Text" && flooded.text.length === flood.length)
      }))
  })
}

/** Payloads of the pongs among a client's frames. */
const pongs = (received: Buffer): ReadonlyArray<string> =>
  readFrames(received)
    .filter(({ opcode }) => opcode === 10)
    .map(({ payload }) => payload)

describe("Dialer.layerWs", () => {
  it.effect("sends a large message in fragments, with room for other frames between them, and a small one in one", () =>
    Effect.gen(function* () {
      const { peer, socket } = yield* connected()
      const large = `${"x".repeat(1 << 19)}end`
      for (const message of [large, "small"]) assert.isTrue(socket.send(utf8(message)))
      socket.ping()
      yield* unlessItHangs(
        peer.until((received) => received.length > large.length && readFrames(received).length === 5),
        () => `the peer has ${readFrames(peer.received()).length} frames`,
      )
      const frames = readFrames(peer.received())
      assert.deepStrictEqual(
        frames.filter(({ opcode }) => opcode !== 9).map(({ opcode, payload }) => [opcode, payload.length]),
        [
          [1, 1 << 18],
          [0, 1 << 18],
          [0, 3],
          [1, 5],
        ],
      )
    }).pipe(Effect.provide(layerWs)),
  )
})
