/**
 * Upstreams whose ids do not tell one turn from another: every turn gets its own answer all the same, from a connection
 * that is used again only where something else tells them apart.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import * as Server from "../../src/Server.ts"
import { Settings } from "../../src/config/Settings.ts"
import type { TurnRoute, TurnSink } from "../../src/turn/Executor.ts"
import { Executor } from "../../src/turn/Executor.ts"
import { failureOf } from "../support/RecordedTurn.ts"
import { turnOf } from "../support/TurnRequests.ts"
import { TestDialer } from "../support/TestDialer.ts"

/** Which run of a turn it is, counted over all, and the connection it comes on. */
interface Run {
  readonly turn: number
  readonly connection: number
}

interface Way {
  readonly name: string
  readonly response: (run: Run) => string | undefined
  readonly item: (run: Run) => string | undefined
  /** Changes the events of one answer. */
  readonly events?: (events: ReadonlyArray<object>, run: Run) => ReadonlyArray<object>
  /** The connection of the conversation's later turns. */
  readonly later: "reused" | "new"
  /** So many turns are run once more, since nothing told whether what began was theirs. */
  readonly again?: number
  /** So many are lost where nothing may be run again. */
  readonly lost?: number
}

const own = { response: ({ turn }: Run) => `resp_${turn}`, item: ({ turn }: Run) => `msg_${turn}` }
const typeOf = (event: object) => ("type" in event ? String(event.type) : "")
const without = (...types: ReadonlyArray<string>) => ({
  events: (events: ReadonlyArray<object>) => events.filter((event) => !types.includes(typeOf(event))),
})
const created = "response.created"
const added = "response.output_item.added"
const constantItem = { ...own, item: () => "msg_0" }

const ways: ReadonlyArray<Way> = [
  { ...own, name: "ids of their own", later: "reused" },
  { ...constantItem, name: "one id for the first item of each response", later: "reused" },
  { ...constantItem, name: "one id for items that are not announced", ...without(added), later: "reused" },
  { ...own, name: "items without ids", item: () => undefined, later: "reused" },
  {
    ...own,
    name: "items that are told at their end only",
    ...without(added, "response.output_text.delta"),
    later: "reused",
  },
  { ...own, name: "nothing but the last event", later: "reused", events: (events) => events.slice(-1) },
  {
    ...own,
    name: "every item done twice",
    later: "reused",
    events: (events) => events.flatMap((event) => (typeOf(event).endsWith("done") ? [event, event] : [event])),
  },
  {
    ...own,
    name: "an item's id that changes at its end",
    later: "reused",
    events: (events) =>
      events.map((event) =>
        "item" in event && typeOf(event) !== added
          ? { ...event, item: { ...(event.item as object), id: undefined } }
          : event,
      ),
  },
  { ...own, name: "one id for all responses", response: () => "resp", later: "new", again: 1, lost: 1 },
  {
    ...constantItem,
    name: "one id for all responses and items",
    response: () => "resp",
    later: "new",
    again: 1,
    lost: 1,
  },
  {
    ...own,
    name: "an id of the connection",
    response: ({ connection }) => `resp_${connection}`,
    later: "new",
    again: 1,
    lost: 1,
  },
  {
    ...own,
    name: "one id for all responses, which only their ends name",
    response: () => "resp",
    ...without(created, added, "response.output_text.delta", "response.output_item.done"),
    later: "new",
    again: 1,
    lost: 1,
  },
  { ...own, name: "no response.created", ...without(created), later: "new" },
  {
    ...own,
    name: "an id that changes within the response",
    later: "new",
    events: (events, { turn }) =>
      events.map((event) =>
        typeOf(event) === created ? { type: created, response: { id: `resp_created_${turn}` } } : event,
      ),
  },
  { ...own, name: "responses without ids", response: () => undefined, later: "new" },
  { ...own, name: "no ids at all", response: () => undefined, item: () => undefined, later: "new" },
]

const item = (way: Way, run: Run) => ({
  id: way.item(run),
  type: "message",
  role: "assistant",
  content: [{ type: "output_text", text: `answer ${run.turn}` }],
})

const answer = (way: Way, run: Run): ReadonlyArray<object> => {
  const id = way.response(run)
  const item_id = way.item(run)
  const events = [
    { type: created, response: { id, status: "in_progress", output: [] } },
    { type: added, output_index: 0, item: { id: item_id, type: "message", content: [] } },
    { type: "response.output_text.delta", item_id, output_index: 0, delta: `answer ` },
    { type: "response.output_text.delta", item_id, output_index: 0, delta: `${run.turn}` },
    { type: "response.output_item.done", output_index: 0, item: item(way, run) },
    { type: "response.completed", response: { id, status: "completed", output: [item(way, run)] } },
  ]
  return way.events?.(events, run) ?? events
}

class Heard implements TurnSink {
  route_: TurnRoute | undefined
  readonly events: Array<string> = []
  route(route: TurnRoute) {
    this.route_ = route
  }
  head() {}
  event(_: string, text: string) {
    this.events.push(text)
    return true
  }
  onDrain(resume: () => void) {
    resume()
  }
}

const layer = (retry: "standard" | "strict") =>
  Server.layerExecutor.pipe(
    Layer.provideMerge(TestDialer.layer),
    Layer.provide(Settings.layer({ upstreamUrl: "ws://upstream/v1", transport: "websocket", retry })),
  )

const turns = 6
const user = (text: string) => ({ role: "user", content: text })

/** Six turns of one conversation, each told by what was asked and what was answered. */
const converse = Effect.fnUntraced(function* (way: Way, client: "repeats" | "chains") {
  const dialer = yield* TestDialer
  const { execute } = yield* Executor
  let runs = 0
  let latest: ReadonlyArray<object> = []
  let heard = new Heard()
  let streamed = 0
  dialer.answer.with = (socket) => {
    latest = answer(way, { turn: ++runs, connection: dialer.sockets.indexOf(socket) })
    for (const event of latest) {
      if (event === latest.at(-1)) streamed = heard.events.length
      if (socket.terminated === 0) socket.handlers.onText(JSON.stringify(event))
    }
  }
  const session = { key: "a", name: "a" }
  const connections: Array<string | undefined> = []
  const errors: Array<string> = []
  let input: Array<object> = []
  let previous: string | undefined
  for (let turn = 1; turn <= turns; turn++) {
    input.push(user(`question ${turn}`))
    heard = new Heard()
    const body = { model: "m", input, ...(previous === undefined ? {} : { previous_response_id: previous }) }
    const exit = yield* Effect.exit(execute({ ...turnOf(body), session }, heard))
    if (Exit.isFailure(exit)) {
      errors.push(failureOf(exit).reason)
      assert.deepStrictEqual(heard.events, [])
      input.pop()
      continue
    }
    // The answer of its last run as a whole, and nothing else.
    assert.deepStrictEqual(
      heard.events,
      latest.map((event) => JSON.stringify(event)),
    )
    connections.push(heard.route_?.connection)
    if (client === "repeats") input.push(item(way, { turn: runs, connection: 0 }))
    else {
      input = []
      previous = way.response({ turn: runs, connection: dialer.sockets.length - 1 })
    }
  }
  return { connections, errors, runs, streamed, events: heard.events.length }
})

describe("An upstream that gives", () => {
  for (const way of ways) {
    for (const client of ["repeats", "chains"] as const) {
      for (const retry of ["standard", "strict"] as const) {
        it.effect(`${way.name} answers every turn, to a client that ${client} its history: ${retry}`, () =>
          Effect.gen(function* () {
            const { connections, errors, events, runs, streamed } = yield* converse(way, client)
            const lost = retry === "strict" ? (way.lost ?? 0) : 0
            assert.deepStrictEqual(
              errors,
              Array.from({ length: lost }, () => "foreign_event"),
            )
            assert.strictEqual(runs, turns + (retry === "strict" ? 0 : (way.again ?? 0)))
            assert.deepStrictEqual(new Set(connections.slice(1)), new Set([way.later]))
            // The last turn's events came as the upstream sent them, not all at its end.
            assert.strictEqual(streamed, events - 1)
            assert.strictEqual((yield* ConnectionPool).connections().length, way.later === "reused" ? 1 : 0)
          }).pipe(Effect.provide(layer(retry))),
        )
      }
    }
  }

  it.effect("the same ids in two conversations is served the same in the second", () =>
    Effect.gen(function* () {
      const way = ways.find(({ name }) => name === "one id for all responses")
      if (way === undefined) return assert.fail()
      assert.strictEqual((yield* converse(way, "repeats")).runs, turns + 1)
      assert.strictEqual((yield* converse(way, "repeats")).runs, turns)
    }).pipe(Effect.provide(layer("standard"))),
  )

  it.effect("the same ids runs a turn once, though its connection was idle before that was known", () =>
    Effect.gen(function* () {
      const way = ways.find(({ name }) => name === "one id for all responses") ?? assert.fail("there is one")
      const dialer = yield* TestDialer
      const { execute } = yield* Executor
      let runs = 0
      dialer.answer.with = (socket) => {
        const events = answer(way, { turn: ++runs, connection: dialer.sockets.indexOf(socket) })
        for (const event of events) if (socket.terminated === 0) socket.handlers.onText(JSON.stringify(event))
      }
      const inputs = new Map<string, ReadonlyArray<object>>()
      const runsOf = Effect.fnUntraced(function* (name: string) {
        const before = runs
        const input = [...(inputs.get(name) ?? []), user(`${name}, ${before}`)]
        const heard = new Heard()
        yield* execute({ ...turnOf({ model: "m", input }), session: { key: name, name } }, heard)
        inputs.set(name, [...input, item(way, { turn: runs, connection: 0 })])
        return [runs - before, heard.route_?.connection]
      })
      const names = ["a", "b", "c", "d", "e", "f", "g"]
      for (const name of names) assert.deepStrictEqual(yield* runsOf(name), [1, "new"])
      assert.strictEqual((yield* ConnectionPool).connections().length, names.length)
      assert.deepStrictEqual(yield* runsOf("a"), [2, "new"])
      for (const name of names.slice(1)) assert.deepStrictEqual(yield* runsOf(name), [1, "new"])
    }).pipe(Effect.provide(layer("standard"))),
  )
})
