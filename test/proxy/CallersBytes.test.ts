/**
 * What a caller writes into an upgrade costs that caller alone: every place that it can write to, with every byte, and
 * everything an upstream may answer it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { layerBun } from "../../src/upstream/dialer/DialerBun.ts"
import { layerWs } from "../../src/upstream/dialer/DialerWs.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { errorOf, way } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import type { Peer } from "../support/HostileUpstream.ts"
import { good, HostileUpstream } from "../support/HostileUpstream.ts"
import { rawConnection } from "../support/RawConnection.ts"
import { isFull, sample } from "../support/Runs.ts"
import { TestProxy } from "../support/TestProxy.ts"

const forwarded = [
  "openai-organization",
  "openai-project",
  "openai-beta",
  "chatgpt-account-id",
  "originator",
  "x-forwarded-by-setting",
]

const body = `{"model":"gpt-5.5","input":"Hello"}`

/** A turn that carries `text`, byte by byte, in a header, in the credential or in the query. */
const writing = Effect.fnUntraced(function* (place: string, text: string) {
  const { url } = yield* TestProxy
  const path = place === "query" ? `/v1/responses?${text}` : "/v1/responses"
  const credential = place === "credential" ? text : "test-key-attacker"
  const { ask } = yield* rawConnection(url)
  return yield* ask({
    path,
    headers: [
      ["authorization", `Bearer ${credential}`],
      ["content-type", "application/json"],
      ...(forwarded.includes(place) || place === "x-other" ? [[place, text] as const] : []),
    ],
    body,
  })
}, Effect.scoped)

let victims = 0

/** The first turn of a caller that was never there before, so that it has to be dialled. */
const victim = Effect.suspend(() => post({ input: "Hello" }, { key: `test-key-victim-${++victims}` })).pipe(
  Effect.map((answer) => way(answer).join(" ")),
)

const places = ["query", "credential", ...forwarded, "x-other"]
const control = [...Array.from({ length: 0x20 }, (_, byte) => byte).filter((byte) => byte !== 9), 0x7f]
const others = [9, 0x20, 0x22, 0x23, 0x25, 0x2c, 0x5c, ...Array.from({ length: 0x80 }, (_, at) => 0x80 + at)]

const proxied = (dialer: typeof layerBun) =>
  Layer.unwrap(
    Effect.map(Simulator, ({ url }) =>
      TestProxy.layerProxy({ upstreamUrl: url, forwardHeaders: ["x-forwarded-by-setting"] }, dialer),
    ),
  ).pipe(Layer.provideMerge(Simulator.layer()))

for (const [name, dialer] of [
  ["Bun's sockets", layerBun],
  ["sockets of ws", layerWs],
] as const) {
  describe(`Over ${name}, what no header or query may have`, () => {
    for (const place of places) {
      it.effect(`in ${place} is its caller's 400, before a dial, and costs nobody a socket`, () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator
          const { logged } = yield* TestProxy
          // What ends a line or a request is the listener's to refuse; in a query it encodes what it lets through.
          for (const byte of [0x7f, ...sample(control)]) {
            const upgrades = simulator.counters.upgrades
            const { status } = yield* writing(place, `a${String.fromCharCode(byte)}b`)
            const endsLine = byte === 0x0a || byte === 0x0d
            if (!endsLine && place !== "query") assert.strictEqual(status, 400, `${place} ${byte}`)
            if (status === 400) assert.strictEqual(simulator.counters.upgrades, upgrades)
            assert.strictEqual(yield* victim, "websocket no_checkpoint")
          }
          for (const byte of isFull ? others : [9, 0x23, 0x80, 0xff]) {
            yield* writing(place, `a${String.fromCharCode(byte)}b`)
            assert.strictEqual(yield* victim, "websocket no_checkpoint", `${place} ${byte}`)
          }
          for (const text of ["", "a".repeat(8000), ",".repeat(300), "%00%0d%0a", "${x}"]) {
            yield* writing(place, text)
            assert.strictEqual(yield* victim, "websocket no_checkpoint", `${place} ${text.slice(0, 9)}`)
          }
          assert.notInclude(logged.join("\n"), "no connection to the upstream")
        }).pipe(Effect.provide(proxied(dialer))),
      )
    }
  })
}

describe("A request that is passed through", () => {
  for (const name of ["originator", "authorization", "x-other", "openai-beta", "user-agent", "cookie"]) {
    it.effect(`is its caller's 400 where ${name} has a character that no header may have`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { ask } = yield* rawConnection(url)
        const answer = yield* ask({ path: "/v1/files", headers: [[name, "Bearer a\x7fb"]] })
        assert.deepInclude(errorOf(answer), { status: 400, code: "invalid_header" })
        assert.include(errorOf(answer).message, name)
      }).pipe(Effect.provide(proxied(layerBun))),
    )
  }
})

const refusing = (status: number) => (peer: Peer) => {
  peer.write(`HTTP/1.1 ${status} Said\r\ncontent-length: 0\r\n\r\n`)
  peer.socket.end()
}

const refusals: ReadonlyArray<readonly [name: string, upgrade: (peer: Peer) => void]> = [
  ...[400, 401, 403, 404, 405, 426, 429, 431, 500, 501, 502, 503, 504].map(
    (status) => [String(status), refusing(status)] as const,
  ),
  ["a reset", ({ socket }: Peer) => void socket.resetAndDestroy()],
  ["an end", ({ socket }: Peer) => void socket.end()],
  ["half an answer", (peer: Peer) => (peer.write("HTTP/1.1 101 Sw"), void peer.socket.end())],
  ["nonsense", (peer: Peer) => (peer.write("no\r\n\r\n"), void peer.socket.end())],
  ["a switch without an accept key", (peer: Peer) => peer.write("HTTP/1.1 101 Switching\r\n\r\n")],
]

describe("One caller's upgrade that is answered", () => {
  for (const [name, dialer] of [
    ["over Bun's sockets", layerBun],
    ["over sockets of ws", layerWs],
  ] as const) {
    for (const [answer, upgrade] of refusals) {
      it.effect(`with ${answer} ${name} keeps no other caller from dialling`, () =>
        Effect.gen(function* () {
          const { conduct } = yield* HostileUpstream
          conduct.now = {
            ...good,
            upgrade: (peer) => (peer.head.includes("attacker") ? upgrade(peer) : good.upgrade(peer)),
          }
          for (let at = 0; at < 3; at++) {
            yield* post({ input: "Hello" }, { key: "test-key-a", headers: { originator: "attacker" } })
            assert.strictEqual(yield* victim, "websocket no_checkpoint")
          }
        }).pipe(
          Effect.provide(
            Layer.unwrap(
              Effect.map(HostileUpstream, ({ port }) =>
                TestProxy.layerProxy({ upstreamUrl: `http://127.0.0.1:${port}/v1` }, dialer),
              ),
            ).pipe(Layer.provideMerge(HostileUpstream.layer)),
          ),
        ),
      )
    }
  }
})
