/**
 * How much of an answer waits for a client that does not read its socket, and what a socket does with much at once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { existsSync } from "node:fs"
import type { SettingsValues } from "../../../src/config/Settings.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { promptly } from "../../support/EventLoop.ts"
import { MiB, settled } from "../../support/HttpTurn.ts"
import { sample } from "../../support/Runs.ts"
import { SocketReader } from "../../support/SocketReader.ts"
import { errorIn, socket } from "../../support/SocketClient.ts"
import { inKernel, slowUpstream, wholeFrames } from "../../support/SlowUpstream.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const maxBuffered = 4 * MiB

const setup = Effect.fnUntraced(function* (settings: Partial<SettingsValues> = {}) {
  const upstream = yield* slowUpstream(1)
  const layer = TestProxy.layerProxy({ upstreamUrl: upstream.url, maxBuffered, clientTimeout: 60_000, ...settings })
  const proxy = Context.get(yield* Layer.build(layer), TestProxy)
  const client = yield* SocketReader.open(proxy.url)
  client.pause()
  client.say({ model: "gpt-5.5", input: "Much", metadata: { slow: "0" }, stream_id: "slow" })
  yield* upstream.begun
  const line = upstream.slow.get(0)
  if (line === undefined) return yield* Effect.die(new Error("its turn has not begun"))
  const proxyPort = Number(new URL(proxy.url).port)
  const held = () => line.taken - client.got - inKernel(upstream.port, line.port) - inKernel(proxyPort, client.port)
  return { upstream, proxy, client, line, held }
})

// What is in the kernel's hands is nobody's buffer of ours, and only Linux says how much that is.
describe.skipIf(!existsSync("/proc/net/tcp"))("A client that stops reading its socket", () => {
  for (const transport of sample(["websocket", "http"] as const)) {
    it.effect(
      `has no more than the setting waiting for it over ${transport}, and gets all of it once it reads on`,
      () =>
        Effect.gen(function* () {
          const { client, held, line } = yield* setup({ transport })
          yield* settled(() => line.taken)
          assert.isAtMost(held(), maxBuffered)
          const expected = wholeFrames("slow")
          assert.isBelow(
            line.taken,
            expected.reduce((sum, text) => sum + text.length, 0),
          )
          client.resume()
          yield* client.until(({ length }) => length === expected.length)
          assert.isTrue(client.texts.every((text, index) => text === expected[index]))
        }).pipe(Effect.scoped),
    )
  }

  it.effect("is given up after its time, with its turn and the upstream's connection", () =>
    Effect.gen(function* () {
      const { client, line, proxy } = yield* setup()
      yield* settled(() => line.taken)
      const slow = () => proxy.logged.filter((text) => text.includes("slow_client")).length
      yield* TestClock.adjust("59999 millis")
      yield* settled(() => line.taken)
      assert.strictEqual(slow(), 0)
      yield* TestClock.adjust("1 millis")
      yield* promptly(
        () => slow() === 1,
        () => "the turn's end",
      )
      client.resume()
      yield* client.gone
      assert.isBelow(client.texts.length, wholeFrames("slow").length)
    }).pipe(Effect.scoped),
  )

  it.effect("does not make the turns of other sockets wait", () =>
    Effect.gen(function* () {
      const { line, proxy } = yield* setup()
      yield* settled(() => line.taken)
      const other = yield* SocketReader.open(proxy.url)
      for (let turn = 1; turn <= 20; turn++) {
        other.say({ model: "gpt-5.5", input: `Little ${turn}` })
        yield* other.until((texts) => texts.filter((text) => text.includes("response.completed")).length === turn)
      }
    }).pipe(Effect.scoped),
  )
})

describe("A client's socket", () => {
  it.effect("gets a burst of 10,000 events whole and in order", () =>
    Effect.gen(function* () {
      const client = yield* socket()
      const events = yield* client.send({ input: "Say it in 10000 words." }).pipe(Effect.andThen(client.answer))
      assert.isAbove(events.length, 10_000)
      assert.deepStrictEqual(
        events.map(({ sequence_number }) => sequence_number),
        events.map((_, index) => index),
      )
    }).pipe(Effect.provide(TestProxy.layerBrief())),
  )

  it.effect("takes a message in very many pieces, empty ones too", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url)
      client.fragmented({ model: "gpt-5.5", input: "x".repeat(20_000) }, 1)
      yield* client.until((texts) => texts.some((text) => text.includes('"response.completed"')))
      client.emptyFragments(100_000, { model: "gpt-5.5", input: "after" })
      yield* client.until((texts) => texts.filter((text) => text.includes('"response.completed"')).length === 2)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())),
  )

  it.effect("that is closed by its client in the middle of a burst ends its turn, and nothing is left", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url)
      client.pause()
      for (const lane of ["a", "b", "c"]) {
        client.say({ model: "gpt-5.5", input: "Say it in 20000 words.", stream_id: lane })
      }
      yield* simulator.until(({ turns }) => turns.length === 3)
      client.leave()
      yield* client.gone
      const other = yield* socket()
      assert.strictEqual((yield* other.turn({ input: "x" })).type, "response.completed")
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief({ maxBuffered: 1024 * 1024 }))),
  )

  it.effect("refuses what there is no memory or no place for, and takes it later", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket()
      yield* simulator.failNext({ _tag: "Hold" })
      yield* client.send({ input: "x".repeat(600), stream_id: "a" })
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* client.send({ input: "x".repeat(600), stream_id: "b" })
      let event = yield* client.next
      while (event.type !== "error") event = yield* client.next
      assert.deepStrictEqual(errorIn(event), [503, "server_overloaded", "b"])
      yield* simulator.release
      while (event.type !== "response.completed") event = yield* client.next
      assert.strictEqual((yield* client.turn({ input: "x".repeat(600), stream_id: "b" })).type, "response.completed")
    }).pipe(Effect.provide(TestProxy.layerBrief({ maxBodies: 1000 }))),
  )

  it.effect("answers pings and closes as its client does", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const client = yield* SocketReader.open(url)
      client.ping("are you there")
      yield* client.pong("are you there")
      client.close(1000)
      yield* client.gone
      assert.strictEqual(client.closeCode, 1000)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())),
  )

  it.effect("may compress what it sends and gets where the setting says so", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const text = yield* Effect.promise(
        () =>
          new Promise<string>((resolve, reject) => {
            const client = new WebSocket(`${url.replace("http", "ws")}/responses`, {
              headers: { authorization: "Bearer test-key-a" },
              perMessageDeflate: true,
            } as never)
            client.onopen = () =>
              client.send(JSON.stringify({ type: "response.create", model: "gpt-5.5", input: "x".repeat(20_000) }))
            client.onmessage = ({ data }) => {
              if (!String(data).includes('"response.completed"')) return
              resolve(client.extensions)
              client.terminate()
            }
            client.onerror = () => reject(new Error("it failed"))
          }),
      )
      assert.include(text, "permessage-deflate")
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief({ downstreamDeflate: "on" }))),
  )
})
