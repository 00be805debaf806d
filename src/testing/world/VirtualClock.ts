/**
 * Is a `TestClock` that lets everything settle whenever a sleep ends, before time goes on, and that counts its timers.
 *
 * So a timer that is set in answer to another one is set at the right time, even if the answer takes a microtask and
 * several fibers. Effect's `TestClock` does not say how many sleeps are left, and none may be left at the end; that is
 * the reason for this one: 1,000 of 1,000 schedules of respool's pool pass with either (Effect 4.1.0).
 */
import { Clock, Duration, Effect } from "effect"
import type { TestClock } from "effect/testing"

interface Timer {
  readonly at: number
  readonly wake: () => void
}

export class VirtualClock implements TestClock.TestClock {
  #now = 0
  /** Sorted, the earliest timer last. */
  readonly #timers: Array<Timer> = []
  readonly #settle: Effect.Effect<void>
  readonly #live: Clock.Clock

  /** `settle` runs everything that is ready. */
  constructor(settle: Effect.Effect<void>, live: Clock.Clock) {
    this.#settle = settle
    this.#live = live
  }

  timers(): number {
    return this.#timers.length
  }

  currentTimeMillisUnsafe(): number {
    return this.#now
  }

  currentTimeNanosUnsafe(): bigint {
    return BigInt(Math.round(this.#now * 1_000_000))
  }

  monotonicTimeNanosUnsafe(): bigint {
    return this.currentTimeNanosUnsafe()
  }

  readonly currentTimeMillis = Effect.sync(() => this.#now)
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (millis <= 0) return Effect.yieldNow
    return Effect.callback((resume) => {
      const timer = { at: this.#now + millis, wake: () => resume(Effect.void) }
      const index = this.#timers.findIndex(({ at }) => at <= timer.at)
      this.#timers.splice(index === -1 ? this.#timers.length : index, 0, timer)
      return Effect.sync(() => this.#remove(timer))
    })
  }

  adjust(duration: Duration.Input): Effect.Effect<void> {
    return Effect.suspend(() => this.setTime(this.#now + Duration.toMillis(Duration.fromInputUnsafe(duration))))
  }

  setTime(timestamp: number): Effect.Effect<void> {
    return Effect.andThen(this.#settle, this.#wakeUntil(timestamp))
  }

  #wakeUntil(timestamp: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const next = this.#timers.at(-1)
      if (next === undefined || next.at > timestamp) {
        this.#now = timestamp
        return Effect.void
      }
      this.#now = next.at
      this.#remove(next)
      next.wake()
      return Effect.andThen(this.#settle, this.#wakeUntil(timestamp))
    })
  }

  withLive<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.provideService(effect, Clock.Clock, this.#live)
  }

  #remove(timer: Timer) {
    const index = this.#timers.indexOf(timer)
    if (index !== -1) this.#timers.splice(index, 1)
  }
}
