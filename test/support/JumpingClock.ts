/**
 * The test's clock with a wall clock that can be set: what lasts goes on as the test lets it.
 */
import { Effect } from "effect"
import { TestClock } from "effect/testing"

/** Sets the wall clock forward or back by so many milliseconds, as often as a test likes. */
export const makeJumping = TestClock.testClockWith((clock) =>
  Effect.sync(() => {
    let ahead = 0
    const jumping: TestClock.TestClock = {
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + ahead,
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + ahead),
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(ahead) * 1_000_000n,
      currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + BigInt(ahead) * 1_000_000n),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => clock.sleep(duration),
      // `TestClock.adjust` finds these on the clock that is in force.
      adjust: (duration) => clock.adjust(duration),
      setTime: (timestamp) => clock.setTime(timestamp),
      withLive: (effect) => clock.withLive(effect),
    }
    return {
      jump: (millis: number) => {
        ahead += millis
      },
      clock: jumping,
    }
  }),
)
