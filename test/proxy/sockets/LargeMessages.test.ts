/**
 * The largest message on a client's socket: Bun's listener makes a text of a message at once, for which all others wait.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { deflateRawSync } from "node:zlib"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import type { SettingsValues } from "../../../src/config/Settings.ts"
import { round } from "../../support/EventLoop.ts"
import { post } from "../../support/AskProxy.ts"
import { SocketReader } from "../../support/SocketReader.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const limit = 20_000

/** A request of exactly so many bytes of UTF-8, filled with a text of `width` bytes. */
const request = (bytes: number, filling = "x"): string => {
  const whole = (input: string) => JSON.stringify({ type: "response.create", model: "gpt-5.5", input })
  const room = bytes - whole("").length
  const width = Buffer.byteLength(filling)
  const text = whole(`${filling.repeat(Math.floor(room / width))}${"x".repeat(room % width)}`)
  assert.strictEqual(Buffer.byteLength(text), bytes)
  return text
}

const withoutEnd = (bytes: Buffer) => bytes.subarray(0, -4)

type Send = (client: SocketReader, text: string) => void

const pieces =
  (size: number): Send =>
  (client, text) => {
    client.fragmented(JSON.parse(text), size)
  }

/** How a message of that many bytes may come. */
const ways: ReadonlyArray<readonly [how: string, send: Send, filling?: string, settings?: Partial<SettingsValues>]> = [
  ["in one frame", (client, text) => client.text(text)],
  ["in letters of two bytes", (client, text) => client.text(text), "é"],
  ["in letters of three bytes", (client, text) => client.text(text), "語"],
  ["in letters of four bytes", (client, text) => client.text(text), "𝄞"],
  ["in two frames", pieces(limit / 2 + 1)],
  ["in frames of 100 bytes, with pings between", pieces(100)],
  [
    "in some hundred bytes that unfold to them",
    (client, text) => client.compressed(withoutEnd(deflateRawSync(text, { finishFlush: 2 }))),
    "x",
    { downstreamDeflate: "on" },
  ],
]

const deflate = { "sec-websocket-extensions": "permessage-deflate" }

const answered = (count: number) => (texts: ReadonlyArray<string>) =>
  texts.filter((text) => text.includes('"response.completed"')).length === count

const told = (logged: ReadonlyArray<string>) =>
  logged.filter((line) => line.includes("status=413 code=request_too_large method=response.create"))

describe("A message on a client's socket", () => {
  for (const [how, send, filling, settings] of ways) {
    it.effect(`of as many bytes as may be is a turn, and of one more closes with 1009: ${how}`, () =>
      Effect.gen(function* () {
        const { logged, url } = yield* TestProxy
        const simulator = yield* Simulator
        const client = yield* SocketReader.open(url, deflate)
        send(client, request(limit, filling))
        yield* client.until(answered(1))
        assert.lengthOf(told(logged), 0)
        send(client, request(limit + 1, filling))
        yield* client.gone
        assert.strictEqual(client.closeCode, 1009)
        assert.lengthOf(simulator.turns, 1)
        assert.lengthOf(told(logged), 1)
      }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief({ maxClientMessage: limit, ...settings }))),
    )
  }

  it.effect("has the least of its own limit and that of a body", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url)
      client.text(request(10_000))
      yield* client.until(answered(1))
      client.text(request(10_001))
      yield* client.gone
      assert.strictEqual(client.closeCode, 1009)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief({ maxClientMessage: limit, maxBody: 10_000 }))),
  )

  it.effect("is of 4 MiB where nothing else is set, and a larger one goes over HTTP", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url)
      client.text(request(4 * 1024 * 1024))
      yield* client.until(answered(1))
      const larger = request(4 * 1024 * 1024 + 1)
      client.text(larger)
      yield* client.gone
      assert.strictEqual(client.closeCode, 1009)
      assert.strictEqual((yield* post(larger)).status, 200)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())),
  )

  it.effect("that is too large ends the turns of its socket, and no other's", () =>
    Effect.gen(function* () {
      const { logged, url } = yield* TestProxy
      const simulator = yield* Simulator
      yield* simulator.failNext({ _tag: "Stall" })
      const client = yield* SocketReader.open(url)
      client.text(request(1_000))
      yield* Effect.repeat(round, { until: () => simulator.counters.executions === 1 })
      const other = yield* SocketReader.open(url)
      client.text(request(limit + 1))
      yield* client.gone
      yield* Effect.repeat(round, { until: () => logged.some((line) => line.includes("outcome=cancelled")) })
      for (let count = 1; count <= 3; count++) {
        other.text(request(1_000))
        yield* other.until(answered(count))
      }
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief({ maxClientMessage: limit }))),
  )

  it.effect("is not said to be too large where a client closes with those words", () =>
    Effect.gen(function* () {
      const { logged, url } = yield* TestProxy
      for (const code of [1000, 1002, 1009, 3000]) {
        const client = yield* SocketReader.open(url)
        client.close(code, "Received too big message")
        yield* client.gone
      }
      assert.lengthOf(told(logged), 0)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief({ maxClientMessage: limit }))),
  )
})
