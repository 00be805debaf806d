/**
 * Clients that do with their socket what no right client does, at every event of a turn and on any lane: what is odd but
 * allowed gets the right answer, all else ends the socket, nothing is left, and a neighbour's turn goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import type { ClientFault, ClientOutcome } from "../../../src/simulator/Simulator.ts"
import { SimulatedClient, Simulator, violations } from "../../../src/simulator/Simulator.ts"
import { eventually } from "../../support/EventLoop.ts"
import type { Got } from "../../support/Faulty.ts"
import { afterTerminal, cell, endingOf, proxied, questions, reference, settled } from "../../support/Faulty.ts"
import { user } from "../../support/Items.ts"
import { sample } from "../../support/Runs.ts"
import { keyed, socket } from "../../support/SocketClient.ts"
import type { Client, Event } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

interface Misconduct {
  readonly name: string
  readonly fault: ClientFault
  /** What is allowed, if odd, gets its answer; else the connection ends. */
  readonly isAllowed: boolean
}

const misconducts: ReadonlyArray<Misconduct> = [
  ...[1, 10, 126, 1_000].flatMap((size) =>
    [false, true].map((pings): Misconduct => ({
      name: `fragments of ${size} bytes${pings ? " with pings between" : ""}`,
      fault: { _tag: "Fragments", size, pings },
      isAllowed: true,
    })),
  ),
  ...[0, 1, 2, 5, 7, 20].flatMap((bytes) =>
    (["end", "reset"] as const).map((how): Misconduct => ({
      name: `${how} behind ${bytes} bytes of a frame`,
      fault: { _tag: "HalfFrame", bytes, how },
      isAllowed: false,
    })),
  ),
  ...Array.from({ length: afterTerminal }, (_, at) => at).flatMap((at): ReadonlyArray<Misconduct> => [
    { name: `100 pings at ${at}`, fault: { _tag: "Pings", at, count: 100 }, isAllowed: true },
    { name: `nothing read from ${at} on, for a while`, fault: { _tag: "StopReading", at }, isAllowed: true },
    ...(["close", "end", "reset"] as const).map((how): Misconduct => ({
      name: `${how} at ${at}`,
      fault: { _tag: "Vanish", at, how },
      isAllowed: false,
    })),
    ...Object.entries(violations).map(([what, bytes]): Misconduct => ({
      name: `${what} at ${at}`,
      fault: { _tag: "Raw", at, bytes },
      isAllowed: false,
    })),
  ]),
]

interface Cell {
  readonly misconduct: Misconduct
  readonly lane: string | undefined
}

const cells = misconducts.flatMap((misconduct) => [undefined, "a"].map((lane): Cell => ({ misconduct, lane })))

const gotOf = (events: ReadonlyArray<JsonObject>): Got => ({
  status: 200,
  headers: new Headers(),
  text: events
    .map((event) => {
      const data = JSON.stringify({ ...event, stream_id: undefined }).replace('"store":false', '"store":true')
      return `event: ${String(event["type"])}\ndata: ${data}\n\n`
    })
    .join(""),
})

/** A turn on a neighbour's socket, which the simulator holds in its middle. */
const neighbour = Effect.fnUntraced(function* (seen: Array<Event>) {
  const simulator = yield* Simulator
  const client = yield* socket({ "session-id": "neighbour" })
  yield* simulator.failNext({ _tag: "Hold", at: 8 })
  yield* client.send({ store: false, input: [user(questions[0])] })
  while (seen.length < 8) seen.push(yield* client.next)
  return client
})

const finished = Effect.fnUntraced(function* (client: Client, seen: Array<Event>) {
  while (seen.at(-1)?.type !== "response.completed") seen.push(yield* client.next)
})

const check = Effect.fnUntraced(function* (
  { lane, misconduct: { fault, isAllowed } }: Cell,
  right: ReadonlyArray<JsonObject>,
) {
  const simulator = yield* Simulator
  const { url } = yield* TestProxy
  yield* simulator.reset
  const seen: Array<Event> = []
  const other = yield* neighbour(seen)
  const client = yield* SimulatedClient.open(url, keyed())
  const request = {
    model: "gpt-5.5",
    store: false,
    input: [user(questions[0])],
    ...(lane === undefined ? {} : { stream_id: lane }),
  }
  const asking = yield* Effect.forkChild(client.ask(request, fault))
  if (fault._tag === "StopReading") {
    yield* eventually(
      () => simulator.turns[1]?.status === "completed",
      () => `the turn is ${simulator.turns[1]?.status}`,
    )
    yield* client.readOn
  }
  const outcome: ClientOutcome = yield* Fiber.join(asking)
  if (isAllowed || outcome.ended === "answered") {
    assert.strictEqual(outcome.ended, "answered")
    assert.strictEqual(endingOf(gotOf(outcome.events), true, right), "answer")
  }
  if (!isAllowed) {
    yield* client.gone
    yield* eventually(
      () => simulator.turns.slice(1).every(({ status }) => status !== "running" && status !== "queued"),
      () => simulator.turns.map(({ status }) => status).join(),
    )
  }
  if (fault._tag === "HalfFrame") assert.strictEqual(simulator.turns.length, 1)
  yield* simulator.release
  yield* finished(other, seen)
  assert.strictEqual(endingOf(gotOf(seen), true, right), "answer", "the neighbour")
  yield* other.close
  yield* other.closed
  yield* settled()
}, Effect.scoped)

/** Each of so many tests has its share of the cells. */
const parts = 8

describe("Clients that misbehave on their socket", () => {
  for (let part = 0; part < parts; part++) {
    it.effect(`get what is theirs or are ended, and cost a neighbour nothing, ${part + 1} of ${parts}`, () =>
      Effect.gen(function* () {
        const [right = []] = yield* reference(true)
        for (const wanted of sample(cells.filter((_, index) => index % parts === part))) {
          yield* cell(`${wanted.misconduct.name}, lane ${wanted.lane}`, check(wanted, right))
        }
      }).pipe(Effect.provide(proxied({ maxConnections: 16, pingInterval: 3_600_000 }))),
    )
  }

  it("do so in more than 400 cells", () => {
    assert.isAbove(cells.length, 400)
  })
})
