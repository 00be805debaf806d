/**
 * Knows what goes on now and what went on lately: for the page, the terminal, and whoever asks why a turn went as it did.
 *
 * Everything is bounded: the last thousand turns, sixty minutes, and sums. A turn costs it an entry and a few additions,
 * and a reader a look over the connections once a second.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { Settings } from "../../config/Settings.ts"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import type { TurnRequest } from "../../turn/Executor.ts"
import type { ReadConnections } from "../../turn/record/Observing.ts"
import { Observing } from "../../turn/record/Observing.ts"
import type { RunningTurn } from "../../turn/record/TurnRecord.ts"
import { modelOf } from "../../turn/TurnReport.ts"
import type { Counts, Frame, ShownTurn, ShownUpstream, View } from "./Frame.ts"
import { mostRunning, mostTurns, rowsPerPage } from "./Frame.ts"
import { Hour } from "./Hour.ts"
import { Ring } from "./Ring.ts"
import { shownSettings } from "./ShownSettings.ts"
import { Tally } from "./Tally.ts"
import type { TurnEntry } from "./TurnEntry.ts"
import { entryOf, label } from "./TurnEntry.ts"

/** So many turns are remembered. */
const remembered = 1000

/** The upstreams in force, which a reload may change. */
export const UpstreamsInForce = Context.Reference<() => ReadonlyArray<ShownUpstream>>("respool/observe/Upstreams", {
  defaultValue: () => () => [],
})

export class Overview extends Context.Service<
  Overview,
  {
    /** The turns of the last thousand that were asked for under this id, or have it themselves, the latest first. */
    readonly turnsOf: (id: string) => ReadonlyArray<TurnEntry>
    /** Gives a reader's next frame with each call. */
    readonly reader: (view: View) => () => Frame
  }
>()("respool/observe/Overview") {
  /** Listens for as long as its scope. */
  static readonly layerNoDeps = Layer.effect(
    Overview,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const observing = yield* Observing
  const settings = shownSettings(yield* Settings)
  const upstreams = yield* UpstreamsInForce
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)

  const ring = new Ring<TurnEntry>(remembered)
  const hour = new Hour()
  const tally = new Tally()
  const running = new Map<TurnRequest, RunningTurn>()
  const gauges = new Map<string, () => number>()
  let connections: ReadConnections = () => ({ fitting: 0, rows: [] })

  yield* observing.listen({
    turnStarted: (turn) => void running.set(turn.turn, turn),
    turnEnded: (record) => {
      const at = now()
      running.delete(record.turn)
      ring.add(entryOf(record, ring.given + 1, at))
      hour.count(record, at)
      tally.count(record)
    },
    evicted: ({ reason }) => {
      hour.evicted(reason, now())
      tally.evicted(reason)
    },
    forwarded: ({ outcome, takenMs }) => tally.forwarded(outcome, takenMs),
    takenOver: ({ reason }) => tally.takenOver(reason),
    offered: ({ labels, name, read }) => void gauges.set([name, ...Object.values(labels)].join("_"), read),
    connectionsOffered: (read) => {
      connections = read
    },
  })

  const shownRunning = (at: number): ReadonlyArray<ShownTurn> => {
    const shown: Array<ShownTurn> = []
    // Those that began first come first.
    for (const { events, turn, way } of running.values()) {
      if (shown.length === mostRunning) break
      shown.push({
        turn: turn.turnId,
        session: label(turn.session?.name),
        model: modelOf(turn.body),
        transport: way?.transport,
        input: way?.input,
        reason: way?.reason,
        connectionId: way?.connectionId,
        events,
        age: at - turn.startedAt,
      })
    }
    return shown
  }

  const page = ({ from, state }: View): Frame["connections"] => {
    const { fitting, rows } = connections({ from, atMost: rowsPerPage, state })
    return { from, fitting, rows: rows.map((row) => ({ ...row, session: label(row.session) })) }
  }

  const reader = (view: View) => {
    let toldTurns = Math.max(0, ring.given - mostTurns)
    let toldMinute = 0
    let isFirst = true
    return (): Frame => {
      const at = now()
      const turns = [...ring.latest(Math.min(ring.given - toldTurns, mostTurns))].toReversed()
      const minutes = hour.since(toldMinute, at)
      const read: Counts = Object.fromEntries([...gauges].map(([name, read]) => [name, read()]))
      const frame: Frame = {
        now: at,
        up: performance.now(),
        totals: tally.totals,
        gauges: { ...read, resident_memory_bytes: process.memoryUsage.rss() },
        minutes,
        turns,
        running: shownRunning(at),
        connections: page(view),
        upstreams: upstreams().map(({ models, name, transport, url }) => ({ name, url, transport, models })),
        ...(isFirst ? { settings } : {}),
      }
      toldTurns = ring.given
      // The minute that goes on is told again.
      toldMinute = minutes.at(-1)?.minute ?? toldMinute
      isFirst = false
      return frame
    }
  }

  return Overview.of({
    turnsOf: (id) => [...ring.latest()].filter(({ request, turn }) => request === id || turn === id),
    reader,
  })
})
