/**
 * Lets connections take turns at what they have read and not yet handed on, for a bounded time in each round of the event
 * loop. Between two rounds it accepts requests, begins turns, and reads what came on connections that hold nothing.
 *
 * Measured with 32 streams that come as fast as they are taken (test/bench/README.md): without it a new turn waits for
 * some thousand events of the others in each round of the loop that its beginning takes.
 */
import { setImmediate } from "node:timers"

/** In milliseconds. */
const round = 2

export interface Reading {
  /** Hands on one slice. True: more waits. */
  readonly slice: () => boolean
}

const waiting: Array<Reading> = []
let scheduled = false

const run = () => {
  const until = performance.now() + round
  do {
    const next = waiting.shift()
    if (next === undefined) break
    if (next.slice()) waiting.push(next)
  } while (performance.now() < until)
  scheduled = waiting.length > 0
  if (scheduled) setImmediate(run)
}

/** Asks `reading` for slices, from the next round on. It must not be waiting already. */
export const takeTurns = (reading: Reading): void => {
  waiting.push(reading)
  if (scheduled) return
  scheduled = true
  setImmediate(run)
}
