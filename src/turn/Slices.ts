/**
 * Runs work that comes in steps so that nobody else waits for it: some of it, then whatever else the event loop has.
 *
 * All that runs at one time takes turns, and together has one slice in each round of the loop, so that many large bodies
 * hold up other turns no longer than one. What has a single step is done at once, for the price of a call.
 */
import { Effect } from "effect"
import type { Steps } from "../wire/Steps.ts"

/** How long one slice lasts, in milliseconds; the step in which this time ends is done to its end. */
const slice = 2

interface Job {
  /** Makes one step; true: it was the last. */
  readonly step: () => boolean
}

const jobs: Array<Job> = []
let scheduled = false

const schedule = (): void => {
  if (scheduled || jobs.length === 0) return
  scheduled = true
  setImmediate(run)
}

const run = (): void => {
  scheduled = false
  const job = jobs.shift()
  if (job !== undefined && !isDoneWithin(job)) jobs.push(job)
  schedule()
}

const isDoneWithin = ({ step }: Job): boolean => {
  const until = performance.now() + slice
  do if (step()) return true
  while (performance.now() < until)
  return false
}

/** Does the work; a step of it that throws is a defect. Interrupted, it is not gone on with. */
export const inSlices = <A>(steps: Steps<A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    const first = steps.next()
    if (first.done === true) return Effect.succeed(first.value)
    return Effect.callback<A>((resume) => {
      const job: Job = {
        step: () => {
          try {
            const next = steps.next()
            if (next.done === true) resume(Effect.succeed(next.value))
            return next.done === true
          } catch (error) {
            resume(Effect.die(error))
            return true
          }
        },
      }
      jobs.push(job)
      schedule()
      return Effect.sync(() => {
        const index = jobs.indexOf(job)
        if (index >= 0) jobs.splice(index, 1)
      })
    })
  })
