/**
 * Searches for a schedule that breaks a pool, outside of a test runner.
 */
import { Arbitrary, Effect } from "effect"
import type { ScheduleOptions } from "./schedule/Schedules.ts"
import { schedules, thorough } from "./schedule/Schedules.ts"
import type { LifecycleError, Subject } from "./Verify.ts"
import { verify } from "./Verify.ts"

export interface SearchOptions extends ScheduleOptions {
  readonly runs: number
  /** The same seed gives the same schedules. */
  readonly seed?: string | number
}

/** Fails with the shrunk schedule of the first failure; succeeds with the number of schedules that passed. */
export const check = Effect.fn("Lifecycle.check")(function* (subject: Subject, options: SearchOptions) {
  const result = yield* Arbitrary.checkEffect<Parameters<typeof verify>[1], LifecycleError>(
    schedules(options),
    (schedule) => Effect.as(verify(subject, schedule), true),
    { ...thorough(options.runs), seed: options.seed },
  )
  switch (result._tag) {
    case "Passed":
      return result.runs
    case "Falsified":
      if (result.failure._tag === "PropertyError") return yield* result.failure.error
      return yield* Effect.die(new Error("verify never returns false"))
    case "Exhausted":
    case "ReplayMismatch":
      return yield* Effect.die(new Error(Arbitrary.formatCheckFailure(result)))
  }
})
