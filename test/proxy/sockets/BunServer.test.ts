/**
 * What Bun's server of WebSockets does where reports say that it did otherwise, or that one may easily think so: what
 * respool's writer and its limits rely on. Each was found right with Bun 1.4.5, and a newer Bun must be as well.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { constants, deflateRawSync } from "node:zlib"
import * as Zlib from "node:zlib"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { eventually } from "../../support/EventLoop.ts"
import { SocketReader } from "../../support/SocketReader.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const KiB = 1024
const MiB = 1024 * KiB

type Peer = Bun.ServerWebSocket<undefined>

/** A bare server of Bun's, and a client of it that reads nothing yet. */
const bare = Effect.fnUntraced(function* (handlers: Partial<Bun.WebSocketHandler<undefined>>) {
  const opened = Promise.withResolvers<Peer>()
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no")),
        websocket: {
          message: () => {},
          backpressureLimit: 2 ** 31 - 1,
          ...handlers,
          open: (socket) => opened.resolve(socket),
        },
      }),
    ),
    (server) => Effect.promise(() => server.stop(true)),
  )
  const client = yield* SocketReader.open(server.url.href)
  client.pause()
  return { client, peer: yield* Effect.promise(() => opened.promise) }
})

const numbered = (number: number, size: number) => `${number} `.padEnd(size, "x")

const numbersIn = (texts: ReadonlyArray<string>) => texts.map((text) => Number.parseInt(text, 10))

const upTo = (count: number) => Array.from({ length: count }, (_, number) => number)

describe("send() of Bun's server", () => {
  it.effect("gives more than 0 for what is sent and -1 for what it keeps, and each arrives once and in order", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* bare({})
      const given: Array<number> = []
      while (given.filter((result) => result === -1).length < 50)
        given.push(peer.send(numbered(given.length, 64 * KiB)))
      assert.isAtLeast(given[0] ?? 0, 64 * KiB)
      assert.isTrue(given.every((result) => result === -1 || result > 0))
      // Behind the first that it keeps the system may take some more, as its buffers grow; most is kept.
      assert.isAbove(peer.getBufferedAmount(), 25 * 64 * KiB)
      client.resume()
      yield* client.until(({ length }) => length >= given.length)
      assert.deepStrictEqual(numbersIn(client.texts), upTo(given.length))
      assert.strictEqual(peer.getBufferedAmount(), 0)
    }).pipe(Effect.scoped),
  )

  it.effect("gives 0 for what it drops: over the limit, which respool sets out of reach, and behind the close", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* bare({ backpressureLimit: 256 * KiB })
      const given: Array<number> = []
      while (given.at(-1) !== 0) given.push(peer.send(numbered(given.length, 64 * KiB)))
      client.resume()
      yield* client.until(({ length }) => length >= given.length - 1)
      assert.deepStrictEqual(numbersIn(client.texts), upTo(given.length - 1))
      client.leave()
      yield* eventually(
        () => peer.readyState === 3,
        () => "the close",
      )
      assert.strictEqual(peer.send("late"), 0)
      assert.strictEqual(peer.getBufferedAmount(), 0)
    }).pipe(Effect.scoped),
  )

  for (const size of [1, 15, 16, 20, 64, 300]) {
    it.effect(`in drain() does not stall with frames of ${size} KiB`, () =>
      Effect.gen(function* () {
        const count = Math.min(400, Math.ceil(6_400 / size))
        let next = 0
        const sends = (peer: Peer) => {
          while (next < count) if (peer.send(numbered(next++, size * KiB)) === -1) return
        }
        const { client, peer } = yield* bare({ drain: sends })
        sends(peer)
        client.resume()
        yield* client.until(({ length }) => length === count)
        assert.deepStrictEqual(numbersIn(client.texts), upTo(count))
      }).pipe(Effect.scoped),
    )
  }
})

describe("close() of Bun's server", () => {
  for (const backpressureLimit of [256 * KiB, 2 ** 31 - 1]) {
    it.effect(`behind 5 MiB that wait lets all of them go out, with a limit of ${backpressureLimit}`, () =>
      Effect.gen(function* () {
        const { client, peer } = yield* bare({ backpressureLimit })
        const large = numbered(0, 5 * MiB)
        assert.strictEqual(peer.send(large), -1)
        peer.close(1001, "stops")
        client.resume()
        yield* client.gone
        assert.deepStrictEqual([client.texts.map(({ length }) => length), client.closeCode], [[large.length], 1001])
      }).pipe(Effect.scoped),
    )
  }
})

const deflating = TestProxy.layerBrief({ downstreamDeflate: "on", maxBody: MiB })

const offered = { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" }

const completed = (texts: ReadonlyArray<string>) => texts.filter((text) => text.includes('"response.completed"')).length

const request = (number: number, size: number): JsonObject => ({
  type: "response.create",
  model: "gpt-5.5",
  // Compresses badly, so that a message stays large.
  input: `${number} ${Array.from({ length: size / 8 }, (_, at) => (((at + 1) * (number + 7) * 2654435761) >>> 0).toString(36)).join(" ")}`,
})

const inputsSeen = Effect.map(Simulator, ({ turns }) => turns.map(({ request }) => request?.["input"]))

/** Without the empty block at its end, which the frame's head stands for (RFC 7692, section 7.2.1). */
const flushed = (text: string) => deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)

/** With the flag of a last block, which is allowed with a byte behind it (RFC 7692, section 7.2.3.4). */
const final = (text: string) => Buffer.concat([deflateRawSync(text), Buffer.from([0])])

describe("permessage-deflate of Bun's server", () => {
  for (const [what, compress] of [
    ["as all write them", flushed],
    ["whose last block says so", final],
  ] as const) {
    it.effect(`takes messages of any size ${what}, one after the other`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const client = yield* SocketReader.open(url, offered)
        assert.match(client.head, /permessage-deflate/i)
        const requests = [100, 4 * KiB, 5 * KiB, 64 * KiB, 100 * KiB, 100].map((size, at) => request(at, size))
        for (const [at, asked] of requests.entries()) {
          client.compressed(compress(JSON.stringify(asked)))
          yield* client.until((texts) => completed(texts) === at + 1)
        }
        assert.deepStrictEqual(
          yield* inputsSeen,
          requests.map(({ input }) => input),
        )
      }).pipe(Effect.scoped, Effect.provide(deflating)),
    )
  }

  it.effect("keeps no window between two messages and lets no client keep one", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url, offered)
      assert.match(client.head, /client_no_context_takeover/i)
      assert.match(client.head, /server_no_context_takeover/i)
    }).pipe(Effect.scoped, Effect.provide(deflating)),
  )

  it.effect("keeps the window of a client that was let keep one, where a server's own setting says so", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const { client } = yield* bareDeflating((text) => void heard.push(text))
      const deflate = Zlib.createDeflateRaw()
      const texts = upTo(5).map((number) => JSON.stringify(request(number, 8 * KiB)))
      for (const text of [...texts, ...texts]) {
        client.compressed(
          yield* Effect.callback<Buffer>((resume) => {
            const parts: Array<Buffer> = []
            deflate.on("data", (part: Buffer) => void parts.push(part))
            deflate.write(text, () =>
              deflate.flush(constants.Z_SYNC_FLUSH, () => {
                deflate.removeAllListeners("data")
                resume(Effect.succeed(Buffer.concat(parts).subarray(0, -4)))
              }),
            )
          }),
        )
      }
      yield* eventually(
        () => heard.length === 10,
        () => `${heard.length} of 10 messages`,
      )
      assert.deepStrictEqual(heard, [...texts, ...texts])
    }).pipe(Effect.scoped),
  )

  it.effect("ends a message that unfolds beyond the limit with 1009, and holds none of it", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url, offered)
      client.compressed(flushed(JSON.stringify({ ...request(0, 8), input: "0".repeat(16 * MiB) })))
      yield* client.gone
      assert.strictEqual(client.closeCode, 1009)
      assert.deepStrictEqual(yield* inputsSeen, [])
    }).pipe(Effect.scoped, Effect.provide(deflating)),
  )

  it.effect("refuses a compressed message where the setting is off", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url, offered)
      assert.notMatch(client.head, /permessage-deflate/i)
      client.compressed(flushed(JSON.stringify(request(0, 100))))
      yield* client.gone
      assert.deepStrictEqual(yield* inputsSeen, [])
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())),
  )
})

/** A bare server that gives each client a window of its own. */
const bareDeflating = Effect.fnUntraced(function* (heard: (text: string) => void) {
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no")),
        websocket: {
          perMessageDeflate: { compress: "dedicated", decompress: "dedicated" },
          message: (_, message) => heard(String(message)),
        },
      }),
    ),
    (server) => Effect.promise(() => server.stop(true)),
  )
  return { client: yield* SocketReader.open(server.url.href, offered) }
})

describe("Fragments at Bun's server", () => {
  it.effect("are told to nobody before their message is whole: what bounds them is its bytes and its time", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const { client, peer } = yield* bare({
        maxPayloadLength: 100,
        message: (_, message) => void told.push(String(message)),
        ping: () => void told.push("ping"),
      })
      client.resume()
      client.emptyFragments(10_000, { input: "x" })
      yield* eventually(
        () => told.length === 1,
        () => "the message",
      )
      assert.include(told[0], '"input":"x"')
      assert.strictEqual(peer.readyState, 1)
      // The bytes of all fragments count together.
      client.fragmented({ input: "x".repeat(200) }, 10)
      yield* client.gone
      assert.strictEqual(client.closeCode, 1009)
      assert.deepStrictEqual(new Set(told.slice(1)), new Set(["ping"]))
    }).pipe(Effect.scoped),
  )
})
