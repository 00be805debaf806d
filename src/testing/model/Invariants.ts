/**
 * Names the checks that hold for any pool of connections after every step, and need no model.
 *
 * A check compares what is seen now with what was seen before, and says what contradicts it; undefined: nothing does.
 */
import type { Observation, TurnRecord } from "../world/Observation.ts"
import { alive, ofScope } from "../world/Observation.ts"
import type { Rules } from "./Rules.ts"
import { scopeOf } from "../schedule/Schedule.ts"

export interface Invariant {
  readonly name: string
  readonly check: (seen: Observation, before: Observation, rules: Partial<Rules>) => string | undefined
}

const leased = ({ turns }: Observation) => turns.filter(({ phase }) => phase === "Leased")

/** Turns that were running before and have ended since. */
const ended = (seen: Observation, before: Observation): ReadonlyArray<TurnRecord> =>
  seen.turns.filter((turn) => {
    const earlier = before.turns.find((other) => other.turn === turn.turn)
    return turn.phase === "Ended" && earlier?.phase === "Leased" && earlier.connection === turn.connection
  })

export const oneLeasePerConnection: Invariant = {
  name: "at most one lease per connection",
  check: (seen) => {
    const holders = new Map<number | undefined, number>()
    for (const { connection, turn } of leased(seen)) {
      const other = holders.get(connection)
      if (other !== undefined) return `turns ${other} and ${turn} both have connection ${connection}`
      holders.set(connection, turn)
    }
    return undefined
  },
}

export const leasesAreOpen: Invariant = {
  name: "a leased connection is open, and of the turn's key",
  check: (seen) => {
    for (const { connection, key, turn } of leased(seen)) {
      const record = seen.upstream.find(({ id }) => id === connection)
      if (record?.phase !== "Open") return `turn ${turn} has connection ${connection}, which is ${record?.phase}`
      if (record.key !== key) return `turn ${turn} of ${key} has connection ${connection} of ${record.key}`
    }
    return undefined
  },
}

export const closedOnce: Invariant = {
  name: "every acquired connection is closed exactly once",
  check: (seen) => {
    for (const { closes, id, openedAt } of seen.upstream) {
      if (closes > 1) return `connection ${id} was closed ${closes} times`
      if (seen.finished && openedAt !== undefined && closes === 0) return `connection ${id} was never closed`
    }
    return undefined
  },
}

export const withinLimits: Invariant = {
  name: "caps are never exceeded, also while dialling",
  check: (seen) => {
    const { perLine, perScope, total } = seen.limits
    const now = alive(seen)
    if (now.length > total) return `${now.length} connections, the cap is ${total}`
    for (const { key } of now) {
      const count = ofScope(now, key).length
      if (count > perScope) return `${count} connections of scope ${scopeOf(key)}, the cap is ${perScope}`
    }
    const lines = new Map<string, number>()
    for (const { connection, line } of seen.pool.connections ?? []) {
      const record = now.find(({ id }) => id === connection)
      if (record === undefined || line === undefined) continue
      const name = `${line} of scope ${scopeOf(record.key)}`
      const count = (lines.get(name) ?? 0) + 1
      lines.set(name, count)
      if (count > perLine) return `${count} connections of line ${name}, the cap is ${perLine}`
    }
    return undefined
  },
}

export const noLeaseAfterShutdown: Invariant = {
  name: "no lease after shutdown",
  check: (seen) => {
    const late = seen.turns.find(({ leasedLate }) => leasedLate)
    return late === undefined ? undefined : `turn ${late.turn} got connection ${late.connection} after the shutdown`
  },
}

export const noLeasePastAge: Invariant = {
  name: "no turn starts on a connection past its age",
  check: (seen, _, { maxAge = Infinity }) => {
    for (const { connection, leasedAt, turn } of seen.turns) {
      const openedAt = seen.upstream.find(({ id }) => id === connection)?.openedAt
      if (leasedAt === undefined || openedAt === undefined || leasedAt - openedAt < maxAge) continue
      return `turn ${turn} started on connection ${connection} at the age of ${(leasedAt - openedAt) / 1000}s`
    }
    return undefined
  },
}

export const brokenIsEvicted: Invariant = {
  name: "an interrupted or failed lease is evicted",
  check: (seen, before) => {
    for (const { connection, end, turn } of ended(seen, before)) {
      if (end !== "cancelled" && end !== "failed") continue
      const record = seen.upstream.find(({ id }) => id === connection)
      if (record?.closes === 0) return `connection ${connection} is kept after turn ${turn}, which was ${end}`
    }
    return undefined
  },
}

export const completedIsIdle: Invariant = {
  name: "a completed lease is idle with its checkpoint",
  check: (seen, before, { remembers = false }) => {
    if (seen.pool.connections === undefined || seen.steps.length > 1) return undefined
    for (const { connection, end, turn } of ended(seen, before)) {
      if (end !== "completed" || leased(seen).some((other) => other.connection === connection)) continue
      const reported = seen.pool.connections.find((other) => other.connection === connection)
      // A turn of the same scope that waited may have needed the connection's capacity.
      if (reported === undefined && seen.upstream.length > before.upstream.length) continue
      if (reported?.phase !== "Idle")
        return `connection ${connection} is ${reported?.phase ?? "gone"} after turn ${turn}`
      if (remembers && reported.checkpoint !== turn) return `connection ${connection} does not remember turn ${turn}`
    }
    return undefined
  },
}

export const keepsWhatFits: Invariant = {
  name: "at a cap nothing is closed while what is idle could be used",
  check: (seen, before, { idleTtl = Infinity, maxAge = Infinity, takesOver = false }) => {
    const [step, ...others] = seen.steps
    const waiting = before.turns.some(({ phase }) => phase === "Pending")
    if (!takesOver || step?._tag !== "Lease" || others.length > 0 || waiting) return undefined
    const { key, line } = step
    const idle = (before.pool.connections ?? []).flatMap(({ connection, phase }) => {
      const was = before.upstream.find(({ id }) => id === connection)
      const young = was?.openedAt !== undefined && seen.now - was.openedAt < Math.min(idleTtl, maxAge)
      return phase === "Idle" && young ? [was] : []
    })
    const closed = idle.filter(({ id }) => (seen.upstream.find((record) => record.id === id)?.closes ?? 0) > 0)
    // A line has a cap of its own, under which what is idle of another line is of no use.
    const counted = line === undefined || seen.limits.perLine >= seen.limits.perScope
    const useful = idle.find((record) => record.key === key && (counted || closed.includes(record)))
    return useful === undefined || closed.length === 0
      ? undefined
      : `connection ${closed[0]?.id} was closed for turn ${step.turn} of ${key}, which could have had connection ${useful.id}`
  },
}

export const noForgottenWaiter: Invariant = {
  name: "a waiter is never forgotten",
  check: (seen) => {
    if (seen.shutdown) {
      const left = seen.turns.find(({ phase }) => phase === "Pending")
      return left === undefined ? undefined : `turn ${left.turn} still waits after the shutdown`
    }
    const now = alive(seen)
    if (now.length >= seen.limits.total) return undefined
    for (const { key, turn } of seen.turns.filter(({ phase }) => phase === "Pending")) {
      const mine = ofScope(now, key)
      if (mine.length >= seen.limits.perScope) continue
      const sameScope = seen.turns.filter((other) => other.phase === "Pending" && scopeOf(other.key) === scopeOf(key))
      // A line has a cap of its own, for which only the pool can count.
      const free = sameScope.filter(({ line }) => line === undefined || seen.limits.perLine >= seen.limits.perScope)
      const dialling = mine.filter(({ phase }) => phase === "Dialling").length
      if (free.length > dialling) return `turn ${turn} waits, and there is room`
    }
    return undefined
  },
}

export const nothingLeft: Invariant = {
  name: "nothing is left",
  check: (seen) => {
    if (!seen.finished) return undefined
    const open = alive(seen)[0]
    if (open !== undefined) return `connection ${open.id} is ${open.phase}`
    const running = seen.turns.find(({ phase }) => phase !== "Ended")
    if (running !== undefined) return `turn ${running.turn} is ${running.phase}`
    const { connections = [], entries = 0, waiting = 0 } = seen.pool
    if (connections.length > 0) return `the pool still has connection ${connections[0]?.connection}`
    if (waiting > 0) return `the pool counts ${waiting} waiting`
    if (entries > 0) return `the pool keeps ${entries} entries`
    if (seen.timers > 0) return `${seen.timers} timers are set`
    return seen.fibers > 0 ? `${seen.fibers} fibers still run` : undefined
  },
}

/** All of them, the most telling first. */
export const invariants: ReadonlyArray<Invariant> = [
  oneLeasePerConnection,
  closedOnce,
  withinLimits,
  noLeaseAfterShutdown,
  noLeasePastAge,
  brokenIsEvicted,
  completedIsIdle,
  keepsWhatFits,
  leasesAreOpen,
  noForgottenWaiter,
  nothingLeft,
]
