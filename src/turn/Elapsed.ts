/**
 * Reads how much time has passed, on a clock that nobody can set: what lasts is measured by this, and never by the wall
 * clock, which may jump by hours in the middle of a turn. What a file or a token says about a date is compared with the
 * wall clock, as it must be.
 */
import { Clock, Effect } from "effect"

/** Whole milliseconds of the monotonic clock, from some point in the past: only differences mean anything. */
export const monotonicMillisOf = (clock: Clock.Clock): number =>
  Math.floor(Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000)

/** The same as an effect. */
export const monotonicMillis: Effect.Effect<number> = Effect.map(Clock.Clock, monotonicMillisOf)

const ageing = new WeakMap<Clock.Clock, () => number>()

/**
 * Milliseconds that go on with the monotonic clock and never back, and with the wall clock where that is ahead, so that
 * what was idle while the machine slept has grown old. One for each clock, so that all who ask have the same.
 */
export const ageOf = (clock: Clock.Clock): (() => number) => {
  const known = ageing.get(clock)
  if (known !== undefined) return known
  let age = 0
  let passed = monotonicMillisOf(clock)
  let wall = clock.currentTimeMillisUnsafe()
  const now = () => {
    const passedNow = monotonicMillisOf(clock)
    const wallNow = clock.currentTimeMillisUnsafe()
    age += Math.max(0, passedNow - passed, wallNow - wall)
    passed = passedNow
    wall = wallNow
    return age
  }
  ageing.set(clock, now)
  return now
}
