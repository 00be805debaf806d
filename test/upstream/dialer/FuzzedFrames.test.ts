import { afterEach, vi } from "vitest"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import { HttpRouter, HttpServer } from "effect/http"
import * as BunServer from "../../../src/downstream/http/BunServer.ts"
import * as Routes from "../../../src/downstream/http/Routes.ts"
import * as Server from "../../../src/Server.ts"
import { Settings } from "../../../src/config/Settings.ts"
import type { TurnSink } from "../../../src/turn/Executor.ts"
import { Executor } from "../../../src/turn/Executor.ts"
import { OutputCollector } from "../../../src/turn/attempt/OutputCollector.ts"
import { TurnMemory } from "../../../src/turn/memory/TurnMemory.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import { turnOf } from "../../support/TurnRequests.ts"
import { Census } from "../../lifecycle/Census.ts"
import { PlainUpstream } from "../../support/PlainUpstream.ts"
import type { Fuzzed } from "../../support/FuzzedFrames.ts"
import { fuzzed, wellFormed } from "../../support/FuzzedFrames.ts"
import { TestDialer, type TestSocket } from "../../support/TestDialer.ts"
import { ask } from "../../support/Ask.ts"
import type { Answer } from "../../support/Ask.ts"
import { parsed } from "../../support/Parsed.ts"
import { eventually, unlessItHangs } from "../../support/EventLoop.ts"
import { makeRandom } from "../../support/Random.ts"
import { collectingLogger, turnsIn } from "../../support/Logged.ts"
import { isFull, runs } from "../../support/Runs.ts"

const { logged, logger } = collectingLogger()

/** The whole server in front of sockets that are the test's; HTTP upstream always answers 503. */
const server = Layer.unwrap(
  Effect.map(PlainUpstream, ({ url }) =>
    HttpRouter.serve(Layer.merge(Server.layerRoutes, Routes.layerNotFound), {
      disableLogger: true,
      disableListenLog: true,
    }).pipe(
      Layer.provide(Server.layerAuth),
      Layer.provideMerge(Server.layerExecutor),
      Layer.provideMerge(TestDialer.layer),
      Layer.provideMerge(BunServer.layer({ hostname: "127.0.0.1", port: 0, drainTimeout: 0 })),
      // With HTTP beside them, sockets that close unheard would soon be used no more.
      Layer.provide(Settings.layer({ upstreamUrl: url, maxConnections: 64, transport: "websocket" })),
      Layer.provide([NodeFileSystem.layer, NodePath.layer, logger, Layer.succeed(References.MinimumLogLevel, "Info")]),
    ),
  ),
).pipe(Layer.provide(PlainUpstream.layer({})), Layer.provideMerge(Census.layer))

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const terminals = ["response.completed", "response.failed", "response.incomplete", "response.cancelled"]

/** What an error event may be answered with: its own status, or the one of its code. */
const statusesIn = (frames: ReadonlyArray<Fuzzed>): ReadonlySet<number> => {
  const statuses = new Set([502])
  for (const frame of frames) {
    if (frame === "closed, 1009") statuses.add(413)
    const event = typeof frame === "string" ? undefined : parsed(frame.text.replace(/^\ufeff/, ""))
    if (!isRecord(event)) continue
    const given = [event["status"], event["status_code"]].filter((status) => typeof status === "number")
    for (const status of given) if (Number.isInteger(status) && status >= 400 && status <= 599) statuses.add(status)
    const codes = JSON.stringify(event)
    if (codes.includes("rate_limit")) statuses.add(429)
    if (codes.includes("invalid_")) statuses.add(400)
    if (codes.includes("previous_response_not_found") || codes.includes("_limit_reached")) statuses.add(400)
    if (codes.includes("server_error")) statuses.add(500)
  }
  return statuses
}

/** One JSON object: the response of a terminal event, or an error with a status that the frames account for. */
const checkJson = ({ headers, status, text }: Answer, frames: ReadonlyArray<Fuzzed>) => {
  assert.match(headers.get("content-type") ?? "", /^application\/json/)
  const body = parsed(text)
  assert.isTrue(isRecord(body), "the body is no JSON object")
  if (!isRecord(body)) return
  if (status === 200) {
    const ends = frames.some(
      (frame) => typeof frame !== "string" && terminals.some((type) => frame.text.includes(type)),
    )
    assert.isTrue(ends, "200 without a terminal event")
    return
  }
  assert.include([...statusesIn(frames)], status)
  assert.isTrue("error" in body, "no error in the body")
}

/** One end, an error of ours that counts on from the event before it, and nothing that breaks out of its event. */
const checkStream = ({ text }: Answer) => {
  assert.isTrue(text.endsWith("\n\n"))
  const blocks = text.slice(0, -2).split("\n\n")
  let follows: number | undefined = 0
  let inOrder = true
  for (const [index, block] of blocks.entries()) {
    const [whole, type = "", data = ""] = /^event: ([^\r\n]*)\ndata: ([^\r\n]*)$/.exec(block) ?? []
    assert.strictEqual(whole, block, `event ${index} is broken`)
    const isLast = index === blocks.length - 1
    assert.strictEqual(type === "error" || terminals.includes(type), isLast, `event ${index} of ${blocks.length}`)
    const event = parsed(data)
    if (isLast) assert.isTrue(isRecord(event), "the last event is no JSON object")
    if (!isRecord(event)) {
      follows = undefined
      continue
    }
    // Of a type that is there twice the first is believed.
    const typed =
      String(event["type"])
        .toWellFormed()
        .replace(/[\r\n]+/g, " ") === type || data.startsWith(`{"type":"${type}"`)
    assert.isTrue(typed, `event ${index} is no ${type}`)
    const number = event["sequence_number"]
    const ours = String(event["code"]).startsWith("upstream_")
    if (ours && follows !== undefined) assert.strictEqual(number, follows, "the error's number")
    if (ours && inOrder) assert.strictEqual(number, index, "the error's number where all others are their places")
    const isNumber = typeof number === "number" && Number.isSafeInteger(number)
    inOrder &&= !isNumber || number === index
    follows = isNumber ? number + 1 : undefined
  }
}

const feed = (socket: TestSocket, frame: Fuzzed) => {
  if (frame === "binary") socket.handlers.onBinary()
  else if (frame === "overflow") socket.handlers.onOverflow()
  else if (frame === "closed") socket.handlers.onClose(1006, "")
  else if (frame === "closed, 1009") socket.handlers.onClose(1009, "")
  else socket.handlers.onText(frame.text)
}

/** Sends `frames` fuzzed frames through whole turns, eight at a time. */
const storm = Effect.fnUntraced(function* (seed: number, frames: number) {
  const dialer = yield* TestDialer
  const pool = yield* ConnectionPool
  const memory = yield* TurnMemory
  const census = yield* Census
  const { address } = yield* HttpServer.HttpServer
  const url = `${HttpServer.formatAddress(address)}/v1/responses`
  const heard = new Map<number, Array<Fuzzed>>()
  let fed = 0
  let turns = 0
  let worst = 0
  const kinds: Record<string, number> = {}

  dialer.answer.with = (socket, sent) => {
    const turn = Number(/turn (\d+)\b(?!.*turn \d)/s.exec(sent)?.[1])
    const all = heard.get(turn) ?? []
    const mine = fuzzed(makeRandom(seed * 1_000_003 + turn * 31 + all.length), `resp_${turn}_${all.length}`)
    all.push(...mine)
    fed += mine.length
    queueMicrotask(() => {
      for (const frame of mine) feed(socket, frame)
      // Sockets and connections are made in the same order.
      const id = dialer.sockets.indexOf(socket) + 1
      if (pool.connections().find((view) => view.id === id)?.state === "Leased") feed(socket, "closed")
    })
  }

  const turnAt = (turn: number) =>
    ask(url, {
      key: "test-key-a",
      headers: turn % 3 === 0 ? {} : { "session-id": `s${turn % 16}` },
      body: { model: "m", stream: turn % 2 === 1, input: `turn ${turn}` },
    })

  const one = Effect.gen(function* () {
    const turn = turns++
    const all: Array<Fuzzed> = []
    heard.set(turn, all)
    const name = () => `seed ${seed}, turn ${turn}, frames ${JSON.stringify(all, null, 1)}`
    const got = yield* unlessItHangs(turnAt(turn), name)
    heard.delete(turn)
    yield* Effect.sync(() => {
      try {
        const stream = got.headers.get("content-type")?.startsWith("text/event-stream") === true
        kinds[`${stream ? "stream" : "json"} ${got.status}`] =
          (kinds[`${stream ? "stream" : "json"} ${got.status}`] ?? 0) + 1
        assert.isFalse(got.text.includes('"internal"') || got.text.includes("the proxy failed"), "a defect")
        if (stream) checkStream(got)
        else checkJson(got, all)
      } catch (cause) {
        throw new Error(`${String(cause)}: ${got.text}\n${name()}`, { cause })
      }
    })
    const idle = pool.connections().filter(({ state }) => state === "Idle").length
    worst = Math.max(worst, memory.size() - idle)
  })

  const before = census.fibers()
  const worker = Effect.whileLoop({ while: () => fed < frames, body: () => one, step: () => {} })
  yield* Effect.all(
    Array.from({ length: 8 }, () => worker),
    { concurrency: "unbounded", discard: true },
  )
  assert.isAtLeast(fed, frames)
  assert.isAtMost(worst, 0, "more is remembered than there are idle connections")
  assert.deepStrictEqual(
    pool.connections().filter(({ state }) => state !== "Idle"),
    [],
  )
  // The fiber that watches the turns' deadlines sees that there are none.
  yield* TestClock.adjust("1 second")
  yield* eventually(
    () => census.fibers() === before,
    () => `${census.fibers()} fibers, ${before} before`,
  )
  assert.strictEqual(dialer.open(), pool.connections().length)
  assert.isAtMost(memory.size(), pool.connections().length)
  return { turns, kinds }
})

describe("Fuzzed frames of an upstream", () => {
  for (const seed of [1, 2, 3, 4]) {
    it.effect(`end every turn in one clear way and leave nothing behind (seed ${seed})`, () =>
      Effect.gen(function* () {
        logged.length = 0
        const { kinds, turns } = yield* storm(seed, runs(25_000))
        assert.deepStrictEqual(
          logged.filter((line) => /internal|unexpected|level=(ERROR|FATAL)/i.test(line)),
          [],
        )
        // Every turn has its line, or is one of those that a summary counts, and turns of every kind were among them.
        assert.strictEqual(turnsIn(logged), turns)
        const all = ["json 200", "json 502", "json 400", "json 429", "json 413", "stream 200"]
        for (const kind of isFull ? all : ["json 200", "stream 200"]) assert.isAbove(kinds[kind] ?? 0, 0, kind)
      }).pipe(Effect.provide(server)),
    )
  }
})

const turn = turnOf({ model: "m", input: "turn 0" })

const quiet: TurnSink = { route: () => {}, head: () => {}, event: () => true, onDrain: (resume) => resume() }

const broken = (): never => {
  throw new Error("broken on purpose")
}

describe("A defect of ours ends its turn and nothing else, when it comes from", () => {
  afterEach(() => void vi.restoreAllMocks())

  const spoilt = (sink: Partial<TurnSink>) => () => ({ ...quiet, ...sink })
  const collecting = (name: "add" | "finish") => () => {
    vi.spyOn(OutputCollector.prototype, name).mockImplementation(broken)
    return quiet
  }
  const cases: ReadonlyArray<readonly [from: string, sink: () => TurnSink]> = [
    ["the sink's route", spoilt({ route: broken })],
    ["the sink's first event", spoilt({ event: broken })],
    ["the sink's last event", spoilt({ event: (type) => (terminals.includes(type) ? broken() : true) })],
    ["the sink's drain", spoilt({ event: () => false, onDrain: broken })],
    ["the collector", collecting("add")],
    ["the collector's end", collecting("finish")],
  ]
  for (const [from, sink] of cases) {
    it.effect(from, () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        const executor = yield* Executor
        const pool = yield* ConnectionPool
        const memory = yield* TurnMemory
        dialer.answer.with = (socket) => {
          // As from the network: nobody above to catch what is thrown.
          queueMicrotask(() => {
            for (const text of wellFormed(() => 1, "resp_1")) socket.handlers.onText(text)
          })
        }
        const exit = yield* Effect.exit(unlessItHangs(executor.execute(turn, sink()), () => from))
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) assert.include(Cause.pretty(exit.cause), "broken on purpose")
        vi.restoreAllMocks()
        const held = pool.connections().filter(({ state }) => state !== "Idle")
        assert.deepStrictEqual(held, [])
        assert.isAtMost(memory.size(), pool.connections().length)
        assert.strictEqual(dialer.open(), pool.connections().length)
        assert.strictEqual((yield* executor.execute(turn, quiet)).type, "response.completed")
      }).pipe(Effect.provide(server)),
    )
  }
})
