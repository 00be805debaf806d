import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Redacted, Scope } from "effect"
import * as Net from "node:net"
import type { DialError } from "../../../src/upstream/dialer/Dialer.ts"
import type { Dialer } from "../../../src/upstream/dialer/Dialer.ts"
import { layerBun } from "../../../src/upstream/dialer/DialerBun.ts"
import { layerWs } from "../../../src/upstream/dialer/DialerWs.ts"
import type { Subject } from "../../support/Certificate.ts"
import { authority, loopback } from "../../support/Certificate.ts"
import { connectProxy, tlsFront } from "../../support/ConnectProxy.ts"
import { utf8 } from "../../support/Bytes.ts"
import { converse, dial, echo, failureOf, large, leavesNothing } from "../../support/Dials.ts"
import { peers } from "../../support/Peers.ts"

const failure = <R>(dialling: Effect.Effect<unknown, DialError, R>) =>
  failureOf(dialling).pipe(Effect.tap((error) => Effect.sync(() => assert.strictEqual(error.reason, "Unreachable"))))

/** A proxy of which every byte is the test's own. */
const ownProxy = Effect.fnUntraced(function* (onHead: (socket: Net.Socket) => void) {
  const { first, port } = yield* peers(({ socket }) => onHead(socket))
  return {
    proxy: Redacted.make(`http://me:test-pass@127.0.0.1:${port}`),
    asked: Effect.asVoid(first),
    closed: Effect.flatMap(first, ({ closed }) => closed),
  }
})

for (const [name, layer] of [
  ["layerBun", layerBun],
  ["layerWs", layerWs],
] as const) {
  const test = (title: string, body: Effect.Effect<void, DialError, Dialer | Scope.Scope>) =>
    it.effect(title, () => body.pipe(Effect.provide(layer)))

  describe(`Dialer.${name} through a proxy`, () => {
    test(
      "carries large messages, with TLS to the upstream and without, and tells a close",
      Effect.gen(function* () {
        const ca = authority()
        const plain = yield* echo()
        const byAddress = yield* tlsFront(plain, ca.leaf(loopback))
        const byName = yield* tlsFront(plain, ca.leaf("localhost"))
        const proxy = yield* connectProxy({ user: "me:p@ss:w/rd" })
        const through = { proxy: proxy.with("me:p%40ss%3Aw%2Frd") }
        yield* converse(`ws://127.0.0.1:${plain}/`, through, large)
        yield* converse(`wss://127.0.0.1:${byAddress}/`, { ...through, tls: { ca: ca.cert } }, large)
        yield* converse(`wss://localhost:${byName}/`, { ...through, tls: { ca: ca.cert } })
        assert.deepStrictEqual(yield* proxy.seen, [
          `CONNECT 127.0.0.1:${plain}`,
          `CONNECT 127.0.0.1:${byAddress}`,
          `CONNECT localhost:${byName}`,
        ])
      }),
    )

    const distrusted: ReadonlyArray<readonly [what: string, subject: Subject, host: string, told: boolean]> = [
      ["nobody vouches for", loopback, "127.0.0.1", false],
      ["is for another address", [127, 0, 0, 2], "127.0.0.1", true],
      ["is for another name", "other.test", "localhost", true],
      ["is for the name, of the address", "localhost", "127.0.0.1", true],
      ["is for the proxy's address, of the name", loopback, "localhost", true],
    ]
    for (const [what, subject, host, told] of distrusted) {
      test(
        `fails as unreachable on a certificate that ${what}, unless it need not verify`,
        Effect.gen(function* () {
          const ca = authority()
          const port = yield* tlsFront(yield* echo(), ca.leaf(subject))
          const proxy = yield* connectProxy({ user: "me:test-pass" })
          const through = { proxy: proxy.with("me:test-pass") }
          const url = `wss://${host}:${port}/?api-key=test-key-a`
          const error = yield* failure(dial(url, { ...through, ...(told ? { tls: { ca: ca.cert } } : {}) }))
          assert.include(error.message, "the upstream's TLS was not accepted")
          assert.notMatch(String(error) + JSON.stringify(error), /test-(key|pass)/)
          yield* converse(url, { ...through, tls: { verify: false } })
          yield* converse(url, { tls: { verify: false } })
        }),
      )
    }

    test(
      "shows the client certificate that the upstream demands, behind the proxy and without one",
      Effect.gen(function* () {
        const ca = authority()
        const clients = authority()
        const port = yield* tlsFront(yield* echo(), ca.leaf(loopback), clients.cert)
        const { address: proxy } = yield* connectProxy()
        const url = `wss://127.0.0.1:${port}/`
        const mine = clients.leaf("client.test")
        yield* converse(url, { proxy, tls: { ca: ca.cert, ...mine } })
        yield* converse(url, { tls: { ca: ca.cert, ...mine } })
        yield* failure(dial(url, { proxy, tls: { ca: ca.cert } }))
        yield* failure(dial(url, { proxy, tls: { ca: ca.cert, ...authority().leaf("client.test") } }))
      }),
    )

    for (const status of [403, 407, 502]) {
      test(
        `fails as unreachable where the proxy answers ${status}, and names the status but no credential`,
        Effect.gen(function* () {
          const proxy = yield* connectProxy(status === 407 ? { user: "me:another" } : { refuse: status })
          const error = yield* failure(dial("wss://127.0.0.1:1/", { proxy: proxy.with("me:test-pass") }))
          assert.strictEqual(error.message, `the proxy refused the tunnel with status ${status}`)
          assert.isUndefined(error.answer)
          assert.notMatch(String(error) + JSON.stringify(error), /test-pass|bWU6/)
        }),
      )
    }

    const broken: ReadonlyArray<readonly [what: string, behave: (socket: Net.Socket) => void, message: string]> = [
      ["no HTTP", (socket) => socket.end("\u0000\u0001 garbage\r\n\r\n"), "the proxy's answer is no HTTP"],
      ["a switch", (socket) => socket.end("HTTP/1.1 101 Ok\r\n\r\n"), "the proxy's answer is no HTTP"],
      [
        "an endless head",
        (socket) => socket.write(`HTTP/1.1 200 Ok\r\nx: ${"y".repeat(200_000)}`),
        "the proxy's answer has too long a head",
      ],
      [
        "endless interim answers",
        (socket) => socket.write("HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000)),
        "the proxy's answer has too long a head",
      ],
      [
        "bytes that nobody asked for",
        (socket) => socket.write("HTTP/1.1 200 Ok\r\n\r\nearly"),
        "the proxy spoke before it was asked",
      ],
      ["nothing", (socket) => socket.end(), "the proxy could not be used"],
      ["half a head", (socket) => socket.end("HTTP/1.1 200 Ok\r\n"), "the proxy could not be used"],
      ["a reset", (socket) => socket.resetAndDestroy(), "the proxy could not be used"],
      ["an open tunnel and a hang-up", (socket) => socket.end("HTTP/1.1 200 Ok\r\n\r\n"), "TLS was not accepted"],
    ]
    for (const [what, behave, message] of broken) {
      test(
        `fails as unreachable on a proxy that answers ${what}`,
        Effect.gen(function* () {
          const { closed, proxy } = yield* ownProxy(behave)
          const error = yield* failure(dial("wss://127.0.0.1:1/", { proxy }))
          if (name === "layerWs" || !what.includes("hang-up")) assert.include(error.message, message)
          assert.notMatch(String(error) + JSON.stringify(error), /test-pass|bWU6/)
          yield* closed
        }),
      )
    }

    test(
      "takes an answer in pieces, behind an interim one",
      Effect.gen(function* () {
        const { closed, proxy } = yield* ownProxy((socket) => {
          socket.setNoDelay(true)
          socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
          socket.once("data", () => socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"))
          setImmediate(() => socket.write(" Connection established\r\n\r\n"))
        })
        // What comes through the tunnel is the upstream's, whose refusal is the client's to see.
        const error = yield* failureOf(dial("ws://127.0.0.1:1/", { proxy }))
        assert.strictEqual(error.answer?.status, 403)
        yield* closed
      }),
    )

    test(
      "fails as unreachable where no proxy listens, or its address is none",
      Effect.gen(function* () {
        const nobody = yield* failure(
          dial("ws://127.0.0.1:1/", { proxy: Redacted.make("http://me:test-pass@127.0.0.1:1") }),
        )
        assert.include(nobody.message, "the proxy could not be used")
        for (const address of ["socks5://me:test-pass@127.0.0.1", "test-pass", "http://127.0.0.1/test-pass"]) {
          const error = yield* failure(dial("ws://127.0.0.1:1/", { proxy: Redacted.make(address) }))
          assert.strictEqual(error.message, "the proxy's address is not one of http: or https:")
          assert.notInclude(String(error) + JSON.stringify(error), "test-pass")
        }
      }),
    )

    test(
      "closes the connection when the dial is interrupted while the proxy hangs",
      Effect.gen(function* () {
        const { asked, closed, proxy } = yield* ownProxy(() => {})
        const fiber = yield* Effect.forkChild(dial("wss://127.0.0.1:1/", { proxy }))
        yield* asked
        yield* Fiber.interrupt(fiber)
        yield* closed
      }),
    )

    test(
      "closes the connection when the dial is interrupted while TLS hangs behind the proxy",
      Effect.gen(function* () {
        const hello = yield* Deferred.make<void>()
        const { closed, proxy } = yield* ownProxy((socket) => {
          socket.once("data", () => Deferred.doneUnsafe(hello, Effect.void))
          socket.write("HTTP/1.1 200 Ok\r\n\r\n")
        })
        const fiber = yield* Effect.forkChild(dial("wss://127.0.0.1:1/", { proxy }))
        yield* Deferred.await(hello)
        yield* Fiber.interrupt(fiber)
        yield* closed
      }),
    )

    test(
      "closes the tunnel with its scope",
      Effect.gen(function* () {
        const ca = authority()
        const plain = yield* echo()
        const front = yield* tlsFront(plain, ca.leaf(loopback))
        for (const url of [`ws://127.0.0.1:${plain}/`, `wss://127.0.0.1:${front}/`]) {
          const { closed, proxy } = yield* ownProxy((client) => {
            const upstream = Net.connect({ host: "127.0.0.1", port: Number(new URL(url).port) })
            upstream.on("error", () => {})
            client.pipe(upstream)
            upstream.pipe(client)
            client.write("HTTP/1.1 200 Ok\r\n\r\n")
          })
          const scope = yield* Scope.make()
          const socket = yield* dial(url, { proxy, tls: { ca: ca.cert } }).pipe(Scope.provide(scope))
          yield* Scope.close(scope, Exit.void)
          yield* closed
          assert.isFalse(socket.send(utf8("late")))
        }
      }),
    )
  })
}

it.effect("Dialer.layerBun closes a connection to a proxy that succeeds when nobody wants it any more", () =>
  leavesNothing((port) => dial("wss://127.0.0.1:1/", { proxy: Redacted.make(`http://127.0.0.1:${port}`) })).pipe(
    Effect.provide(layerBun),
  ),
)

describe("A proxy that is itself spoken to over TLS", () => {
  const setUp = Effect.gen(function* () {
    const ca = authority()
    const front = yield* tlsFront(yield* echo(), ca.leaf(loopback))
    const proxy = yield* connectProxy({ user: "me:test-pass", tls: ca.leaf(loopback) })
    return { ca, url: `wss://127.0.0.1:${front}/`, through: { proxy: proxy.with("me:test-pass") } }
  })

  it.effect("is used by layerWs, which verifies it too", () =>
    Effect.gen(function* () {
      const { ca, through, url } = yield* setUp
      yield* converse(url, { ...through, tls: { ca: ca.cert } })
      const error = yield* failure(dial(url, through))
      assert.include(error.message, "the proxy could not be used")
    }).pipe(Effect.provide(layerWs)),
  )

  it.effect("is refused by layerBun with an error that says so", () =>
    Effect.gen(function* () {
      const { ca, through, url } = yield* setUp
      const error = yield* failure(dial(url, { ...through, tls: { ca: ca.cert } }))
      assert.include(error.message, "Bun cannot reach an upstream through an https: proxy")
    }).pipe(Effect.provide(layerBun)),
  )
})
