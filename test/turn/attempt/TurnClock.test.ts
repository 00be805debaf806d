import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { Settings } from "../../../src/config/Settings.ts"
import * as Deadlines from "../../../src/turn/Deadlines.ts"
import type { TurnClockOptions } from "../../../src/turn/attempt/TurnClock.ts"
import { TurnClock } from "../../../src/turn/attempt/TurnClock.ts"
import type { TurnError } from "../../../src/turn/TurnError.ts"

const settings = {
  ...Settings.defaults,
  firstEventTimeout: 10_000,
  eventTimeout: 30_000,
  turnTimeout: 100_000,
  clientTimeout: 20_000,
}

/** A watched request, and how its turn has ended by now: `reason delivery`, or undefined while it goes on. */
const watched = Effect.fnUntraced(function* (options: Partial<TurnClockOptions> = {}) {
  const clock = yield* Clock.Clock
  const turnClock = new TurnClock({ clock, times: settings, startedAt: clock.currentTimeMillisUnsafe(), ...options })
  let error: TurnError | undefined
  turnClock.watch(yield* Deadlines.make, (found) => {
    error = found
  })
  const ended = () => (error === undefined ? undefined : `${error.reason} ${error.delivery}`)
  /** Lets `seconds` pass, and then the last millisecond of them alone: so the end is neither earlier nor later. */
  const endsAfter = Effect.fnUntraced(function* (seconds: number, end: string) {
    yield* TestClock.adjust(seconds * 1_000 - 1)
    assert.isUndefined(ended())
    yield* TestClock.adjust(1)
    assert.strictEqual(ended(), end)
  })
  return { turnClock, ended, endsAfter }
})

describe("A turn whose upstream is silent", () => {
  it.effect("ends without a first event, and nobody knows whether it ran", () =>
    Effect.gen(function* () {
      const { endsAfter } = yield* watched()
      yield* endsAfter(10, "first_event_timeout Ambiguous")
    }),
  )

  it.effect("is known to run once the upstream has accepted it, and still waits for the first event only so long", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched()
      yield* TestClock.adjust("3 seconds")
      turnClock.accepted()
      yield* endsAfter(7, "first_event_timeout Accepted")
    }),
  )

  it.effect("ends when the turnClock after any event is too long", () =>
    Effect.gen(function* () {
      const { ended, endsAfter, turnClock } = yield* watched()
      for (const pause of [9, 29, 29]) {
        yield* TestClock.adjust(pause * 1_000)
        turnClock.heard()
      }
      assert.isUndefined(ended())
      yield* endsAfter(30, "event_timeout Accepted")
    }),
  )

  it.effect("has only the whole turn's time where the answer comes in one piece", () =>
    Effect.gen(function* () {
      const { endsAfter } = yield* watched({ atOnce: true })
      yield* endsAfter(100, "turn_timeout Ambiguous")
    }),
  )
})

describe("A turn that takes too long", () => {
  it.effect("ends although events come all the time", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched()
      for (let second = 0; second < 95; second += 5) {
        turnClock.heard()
        yield* TestClock.adjust("5 seconds")
      }
      yield* endsAfter(5, "turn_timeout Accepted")
    }),
  )

  it.effect("has no more time on its second attempt than was left of it", () =>
    Effect.gen(function* () {
      const startedAt = yield* Clock.currentTimeMillis
      yield* TestClock.adjust("95 seconds")
      const { endsAfter } = yield* watched({ startedAt })
      yield* endsAfter(5, "turn_timeout Ambiguous")
    }),
  )

  it.effect("ends at once where its time was over before it was sent", () =>
    Effect.gen(function* () {
      const startedAt = yield* Clock.currentTimeMillis
      yield* TestClock.adjust("101 seconds")
      const { ended } = yield* watched({ startedAt })
      yield* TestClock.adjust(0)
      assert.strictEqual(ended(), "turn_timeout Ambiguous")
    }),
  )
})

describe("A turn whose client is behind", () => {
  it.effect("ends when the client takes nothing in its time, whenever it fell behind", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched()
      yield* TestClock.adjust("7 seconds")
      turnClock.heard()
      turnClock.paused()
      yield* endsAfter(20, "slow_client Accepted")
    }),
  )

  it.effect("goes on as long as the client takes something", () =>
    Effect.gen(function* () {
      const { ended, endsAfter, turnClock } = yield* watched()
      turnClock.heard()
      turnClock.paused()
      for (let count = 0; count < 3; count++) {
        yield* TestClock.adjust("19 seconds")
        turnClock.taken()
      }
      assert.isUndefined(ended())
      yield* endsAfter(20, "slow_client Accepted")
    }),
  )

  it.effect("is not saved by events that still come, nor by being told again that it is behind", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched()
      turnClock.heard()
      turnClock.paused()
      yield* TestClock.adjust("15 seconds")
      turnClock.heard()
      turnClock.paused()
      yield* endsAfter(5, "slow_client Accepted")
    }),
  )

  it.effect("does not blame the upstream for a turnClock of its own", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched({ times: { ...settings, clientTimeout: 50_000 } })
      turnClock.heard()
      yield* TestClock.adjust("29 seconds")
      turnClock.paused()
      yield* TestClock.adjust("40 seconds")
      turnClock.resumed()
      yield* endsAfter(30, "event_timeout Accepted")
    }),
  )

  it.effect("is watched as before once the client has caught up, and again when it falls behind again", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched()
      turnClock.heard()
      turnClock.paused()
      yield* TestClock.adjust("19 seconds")
      turnClock.resumed()
      turnClock.taken()
      yield* TestClock.adjust("19 seconds")
      turnClock.paused()
      yield* endsAfter(20, "slow_client Accepted")
    }),
  )

  it.effect("has no more time than any other turn", () =>
    Effect.gen(function* () {
      const { endsAfter, turnClock } = yield* watched({ times: { ...settings, clientTimeout: 1_000_000 } })
      turnClock.heard()
      turnClock.paused()
      yield* endsAfter(100, "turn_timeout Accepted")
    }),
  )
})

describe("Watching a turn", () => {
  it.effect("sleeps a second at a time, however many events there are", () =>
    Effect.gen(function* () {
      const real = yield* Clock.Clock
      let sleeps = 0
      const sleep = (duration: Parameters<Clock.Clock["sleep"]>[0]) => {
        sleeps++
        return real.sleep(duration)
      }
      const counting: Clock.Clock = Object.assign(Object.create(real), { sleep })
      const { endsAfter, turnClock } = yield* Effect.provideService(watched(), Clock.Clock, counting)
      for (let count = 0; count < 10_000; count++) turnClock.heard()
      yield* endsAfter(30, "event_timeout Accepted")
      assert.isAtLeast(sleeps, 30)
      assert.isAtMost(sleeps, 32)
    }),
  )
})
