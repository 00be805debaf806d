/**
 * Measures how late the event loop is: how much later than asked a timer of the platform comes.
 */
import { Effect } from "effect"
import { setInterval } from "node:timers/promises"

const every = 100
/** So many looks are remembered: 15 seconds. */
const remembered = 150

const start = () => {
  const lags = new Float64Array(remembered)
  const stop = new AbortController()
  const look = async () => {
    let index = 0
    let last = performance.now()
    // The platform's own timer, since it is what is measured.
    for await (const _ of setInterval(every, undefined, { ref: false, signal: stop.signal })) {
      const now = performance.now()
      lags[index] = Math.max(0, now - last - every) / 1000
      index = (index + 1) % remembered
      last = now
    }
  }
  // It ends by the signal alone.
  look().catch(() => {})
  return { longest: () => lags.reduce((longest, lag) => Math.max(longest, lag), 0), stop: () => stop.abort() }
}

/** Reads the longest lag in seconds of the last 15 seconds. It is measured for as long as the current scope lasts. */
export const eventLoopLag = Effect.map(
  Effect.acquireRelease(Effect.sync(start), ({ stop }) => Effect.sync(stop)),
  ({ longest }) => longest,
)
