/**
 * Every kind of fault at every frame boundary of turns on a client's socket, alone and beside another lane, and clients
 * that vanish at every frame: one right answer or one error frame, nothing leaks, and other lanes go on.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import type { SimulatorService } from "../../../src/simulator/Simulator.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { eventually } from "../../support/EventLoop.ts"
import type { Kind } from "../../support/FaultKinds.ts"
import { allowed, kinds } from "../../support/FaultKinds.ts"
import type { Ending, Got } from "../../support/Faulty.ts"
import {
  afterTerminal,
  cell,
  driven,
  endingOf,
  firstContent,
  proxied,
  questions,
  reference,
  settled,
} from "../../support/Faulty.ts"
import { user } from "../../support/Items.ts"
import { sample } from "../../support/Runs.ts"
import { errorIn, outputOf, socket } from "../../support/SocketClient.ts"
import type { Client, Event } from "../../support/TestClient.ts"
import { idOf } from "../../support/TestClient.ts"

/** How the turn takes up the conversation: it begins it, or goes on by its whole history, or by the client's own chain. */
const modes = ["first", "history", "chain"] as const

interface Cell {
  readonly kind: Kind
  readonly at: number
  readonly mode: (typeof modes)[number]
  /** Another lane of the socket waits for the rest of its answer meanwhile. */
  readonly beside: boolean
}

const nameOf = ({ at, beside, kind, mode }: Cell) =>
  `${kind.name}${kind.placed ? ` at ${at}` : ""}, ${mode}${beside ? ", beside another lane" : ""}`

const places = ({ name, placed }: Kind) =>
  Array.from({ length: placed ? (name === "unknown event" ? afterTerminal : afterTerminal + 1) : 1 }, (_, at) => at)

const cellsOf = (kind: Kind): ReadonlyArray<Cell> =>
  modes.flatMap((mode) =>
    [false, true]
      // Time that ends a silent turn would end the other lane's as well.
      .filter((beside) => !beside || kind.silent !== true)
      .flatMap((beside) => places(kind).map((at): Cell => ({ kind, at, mode, beside }))),
  )

/** The same for a first turn on a connection that had carried another session's: that is sent again. */
const ofAnother = ({ at, kind }: Cell): readonly [Ending, runs: number] =>
  allowed({ kind, at, later: false, stream: true, strict: false, http: false, twice: false }, "context_refused")

/** What the table allows; a client's own chain can't be sent again, as its history is not known. */
const expected = ({ at, kind, mode }: Cell): readonly [Ending, runs: number] => {
  const asIs = allowed({ kind, at, later: mode !== "first", stream: true, strict: false, http: false, twice: false })
  if (mode !== "chain") return asIs
  if (kind.name === "memory lost") return ["error", 0]
  if (kind.placed && at > firstContent) return asIs
  const isRetried =
    asIs[0] === "answer" &&
    asIs[1] === (kind.runs ? 2 : 1) &&
    (kind.full === "again" || kind.suffix === "again" || kind.name === "flat error")
  return isRetried ? ["error", kind.runs ? 1 : 0] : asIs
}

const withoutLane = (event: Event): Event => {
  const { stream_id: _, ...rest } = event
  return rest as Event
}

/** The events of one lane up to its end; those of other lanes go to `others`. */
const ending = Effect.fnUntraced(function* (client: Client, lane: string | undefined, others: Array<Event>) {
  const events: Array<Event> = []
  for (;;) {
    const event = yield* client.next
    if (event.stream_id !== lane) {
      others.push(event)
      continue
    }
    events.push(withoutLane(event))
    if (/^(error|response\.(completed|failed|incomplete))$/.test(event.type)) return events
  }
})

/** As a stream over HTTP would have told it of a stored response, so that the same judge can read it. */
const gotOf = (events: ReadonlyArray<Event>): Got => ({
  status: 200,
  headers: new Headers(),
  text: events
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event).replace('"store":false', '"store":true')}\n\n`)
    .join(""),
})

const other = "other"

const begin = Effect.fnUntraced(function* (client: Client, lane: string | undefined, mode: Cell["mode"]) {
  const named = lane === undefined ? {} : { stream_id: lane }
  const first: JsonObject = { store: false, input: [user(questions[0])], ...named }
  if (mode === "first") return { request: first, turn: 0 }
  const before = (yield* ending(yield* sent(client, first), lane, [])).at(-1) as Event
  assert.strictEqual(before.type, "response.completed")
  const input =
    mode === "history" ? [user(questions[0]), ...outputOf(before), user(questions[1])] : [user(questions[1])]
  const chain = mode === "history" ? {} : { previous_response_id: idOf(before) }
  return { request: { store: false, input, ...chain, ...named }, turn: 1 }
})

const sent = (client: Client, request: JsonObject) => Effect.as(client.send(request), client)

/** The other lane's turn, which the simulator holds in the middle. */
const heldBeside = Effect.fnUntraced(function* (client: Client, seen: Array<Event>) {
  const simulator = yield* Simulator
  const earlier = simulator.turns.length
  yield* simulator.failNext({ _tag: "Hold", at: 8 })
  yield* client.send({ store: false, input: [user(questions[0])], stream_id: other })
  yield* simulator.until(({ turns }) => turns[earlier]?.status === "running")
  while (seen.length < 8) seen.push(yield* client.next)
})

const check = Effect.fnUntraced(function* (wanted: Cell, right: ReadonlyArray<ReadonlyArray<JsonObject>>) {
  const { beside, kind, mode } = wanted
  const simulator = yield* Simulator
  yield* simulator.reset
  // What was learned of the upstream's limit is forgotten by then.
  if (kind.name.includes("1009")) yield* TestClock.adjust("1 hour")
  const client = yield* socket({ "session-id": nameOf(wanted) })
  const lane = beside ? "a" : undefined
  const { request, turn } = yield* begin(client, lane, mode)
  const others: Array<Event> = []
  if (beside) yield* heldBeside(client, others)
  const before = simulator.counters.executions
  const earlier = simulator.turns.length
  yield* simulator.failNext(kind.fault(wanted.at))
  const arrived = ({ counters, turns }: SimulatorService) => counters.unread > 0 || turns.length > earlier
  const asking = Effect.flatMap(sent(client, request), (client) => ending(client, lane, others))
  const events = yield* kind.silent === true ? driven(asking, simulator.until(arrived)) : asking
  const last = events.at(-1) as Event
  if (last.type === "error") errorIn({ ...last })
  const how = endingOf(gotOf(events), true, right[turn] ?? [])
  const runs = simulator.counters.executions - before
  const ends = [expected(wanted), ...(mode === "first" ? [ofAnother(wanted)] : [])]
  assert.deepInclude(ends, [how, runs], JSON.stringify(last))

  if (beside) {
    yield* simulator.release
    while (others.at(-1)?.type !== "response.completed") {
      const event = yield* client.next
      assert.strictEqual(event.stream_id, other)
      others.push(event)
    }
    const unnamed = others.map(withoutLane)
    assert.strictEqual(endingOf(gotOf(unnamed), true, right[0] ?? []), "answer", "the other lane")
  }
  const next = yield* ending(yield* sent(client, { store: false, input: [user(questions[0])] }), undefined, [])
  assert.strictEqual(endingOf(gotOf(next), true, right[0] ?? []), "answer", "afterwards")
  yield* client.close
  yield* client.closed
  yield* settled()
}, Effect.scoped)

const settings = {
  maxConnections: 16,
  firstEventTimeout: 5_000,
  eventTimeout: 8_000,
  turnTimeout: 60_000,
  pingInterval: 3_600_000,
}

describe("Faults under a client's socket", () => {
  for (const kind of kinds) {
    it.effect(`${kind.name} ends every turn in the right answer or one error frame`, () =>
      Effect.gen(function* () {
        const right = yield* reference(true)
        for (const wanted of sample(cellsOf(kind))) yield* cell(nameOf(wanted), check(wanted, right))
      }).pipe(Effect.provide(proxied(settings))),
    )
  }
})

interface Departure {
  readonly at: number
  readonly mode: Cell["mode"]
  readonly beside: boolean
  readonly how: "close" | "abort"
}

const departures: ReadonlyArray<Departure> = modes.flatMap((mode) =>
  [false, true].flatMap((beside) =>
    (["close", "abort"] as const).flatMap((how) =>
      Array.from({ length: afterTerminal + 1 }, (_, at): Departure => ({ at, mode, beside, how })),
    ),
  ),
)

const leaves = Effect.fnUntraced(function* (
  { at, beside, how, mode }: Departure,
  right: ReadonlyArray<ReadonlyArray<JsonObject>>,
) {
  const simulator = yield* Simulator
  yield* simulator.reset
  const lane = beside ? "a" : undefined
  const client = yield* socket({ "session-id": `${how} ${at} ${mode} ${beside}` })
  const { request } = yield* begin(client, lane, mode)
  if (beside) yield* heldBeside(client, [])
  const earlier = simulator.turns.length
  yield* simulator.failNext({ _tag: "Hold", at })
  yield* client.send(request)
  yield* simulator.until(({ turns }) => turns.length > earlier && turns[earlier]?.status !== "queued")
  yield* how === "close" ? client.close : client.terminate
  yield* eventually(
    () => simulator.turns.every(({ status }) => status !== "running" && status !== "queued"),
    () => simulator.turns.map(({ status }) => status).join(),
  )
  yield* settled()
  const next = yield* socket()
  const events = yield* ending(yield* sent(next, { store: false, input: [user(questions[0])] }), undefined, [])
  assert.strictEqual(endingOf(gotOf(events), true, right[0] ?? []), "answer", "afterwards")
}, Effect.scoped)

describe("Clients that vanish", () => {
  it.effect("at any frame, on any lane, leave nothing behind", () =>
    Effect.gen(function* () {
      const right = yield* reference(true)
      for (const departure of sample(departures)) yield* cell(JSON.stringify(departure), leaves(departure, right))
    }).pipe(Effect.provide(proxied(settings))),
  )

  it("and their faults are in more than 2,000 cells", () => {
    assert.isAbove(kinds.flatMap(cellsOf).length + departures.length, 2_000)
  })
})
