/**
 * Says what can be seen after a step: the turns, the upstream's records, and what the pool reports.
 */
import type { PoolReport } from "../PoolUnderTest.ts"
import type { Key, Limits, Step } from "../schedule/Schedule.ts"
import { scopeOf } from "../schedule/Schedule.ts"
import type { ConnectionRecord } from "./ScriptedUpstream.ts"

/** `failed`: refused a connection, lost it, or was failed by the upstream. */
export type TurnEnd = "completed" | "incomplete" | "failed" | "cancelled"

export interface TurnRecord {
  readonly turn: number
  readonly key: Key
  readonly line: number | undefined
  /** `Pending`: it waits, or its connection is being dialled. */
  readonly phase: "Pending" | "Leased" | "Ended"
  /** The connection that the turn has, or had. */
  readonly connection: number | undefined
  /** Milliseconds of the clock. */
  readonly leasedAt: number | undefined
  /** Whether it got its connection after the pool had begun to shut down. */
  readonly leasedLate: boolean
  readonly end: TurnEnd | undefined
}

export interface Observation {
  /** Milliseconds of the clock. */
  readonly now: number
  readonly limits: Limits
  /** The steps since the last observation, which nothing separated. */
  readonly steps: ReadonlyArray<Step>
  readonly shutdown: boolean
  /** The schedule is over, every turn interrupted, the pool's scope closed. */
  readonly finished: boolean
  readonly turns: ReadonlyArray<TurnRecord>
  readonly upstream: ReadonlyArray<ConnectionRecord>
  readonly pool: PoolReport
  /** Fibers that have started and not ended, the pool's own among them. */
  readonly fibers: number
  /** Sleeps on the clock that have not ended. */
  readonly timers: number
}

/** The connections that caps count: dialling, or open and not lost. */
export const alive = ({ upstream }: Observation): ReadonlyArray<ConnectionRecord> =>
  upstream.filter(({ phase }) => phase === "Dialling" || phase === "Open")

export const ofScope = (records: ReadonlyArray<ConnectionRecord>, key: Key): ReadonlyArray<ConnectionRecord> =>
  records.filter((record) => scopeOf(record.key) === scopeOf(key))

/** The observation as a few lines of text, for a failure's message. */
export const show = ({ fibers, now, pool, timers, turns, upstream }: Observation): string => {
  const turn = ({ connection, end, phase, turn }: TurnRecord) =>
    `${turn} ${end ?? phase.toLowerCase()}${connection === undefined ? "" : ` on ${connection}`}`
  const record = ({ closes, id, key, phase }: ConnectionRecord) =>
    `${id} ${key} ${phase.toLowerCase()}${closes > 1 ? ` ${closes} times` : ""}`
  const listed = (items: ReadonlyArray<string>) => (items.length === 0 ? "none" : items.join(", "))
  const lines = [
    `at ${now / 1000}s, ${fibers} fibers, ${timers} timers`,
    `turns: ${listed(turns.map(turn))}`,
    `upstream: ${listed(upstream.map(record))}`,
  ]
  if (pool.connections !== undefined) {
    const connections = pool.connections.map(
      ({ checkpoint, connection, phase }) =>
        `${connection} ${phase.toLowerCase()}${checkpoint === undefined ? "" : ` after turn ${checkpoint}`}`,
    )
    lines.push(`pool: ${listed(connections)}; ${pool.waiting ?? 0} waiting, ${pool.entries ?? 0} entries`)
  }
  return lines.join("\n")
}
