/**
 * Every kind of fault at every frame boundary, for first and later turns, streaming and not, over both transports: the
 * client sees the whole right answer once or one clear error, and no turn runs more often than it may.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { SimulatorService } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Cell, Kind } from "../support/FaultKinds.ts"
import { allowed, kinds } from "../support/FaultKinds.ts"
import type { AnyFault, Got } from "../support/Faulty.ts"
import {
  afterTerminal,
  ask,
  cell,
  driven,
  endingOf,
  extended,
  firstContent,
  proxied,
  questions,
  reference,
  settled,
  terminal,
} from "../support/Faulty.ts"
import { user } from "../support/Items.ts"
import { sample } from "../support/Runs.ts"

/** Over HTTP what is broken off may be lost with it, so the break waits until the client has read what comes before. */
const strike = (wanted: Cell): ReadonlyArray<AnyFault> => {
  const fault = wanted.kind.fault(wanted.at)
  return waits(wanted) ? [{ _tag: "Hold", at: wanted.at }, fault] : [fault]
}

const waits = ({ at, http, kind, stream }: Cell) =>
  http && stream && at > firstContent && kind.mayHaveRun && kind.silent !== true

const check = Effect.fnUntraced(function* (wanted: Cell, right: ReadonlyArray<ReadonlyArray<JsonObject>>) {
  const { kind, later, stream } = wanted
  const simulator = yield* Simulator
  const { url } = yield* TestProxy
  const session = nameOf(wanted)
  yield* simulator.reset
  // What was learned of the upstream's limit is forgotten by then.
  if (kind.name.includes("1009")) yield* TestClock.adjust("1 hour")
  const turn = later ? 1 : 0
  let input: ReadonlyArray<JsonObject> = [user(questions[0])]
  if (later) {
    const got = yield* ask({ url, stream, session, input })
    assert.strictEqual(endingOf(got, stream, right[0] ?? []), "answer", "the turn before")
    input = extended(input, got, stream, questions[1])
  }
  const before = simulator.counters.executions
  yield* simulator.failNext(...strike(wanted))
  if (wanted.twice) yield* simulator.failNext(...strike(wanted))
  const { turns } = simulator
  const earlier = turns.length
  // In time that passes before the request has arrived nothing could run.
  const arrived = ({ counters }: SimulatorService) => counters.unread > 0 || turns.length > earlier
  const releasing = yield* Effect.map(Effect.context<never>(), Effect.runForkWith)
  const seen = (text: string) => {
    if (text.split("\n\n").length - 1 >= wanted.at) releasing(simulator.release)
  }
  const asking = ask({ url, stream, session, input, ...(waits(wanted) ? { seen } : {}) })
  const got: Got = yield* kind.silent === true ? driven(asking, simulator.until(arrived)) : asking
  const ending = endingOf(got, stream, right[turn] ?? [])
  const runs = simulator.counters.executions - before
  const reason = got.headers.get("x-respool-reason") ?? ""
  assert.deepStrictEqual([ending, runs], allowed(wanted, reason), `how it ends, and runs: ${got.status} ${got.text}`)
  if (kind.mayHaveRun && got.status >= 400)
    assert.strictEqual(got.headers.get("x-should-retry"), "false", "x-should-retry")
  if (kind.stray === true && !wanted.http && (wanted.at === afterTerminal || !kind.placed)) {
    const ordinal = turns.at(-1)?.connection
    yield* simulator.until(({ connections }) => connections.some((one) => one.ordinal === ordinal && !one.open))
  }
  yield* settled()

  const next = ending === "answer" && kind.name !== "terminal without an id"
  const normal = yield* ask({
    url,
    stream,
    session,
    input: next ? extended(input, got, stream, questions[turn + 1] ?? "") : [user(questions[0])],
  })
  assert.strictEqual(endingOf(normal, stream, right[next ? turn + 1 : 0] ?? []), "answer", `afterwards: ${normal.text}`)
  assert.strictEqual(simulator.counters.executions - before, runs + 1, "runs afterwards")
  yield* settled()
  // From then on sockets are tried again.
  if (reason === "sockets_closed") yield* TestClock.adjust("5 minutes")
})

const nameOf = ({ at, http, kind, later, stream, strict, twice }: Cell) =>
  [
    kind.name,
    kind.placed ? `at ${at}` : "",
    twice ? "twice" : "",
    later ? "later turn" : "first turn",
    stream ? "stream" : "JSON",
    http ? "http" : strict ? "strict" : "standard",
  ]
    .filter((part) => part !== "")
    .join(", ")

/** Where a second fault meets the second attempt; `memory lost` can't, since that attempt needs no memory. */
const isRetried = (wanted: Cell) =>
  allowed(wanted)[0] === "answer" && allowed({ ...wanted, twice: true })[0] === "error"

/** No event comes after the terminal one that a turn could number. */
const places = ({ name, placed }: Kind) =>
  Array.from({ length: placed ? (name === "unknown event" ? afterTerminal : afterTerminal + 1) : 1 }, (_, at) => at)

/** Every cell of a kind. */
const cells = (kind: Kind, stream: boolean, way: Pick<Cell, "strict" | "http">): ReadonlyArray<Cell> =>
  [false, true]
    .flatMap((later) => places(kind).map((at): Cell => ({ ...way, kind, at, later, stream, twice: false })))
    .flatMap((wanted) => (isRetried(wanted) ? [wanted, { ...wanted, twice: true }] : [wanted]))

const group = (title: string, strict: boolean, http: boolean, chosen: ReadonlyArray<Kind>) =>
  describe(`Faults ${title}`, () => {
    for (const kind of chosen) {
      it.effect(`${kind.name} ends every turn in the right answer or one error`, () =>
        Effect.gen(function* () {
          for (const stream of [true, false]) {
            const right = yield* reference(stream)
            assert.strictEqual(right[0]?.length, stream ? terminal + 1 : 1)
            for (const wanted of sample(cells(kind, stream, { strict, http })))
              yield* cell(nameOf(wanted), check(wanted, right))
          }
        }).pipe(
          Effect.provide(
            proxied({
              retry: strict ? "strict" : "standard",
              transport: http ? "http" : "auto",
              maxConnections: 8,
              firstEventTimeout: 5_000,
              eventTimeout: 8_000,
              // The one time-out of JSON over HTTP: time passes by the second here, and each costs a round.
              turnTimeout: 60_000,
            }),
          ),
        ),
      )
    }
  })

group("over the socket", false, false, kinds)
// What is never tried again, the setting can't change.
const retried = kinds.filter(({ full, suffix }) => full === "again" || suffix === "again")
group("over the socket where retries are strict", true, false, retried)
const known = kinds.filter(({ http }) => http !== "none")
group("over HTTP", false, true, known)
