/**
 * Bounds how many lines of one kind the log gets: 100 a second, and then one that says how many more there were.
 */
import { Clock, Effect } from "effect"
import { monotonicMillisOf } from "../Elapsed.ts"

const perSecond = 100
const second = 1000

interface Window {
  since: number
  lines: number
  /** How many lines were not written; their summary is on its way. */
  left: number
}

/** Writes a line of a kind, or counts it. There must be few kinds. Summaries come for as long as the current scope lasts. */
type Bounded = (kind: string, line: Effect.Effect<void>) => Effect.Effect<void>

export const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const windows = new Map<string, Window>()

  const summary = (kind: string, window: Window) =>
    Effect.suspend(() => {
      const { left } = window
      window.left = 0
      return Effect.annotateLogs(Effect.logWarning("lines were left out of the log"), { kind, lines: left })
    })

  const bounded: Bounded = (kind, line) =>
    Effect.suspend(() => {
      const now = monotonicMillisOf(clock)
      let window = windows.get(kind)
      if (window === undefined) windows.set(kind, (window = { since: now, lines: 0, left: 0 }))
      if (now - window.since >= second) {
        window.since = now
        window.lines = 0
      }
      if (window.lines < perSecond) {
        window.lines++
        return line
      }
      window.left++
      if (window.left > 1) return Effect.void
      const later = Effect.andThen(Effect.sleep(window.since + second - now), summary(kind, window))
      return Effect.asVoid(Effect.forkIn(later, scope))
    })
  return bounded
})
