import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { existsSync } from "node:fs"
import { connect } from "node:net"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { ask } from "../support/Ask.ts"
import { MiB, settled } from "../support/HttpTurn.ts"
import { eventually, round, unlessItHangs } from "../support/EventLoop.ts"
import type { Line } from "../support/RawUpstream.ts"
import { chunk, head, lastChunk, rawUpstream } from "../support/RawUpstream.ts"
import { runs, sample } from "../support/Runs.ts"
import { inKernel, slowUpstream, wholeAnswer } from "../support/SlowUpstream.ts"

interface Sent {
  /** Method and path. */
  readonly line: string
  readonly body?: string
}

const turn = (number: number): Sent => ({
  line: "POST /v1/responses",
  body: JSON.stringify({ model: "gpt-5.5", stream: true, input: "Much", metadata: { slow: String(number) } }),
})

/** A client that sends its request and reads nothing until it is told to. */
class SlowClient {
  readonly over = Deferred.makeUnsafe<void>()
  readonly #parts: Array<Buffer> = []
  readonly #socket
  #read = 0

  constructor(url: string, number: number, asked = turn(number)) {
    this.#socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) })
    this.#socket.pause()
    this.#socket.on("data", (part) => {
      this.#parts.push(Buffer.from(part))
      this.#read += part.length
    })
    this.#socket.on("error", () => {})
    this.#socket.on("close", () => Deferred.doneUnsafe(this.over, Effect.void))
    const lines = ["host: proxy", "authorization: Bearer test-key-a", `session-id: slow-${number}`, "connection: close"]
    const { body, line } = asked
    const framing = body === undefined ? "" : `content-length: ${body.length}\r\n`
    this.#socket.write(`${line} HTTP/1.1\r\n${lines.join("\r\n")}\r\n${framing}\r\n${body ?? ""}`)
  }

  get port() {
    return this.#socket.localPort ?? 0
  }

  /** Bytes that have left the kernel. */
  get got() {
    return this.#read + this.#socket.readableLength
  }

  readOn() {
    this.#socket.resume()
  }

  leave() {
    this.#socket.destroy()
  }

  /** The body that came, without its chunks' heads; whether it came to its end. */
  body() {
    const bytes = Buffer.concat(this.#parts)
    const parts: Array<Buffer> = []
    for (let at = bytes.indexOf("\r\n\r\n") + 4; ;) {
      const line = bytes.indexOf("\r\n", at)
      if (line < 0) return { bytes: Buffer.concat(parts), whole: false }
      const size = Number.parseInt(bytes.subarray(at, line).toString(), 16)
      if (bytes.length < line + 4 + size) return { bytes: Buffer.concat(parts), whole: false }
      if (size === 0) return { bytes: Buffer.concat(parts), whole: true }
      parts.push(bytes.subarray(line + 2, line + 2 + size))
      at = line + 4 + size
    }
  }
}

const maxBuffered = 4 * MiB

/** Half of them go on in the end, and half are evicted. */
const slow = 2 * runs(3)

const setup = Effect.fnUntraced(function* (settings: Partial<SettingsValues>, count: number) {
  const upstream = yield* slowUpstream(count)
  const layer = TestProxy.layerProxy({ upstreamUrl: upstream.url, maxBuffered, clientTimeout: 60_000, ...settings })
  const proxy = Context.get(yield* Layer.build(layer), TestProxy)
  const clients = yield* Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: count }, (_, number) => new SlowClient(proxy.url, number))),
    (clients) => Effect.sync(() => clients.forEach((client) => client.leave())),
  )
  yield* upstream.begun
  const proxyPort = Number(new URL(proxy.url).port)
  const lineOf = (number: number): Line => {
    const line = upstream.slow.get(number)
    if (line === undefined) throw new Error("its turn has not begun")
    return line
  }
  /** What the upstream has got rid of and the client has not got, and is in no kernel's hands. */
  const heldFor = (client: SlowClient, number: number) => {
    const line = lineOf(number)
    return line.taken - client.got - inKernel(upstream.port, line.port) - inKernel(proxyPort, client.port)
  }
  const progress = () => upstream.lines.reduce((sum, { taken }) => sum + taken, 0)
  return { upstream, proxy, clients, heldFor, lineOf, progress }
})

const otherTurns = ({ url }: TestProxy["Service"], key: string) =>
  Effect.forEach(
    Array.from({ length: runs(50, 10) }, (_, number) => number),
    (number) =>
      Effect.map(
        ask(`${url}/responses`, {
          key,
          headers: { "session-id": `other-${number}` },
          body: { model: "gpt-5.5", stream: number % 2 === 0, input: "Little" },
        }),
        ({ status, text }) => {
          assert.strictEqual(status, 200)
          assert.isTrue(text.includes(`"status":"completed"`))
        },
      ),
    { concurrency: 10 },
  )

// What is in the kernel's hands is nobody's buffer of ours, and only Linux says how much that is.
describe.skipIf(!existsSync("/proc/net/tcp"))("Clients that stop reading", () => {
  for (const transport of sample(["websocket", "http"] as const)) {
    it.effect(
      `have no more than the setting waiting for them over ${transport}, and then go on or are evicted`,
      () =>
        Effect.gen(function* () {
          const { clients, heldFor, lineOf, progress, proxy } = yield* setup({ transport }, slow)
          yield* settled(progress)

          const expected = wholeAnswer()
          yield* otherTurns(proxy, "test-key-a")
          for (const [number, client] of clients.entries()) {
            assert.isAtMost(heldFor(client, number), maxBuffered)
            assert.isBelow(lineOf(number).taken, expected.length)
          }

          const [goOn, stay] = [clients.slice(0, slow / 2), clients.slice(slow / 2)]
          for (const client of goOn) client.readOn()
          for (const client of goOn) {
            yield* Deferred.await(client.over)
            const { bytes, whole } = client.body()
            assert.isTrue(whole)
            assert.isTrue(bytes.equals(expected), "the answer is not the upstream's")
          }
          for (const [index, client] of stay.entries()) assert.isAtMost(heldFor(client, index + slow / 2), maxBuffered)

          const evicted = () => proxy.logged.filter((line) => line.includes("slow_client")).length
          yield* TestClock.adjust("59999 millis")
          yield* settled(progress)
          assert.strictEqual(evicted(), 0)
          yield* TestClock.adjust("1 millis")
          for (const index of stay.keys()) yield* Deferred.await(lineOf(index + slow / 2).closed)
          assert.strictEqual(evicted(), slow / 2)
          for (const client of stay) {
            client.readOn()
            yield* Deferred.await(client.over)
            const bytes = Buffer.from(client.body().bytes.toString().replaceAll(": heartbeat\n", ""))
            const error = bytes.lastIndexOf("event: error\n")
            const came = error < 0 ? bytes : bytes.subarray(0, error)
            assert.isBelow(came.length, expected.length)
            assert.isTrue(expected.subarray(0, came.length).equals(came), "what came is not the beginning")
            if (error >= 0) assert.include(bytes.subarray(error).toString(), `"code":"slow_client"`)
          }
          yield* otherTurns(proxy, "test-key-a")
        }),
      60_000,
    )
  }
})

/** Answers that are no turn's, 8 MiB or without end: what is asked, and the head that the upstream answers with. */
const others: ReadonlyArray<readonly [what: string, asked: Sent, status: number, type: string, announced?: boolean]> = [
  ["a file", { line: "GET /v1/files/file_1/content" }, 200, "application/octet-stream"],
  ["a file of announced length", { line: "GET /v1/files/file_1/content" }, 200, "application/octet-stream", true],
  ["a stored response", { line: "GET /v1/responses/resp_1" }, 200, "application/json"],
  ["a stored response's events", { line: "GET /v1/responses/resp_1?stream=true" }, 200, "text/event-stream"],
  ["the models", { line: "GET /v1/models" }, 200, "application/json"],
  ["an answer to a body", { line: "POST /v1/embeddings", body: `{"input":"x"}` }, 200, "application/json", true],
  ["a compaction", { line: "POST /v1/responses/compact", body: `{"model":"m","input":[]}` }, 200, "application/json"],
  ["an error", { line: "GET /v1/files/file_1" }, 404, "application/json"],
  ["a server's error", { line: "DELETE /v1/files/file_1" }, 503, "text/plain", true],
]

describe.skipIf(!existsSync("/proc/net/tcp"))("Clients that stop reading what is passed through", () => {
  for (const [what, asked, status, type, announced = false] of sample(others, 0.3)) {
    it.effect(`have their upstream request as long as a turn, and then go on or it ends: ${what}`, () =>
      Effect.gen(function* () {
        const piece = Buffer.alloc(16 * 1024, "0123456789abcde\n")
        const pieces = 512
        const staying = Deferred.makeUnsafe<Line>()
        const upstream = yield* rawUpstream((line, { head: asked }) => {
          if (asked.includes("slow-1")) Deferred.doneUnsafe(staying, Effect.succeed(line))
          // The one that stays would never have all of it.
          const count = asked.includes("slow-1") ? 1_000_000 : pieces
          const framing = announced ? `content-length: ${count * piece.length}` : "transfer-encoding: chunked"
          line.write(head(status, `content-type: ${type}`, framing))
          let number = 0
          line.flood(() => (number++ < count ? (announced ? piece : chunk(piece)) : undefined))
          if (!announced) line.write(lastChunk)
        })
        const layer = TestProxy.layerProxy({
          upstreamUrl: `http://127.0.0.1:${upstream.port}/v1`,
          clientTimeout: 60_000,
          eventTimeout: 7_200_000,
        })
        const proxy = Context.get(yield* Layer.build(layer), TestProxy)
        const [goesOn, stays] = yield* Effect.acquireRelease(
          Effect.sync(() => [new SlowClient(proxy.url, 0, asked), new SlowClient(proxy.url, 1, asked)] as const),
          (clients) => Effect.sync(() => clients.forEach((client) => client.leave())),
        )
        const progress = () => upstream.lines.reduce((sum, { taken }) => sum + taken, 0)
        yield* eventually(
          () => upstream.lines.length === 2 && progress() > 0,
          () => "two requests upstream",
        )
        yield* settled(progress)
        assert.strictEqual(upstream.open(), 2)

        yield* TestClock.adjust("59999 millis")
        yield* settled(progress)
        assert.strictEqual(upstream.open(), 2)
        goesOn.readOn()
        yield* Deferred.await(goesOn.over)
        const { bytes, whole } = goesOn.body()
        assert.isTrue(whole)
        assert.isTrue(bytes.equals(Buffer.concat(Array.from({ length: pieces }, () => piece))))

        const logged = () => proxy.logged.filter((line) => line.includes("slow_client")).length
        assert.strictEqual(logged(), 0)
        // What the kernel and other threads still took of it may have come later than the clock was set.
        yield* eventually(
          () => logged() > 0,
          () => "the client's time to be over",
          Effect.andThen(TestClock.adjust("1 second"), round),
        )
        yield* unlessItHangs(Deferred.await((yield* Deferred.await(staying)).closed))
        assert.strictEqual(logged(), 1)
        stays.readOn()
        yield* Deferred.await(stays.over)
        assert.isFalse(stays.body().whole)
      }),
    )
  }
})
