/**
 * Turns of one session that share an upstream connection as lanes (`RESPOOL_BUSY=lane`).
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { SimulatorOptions } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { outputOf, request, way } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { round, unlessItHangs } from "../support/EventLoop.ts"
import { user } from "../support/Items.ts"
import { socket } from "../support/SocketClient.ts"
import { TestProxy } from "../support/TestProxy.ts"

const headers = { "session-id": "one" }
const lanes: SettingsOptions = { profile: "openai", busy: "lane" }

const proxy = (settings: SettingsOptions = {}, simulator: SimulatorOptions = {}) =>
  TestProxy.layerBrief({ ...lanes, ...settings }, simulator)

const turn = (input: JsonObject["input"], more: JsonObject = {}) =>
  post({ store: false, input: input ?? "x", ...more }, { headers })

/** A turn that waits in the middle of its answer until the simulator releases it. */
const held = Effect.fnUntraced(function* (input: JsonObject["input"], at = 4) {
  const simulator = yield* Simulator
  const before = simulator.turns.length
  yield* simulator.failNext({ _tag: "Hold", at })
  const fiber = yield* Effect.forkChild(turn(input))
  yield* simulator.until(({ turns }) => turns.length > before && turns[before]?.status === "running")
  yield* Effect.repeat(round, { times: 5 })
  return fiber
})

/** Releases what is held, and gives the answer of a turn that was, which must complete. */
const completed = Effect.fnUntraced(function* (running: Effect.Success<ReturnType<typeof held>>) {
  const { release } = yield* Simulator
  yield* release
  const answer = yield* Fiber.join(running)
  assert.strictEqual(answer.json?.["status"], "completed")
  return answer
})

const views = Effect.map(ConnectionPool, (pool) => pool.connections().map(({ lanes }) => lanes))

/** A conversation of one turn, and what continues it. */
const begun = Effect.fnUntraced(function* () {
  const question = user("Hello")
  const answer = yield* turn([question])
  return [question, ...outputOf(answer)]
})

const names = Effect.map(Simulator, ({ turns }) => turns.map(({ streamId }) => streamId))

describe("Turns of a session on lanes", () => {
  it.effect("share the session's connection, each under a name of its own that no client sees", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const running = yield* held("second")
      const answers = yield* Effect.all([turn("third"), turn("fourth")])
      for (const answer of answers) {
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(way(answer, "transport", "connection"), ["websocket", "reused"])
        assert.notInclude(answer.text, "stream_id")
      }
      const last = yield* completed(running)
      assert.notInclude(last.text, "stream_id")
      assert.strictEqual(simulator.counters.upgrades, 1)
      const [first, ...others] = yield* names
      assert.match(String(first), /^[\w.-]{1,256}$/)
      assert.isTrue(others.every((name) => name !== undefined))
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("stream without the lane's name, and a client's own name stays its own", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const running = yield* held("second")
      const stream = yield* turn("third", { stream: true })
      assert.include(stream.text, "event: response.completed")
      assert.notInclude(stream.text, "stream_id")
      const client = yield* socket(headers)
      yield* client.send({ store: false, stream_id: "mine", input: "fourth" })
      const events = yield* client.answer
      assert.deepStrictEqual(new Set(events.map(({ stream_id }) => stream_id)), new Set(["mine"]))
      yield* completed(running)
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("are each continued on their own lane", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const histories = [yield* begun()]
      const running = yield* held([user("Branch")])
      histories.push([user("Other"), ...outputOf(yield* turn([user("Other")]))])
      histories.push([user("Branch"), ...outputOf(yield* completed(running))])
      for (const history of histories) {
        const next = yield* turn([...history, user("And then?")])
        assert.deepStrictEqual(way(next, "connection", "input", "reason"), ["reused", "suffix", "continued"])
      }
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("fork a response that another turn continues, and the two contexts are the clients'", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const history = yield* begun()
      const running = yield* held([...history, user("One way")])
      const forked = yield* turn([...history, user("Another way")])
      assert.deepStrictEqual(way(forked, "connection", "input", "reason"), ["reused", "suffix", "forked"])
      const first = yield* completed(running)
      const contexts = simulator.turns.slice(1).map(({ context }) => context.join())
      assert.include(contexts[0], "One way")
      assert.include(contexts[1], "Another way")
      for (const context of contexts) assert.include(context, "Hello")
      // Both go on by themselves.
      for (const [answer, said] of [
        [first, "One way"],
        [forked, "Another way"],
      ] as const) {
        const next = yield* turn([...history, user(said), ...outputOf(answer), user("And then?")])
        assert.deepStrictEqual(way(next, "input", "reason"), ["suffix", "continued"])
      }
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("fork a response by the client's own id as well", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = yield* socket(headers)
      const parent = idOfEvent(yield* client.turn({ store: false, input: "Hello" }))
      yield* simulator.failNext({ _tag: "Hold", at: 4 })
      yield* client.send({ store: false, stream_id: "a", previous_response_id: parent, input: "One way" })
      yield* simulator.until(({ turns }) => turns[1]?.status === "running")
      yield* client.send({ store: false, stream_id: "b", previous_response_id: parent, input: "Another way" })
      yield* simulator.until(({ turns }) => turns[2]?.status === "completed")
      yield* simulator.release
      const ends: Array<unknown> = []
      while (ends.length < 2) {
        const { stream_id, type } = yield* client.next
        if (type === "response.completed" || type === "error") ends.push(`${String(stream_id)} ${type}`)
      }
      assert.deepStrictEqual(ends.toSorted(), ["a response.completed", "b response.completed"])
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("are sent in full on a lane where a fork is refused, and the source goes on", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const history = yield* begun()
      const running = yield* held([...history, user("One way")])
      const refusal = { status: 400, code: "previous_response_not_found", message: "Previous response not found." }
      yield* simulator.failNext({ _tag: "Refuse", ...refusal })
      const forked = yield* turn([...history, user("Another way")])
      assert.strictEqual(forked.status, 200)
      assert.deepStrictEqual(way(forked, "connection", "input", "reason"), ["reused", "full", "fork_refused"])
      yield* completed(running)
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("are 16 at a time on one connection; the next has another", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      yield* simulator.configure({ fault: () => [{ _tag: "Hold" }] })
      const fibers = yield* Effect.forEach(Array.from({ length: 20 }), (_, at) => Effect.forkChild(turn(`${at}`)))
      yield* simulator.until(({ turns }) => turns.filter(({ status }) => status === "running").length === 20)
      // Each is at its hold by then.
      yield* Effect.repeat(round, { times: 50 })
      assert.strictEqual(simulator.counters.upgrades, 2)
      yield* simulator.configure({ fault: () => [] })
      yield* simulator.release
      for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber)).json?.["status"], "completed")
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("wait for a connection that opens, where the upstream is known to have lanes", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* post({ input: "x" }, { headers: { "session-id": "two" } })
      const branches = Array.from({ length: 16 }, (_, branch) => turn(`${branch}`))
      for (const answer of yield* Effect.all(branches, { concurrency: "unbounded" })) {
        assert.strictEqual(answer.json?.["status"], "completed")
      }
      assert.strictEqual(simulator.counters.upgrades, 2)
      // Where it can't be opened, each is told so by itself.
      yield* simulator.configure({ upgradeRefusal: { status: 429, body: '{"error":{"message":"Slow down."}}' } })
      const elsewhere = { headers: { "session-id": "three" } }
      const refused = Array.from({ length: 4 }, () => post({ input: "x" }, elsewhere))
      const answers = yield* Effect.all(refused, { concurrency: "unbounded" })
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [429, 429, 429, 429],
      )
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("have 32 names at most for the life of a connection", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const running = yield* held("second")
      // Each is cut in its middle, and takes its name along.
      for (let cut = 0; cut < 40; cut++) {
        yield* simulator.failNext({ _tag: "Failed", at: 3, code: "server_error", message: "Sorry." })
        yield* turn(`${cut}`)
      }
      yield* completed(running)
      const used = new Map<number, Set<string | undefined>>()
      for (const { connection, streamId } of simulator.turns) {
        used.set(connection, (used.get(connection) ?? new Set()).add(streamId))
      }
      for (const found of used.values()) assert.isAtMost(found.size, 32)
      assert.isTrue(simulator.turns.every(({ refusal }) => refusal === undefined))
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("of other sessions, and without a name, have connections of their own", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const running = yield* held("second")
      yield* post({ input: "x" }, { headers: { "session-id": "two" } })
      assert.strictEqual(simulator.counters.upgrades, 2)
      yield* post({ input: "x" })
      assert.strictEqual(simulator.counters.upgrades, 3)
      yield* completed(running)
      assert.isUndefined(simulator.turns.at(-1)?.streamId)
    }).pipe(Effect.provide(proxy())),
  )
})

describe("An upstream without lanes", () => {
  it.effect("refuses a name once, and the turn goes without; that is remembered for an hour", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* turn("first")
      assert.strictEqual(first.status, 200)
      assert.deepStrictEqual(way(first, "transport", "connection", "reason"), ["websocket", "new", "lanes_refused"])
      yield* post({ input: "x" }, { headers: { "session-id": "two" } })
      assert.strictEqual(simulator.counters.refusedTurns, 1)
      yield* TestClock.adjust("61 minutes")
      yield* post({ input: "x" }, { headers: { "session-id": "three" } })
      assert.strictEqual(simulator.counters.refusedTurns, 2)
    }).pipe(Effect.provide(proxy({}, { profile: "xai" }))),
  )

  for (const body of [
    '{"detail":"Unsupported parameter: stream_id"}',
    '{"error":{"message":"Unknown parameter: \'stream_id\'.","type":"invalid_request_error","code":"unknown_parameter","param":"stream_id"}}',
    '{"error":{"message":"Unrecognized request argument supplied: stream_id","type":"invalid_request_error","code":null,"param":null}}',
    '{"error":{"message":"Unexpected field `stream_id`","type":"invalid_request_error"}}',
  ]) {
    it.effect(`is known by its words: ${body}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const text = JSON.stringify({ type: "error", status: 400, ...(JSON.parse(body) as JsonObject) })
        yield* simulator.failNext({ _tag: "ExtraFrame", at: 0, text })
        const answer = yield* turn("first")
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(way(answer), ["websocket", "lanes_refused"])
        assert.deepStrictEqual((yield* names).slice(1), [undefined])
      }).pipe(Effect.provide(proxy())),
    )
  }

  it.effect("that leaves the names out is taken as it is: one turn at a time on a connection", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.configure({ namesLanes: false })
      const first = yield* turn("first")
      assert.strictEqual(first.json?.["status"], "completed")
      const running = yield* held("second")
      assert.strictEqual((yield* turn("third")).json?.["status"], "completed")
      yield* completed(running)
      assert.strictEqual(simulator.counters.upgrades, 3)
      assert.deepStrictEqual((yield* names).slice(1), [undefined, undefined])
    }).pipe(Effect.provide(proxy())),
  )

  for (const profile of ["azure", "xai", "vercel", "codex", "custom"] as const) {
    it.effect(`is not asked for them where the profile is ${profile}`, () =>
      Effect.gen(function* () {
        yield* post({ store: false, instructions: "x", stream: true, input: [user("x")] }, { headers })
        assert.deepStrictEqual(yield* names, [undefined])
      }).pipe(Effect.provide(proxy({ profile }))),
    )
  }
})

describe("A lane that ends badly", () => {
  const cut = Effect.fnUntraced(function* (input: string, at = 4) {
    const { url } = yield* TestProxy
    const simulator = yield* Simulator
    const before = simulator.turns.length
    yield* simulator.failNext({ _tag: "Hold", at })
    const leaving = new AbortController()
    const body = { model: "gpt-5.5", store: false, stream: true, input }
    const asked = request(`${url}/responses`, { key: "test-key-a", headers, body }, leaving.signal)
    asked.catch(() => undefined)
    yield* simulator.until(({ turns }) => turns.length > before && turns[before]?.status === "running")
    return { leave: Effect.sync(() => leaving.abort()) }
  })

  const until = Effect.fnUntraced(function* (fits: (lanes: ReadonlyArray<string>) => boolean) {
    for (let rounds = 0; !fits((yield* views)[0] ?? []); rounds++) {
      assert.isBelow(rounds, 500, "nothing changes any more")
      yield* round
    }
  })

  it.effect("by its client is not heard until it has ended, and its neighbour is not touched", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const leaver = yield* cut("cancelled")
      const running = yield* held("stays")
      yield* leaver.leave
      yield* until((lanes) => lanes.includes("Draining"))
      assert.strictEqual(simulator.counters.openSockets, 1)
      assert.strictEqual((yield* turn("beside")).json?.["status"], "completed")
      yield* completed(running)
      yield* until((lanes) => lanes.every((lane) => lane === "Idle"))
      assert.strictEqual((yield* turn("after")).json?.["status"], "completed")
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("by its client takes the connection along where it was alone, so that the upstream stops", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const leaver = yield* cut("cancelled")
      yield* leaver.leave
      yield* simulator.until(({ counters }) => counters.openSockets === 0)
      assert.strictEqual(simulator.turns[0]?.status, "abandoned")
    }).pipe(Effect.provide(proxy())),
  )

  it.effect("is given half a minute, and then the connection ends with those that run on it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const leaver = yield* cut("cancelled")
      const running = yield* held("stays")
      yield* leaver.leave
      yield* until((lanes) => lanes.includes("Draining"))
      yield* TestClock.adjust("50 seconds")
      // Nothing begins there any more.
      assert.strictEqual((yield* unlessItHangs(turn("beside"))).json?.["status"], "completed")
      assert.strictEqual(simulator.counters.upgrades, 2)
      assert.strictEqual(simulator.turns[2]?.status, "running")
      yield* unlessItHangs(completed(running))
    }).pipe(Effect.provide(proxy({ pingInterval: 20_000 }))),
  )

  for (const [what, fault, status] of [
    ["a refusal", { _tag: "Refuse", status: 422, code: "invalid", message: "No." } as const, 422],
    [
      "an error in its middle",
      { _tag: "Error", at: 4, status: 500, code: "server_error", message: "No." } as const,
      500,
    ],
    ["a failed response", { _tag: "Failed", at: 4, code: "server_error", message: "No." } as const, 200],
  ] as const) {
    it.effect(`by ${what} leaves its neighbours alone`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const history = yield* begun()
        const running = yield* held("stays")
        // A refusal is tried on a new connection as well.
        for (let attempt = 0; attempt < 2; attempt++) yield* simulator.failNext(fault)
        const broken = yield* turn("broken")
        yield* simulator.configure({})
        assert.strictEqual(broken.status, status)
        assert.strictEqual((yield* turn([...history, user("And then?")])).headers.get("x-respool-input"), "suffix")
        yield* completed(running)
      }).pipe(Effect.provide(proxy({ retry: "strict" }))),
    )
  }

  for (const [what, text, status] of [
    [
      "an event of a lane that nobody has",
      '{"type":"response.output_text.delta","delta":"x","stream_id":"other"}',
      200,
    ],
    ["an event of no lane", '{"type":"response.output_text.delta","delta":"x"}', 200],
    ["a response of no lane", '{"type":"response.completed","response":{"id":"resp_x","output":[]}}', 200],
    ["a text that is no JSON", "x", 502],
    ["an object that is no event", '{"detail":"Something."}', 502],
  ] as const) {
    it.effect(`by ${what} takes the whole connection along, and each turn of it goes its own way`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        yield* turn("first")
        const running = yield* held("stays", 1)
        yield* simulator.failNext({ _tag: "ExtraFrame", at: 0, text })
        assert.strictEqual((yield* turn("other")).status, status)
        yield* simulator.until(({ connections }) => connections[0]?.open === false)
        assert.strictEqual((yield* Fiber.join(running)).status, status)
      }).pipe(Effect.provide(proxy())),
    )
  }

  it.effect("by the limit of the connection's age: every turn goes on elsewhere", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn("first")
      const running = yield* held("stays", 1)
      yield* simulator.failNext({ _tag: "ConnectionLimit" })
      const next = yield* turn("next")
      assert.strictEqual(next.json?.["status"], "completed")
      yield* completed(running)
    }).pipe(Effect.provide(proxy())),
  )
})

const idOfEvent = (event: JsonObject) => String((event["response"] as JsonObject | undefined)?.["id"])
