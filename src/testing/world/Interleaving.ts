/**
 * Controls the scheduler of fibers: a seed decides which of the ready fibers runs next, and the schedule how many
 * slices run before the next step.
 *
 * The same seed gives the same interleaving. Between steps it runs everything that is ready, as any scheduler does.
 * Effect's schedulers run fibers in the order in which they became ready, so a mistake that needs another order would
 * never show.
 */
import { Effect, type Scheduler } from "effect"

/** A small generator (mulberry32), so that an interleaving depends on its seed alone. */
const randomFrom = (seed: number) => {
  let state = seed | 0
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

export interface Interleaving {
  readonly scheduler: Scheduler.Scheduler
  /** Runs at most so many slices now. */
  readonly run: (slices: number) => void
  /** Lets everything run until nothing is ready; microtasks run in between. */
  readonly settle: Effect.Effect<void>
}

/** `parent` runs what is ready and `run` has not run. */
export const make = (parent: Scheduler.Scheduler, seed: number): Interleaving => {
  const random = randomFrom(seed)
  const ready: Array<() => void> = []
  const outer = parent.makeDispatcher()
  let awaited = false

  const run = (slices: number) => {
    for (let i = 0; i < slices && ready.length > 0; i++) {
      const task = seed === 0 || ready.length === 1 ? ready.shift() : ready.splice(random(ready.length), 1)[0]
      task?.()
    }
  }
  const drain = () => {
    awaited = false
    run(Number.POSITIVE_INFINITY)
  }

  const settle: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(Effect.yieldNow, () => (ready.length === 0 ? Effect.void : settle)),
  )

  return {
    run,
    settle,
    scheduler: {
      executionMode: parent.executionMode,
      shouldYield: (fiber) => parent.shouldYield(fiber),
      makeDispatcher: () => ({
        scheduleTask: (task) => {
          ready.push(task)
          if (awaited) return
          awaited = true
          outer.scheduleTask(drain, 0)
        },
        flush: () => run(Number.POSITIVE_INFINITY),
      }),
    },
  }
}
