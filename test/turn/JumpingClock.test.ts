/**
 * A wall clock that is set in the middle of everything: nothing that lasts may notice.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsError } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"
import * as Deadlines from "../../src/turn/Deadlines.ts"
import { TurnClock } from "../../src/turn/attempt/TurnClock.ts"
import { monotonicMillis } from "../../src/turn/Elapsed.ts"
import { TurnError } from "../../src/turn/TurnError.ts"
import { Availability } from "../../src/upstream/pool/Availability.ts"
import { makeJumping } from "../support/JumpingClock.ts"
import { lease, open, pool } from "../support/Leasing.ts"
import { errorIn } from "../support/RecordedTurn.ts"
import { TestDialer } from "../support/TestDialer.ts"

const hours = 3_600_000

const jumps: ReadonlyArray<readonly [name: string, millis: number]> = [
  ["two hours forward", 2 * hours],
  ["two hours back", -2 * hours],
  ["a day forward", 24 * hours],
  ["to 1970", -400_000 * hours],
  ["a minute forward", 60_000],
  ["a second back", -1000],
]

const times = { firstEventTimeout: 20_000, eventTimeout: 30_000, turnTimeout: 100_000, clientTimeout: 5_000 }

/** When the turn ends, and how; undefined: not yet. */
const watched = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const turnClock = new TurnClock({ clock, times, startedAt: yield* monotonicMillis })
  const deadlines = yield* Deadlines.make
  const ended: Array<string> = []
  turnClock.watch(deadlines, ({ reason }) => ended.push(reason))
  return { turnClock, ended }
})

const named = new TurnError({ reason: "dial_failed", delivery: "NotSent", message: "no" })

describe("When the wall clock is set", () => {
  for (const [jumped, millis] of jumps) {
    const test = (name: string, body: (jump: () => void) => Effect.Effect<void, SettingsError | TurnError>) =>
      it.effect(`${jumped}, ${name}`, () =>
        Effect.flatMap(makeJumping, ({ clock, jump }) =>
          body(() => jump(millis)).pipe(Effect.provideService(Clock.Clock, clock)),
        ),
      )

    for (const [phase, reason, seconds, prepare] of [
      ["that has had no event", "first_event_timeout", 20, () => {}],
      ["that is silent", "event_timeout", 30, (clock: TurnClock) => clock.heard()],
      ["whose client takes nothing", "slow_client", 5, (clock: TurnClock) => (clock.heard(), clock.paused())],
    ] as const) {
      test(`a turn ${phase} ends when its time is over, and not before`, (jump) =>
        Effect.scoped(
          Effect.gen(function* () {
            const { ended, turnClock } = yield* watched
            prepare(turnClock)
            jump()
            yield* TestClock.adjust((seconds - 1) * 1000)
            assert.deepStrictEqual(ended, [])
            yield* TestClock.adjust(1000)
            assert.deepStrictEqual(ended, [reason])
          }),
        ))
    }

    test("a turn with events ends when the time for all of it is over", (jump) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { ended, turnClock } = yield* watched
          for (let at = 0; at < 99; at++) {
            turnClock.heard()
            if (at === 50) jump()
            yield* TestClock.adjust(1000)
          }
          assert.deepStrictEqual(ended, [])
          yield* TestClock.adjust(1000)
          assert.deepStrictEqual(ended, ["turn_timeout"])
        }),
      ))

    test("a deadline comes when it is due", (jump) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { after } = yield* Deadlines.make
          let due = 0
          after(3000, () => due++)
          jump()
          yield* TestClock.adjust(2999)
          assert.strictEqual(due, 0)
          yield* TestClock.adjust(1)
          assert.strictEqual(due, 1)
        }),
      ))

    test("a back-off ends in its time", (jump) =>
      Effect.gen(function* () {
        const { failed, trouble } = yield* Availability
        const dialled = { url: "wss://upstream.test/v1/responses", scope: "one" }
        failed(dialled, named, true)
        jump()
        yield* TestClock.adjust(999)
        assert.strictEqual(trouble(dialled), "dial_backoff")
        yield* TestClock.adjust(1)
        assert.isUndefined(trouble(dialled))
      }).pipe(Effect.provide(Availability.layer)))

    test("a turn waits for a connection for five seconds", (jump) =>
      Effect.scoped(
        Effect.gen(function* () {
          const busy = yield* open()
          const waiting = yield* Effect.forkChild(Effect.exit(Effect.scoped(lease())))
          yield* Effect.yieldNow
          jump()
          yield* TestClock.adjust(4999)
          assert.isUndefined(waiting.pollUnsafe())
          yield* TestClock.adjust(1)
          assert.strictEqual(errorIn(yield* Fiber.join(waiting))?.reason, "pool_full")
          busy.lease.complete("none")
        }),
      ).pipe(Effect.provide(pool({ maxConnections: 1, busy: "wait" }))))

    test(`what is idle is ${millis > Settings.defaults.idleTtl ? "too old" : "leased again"}, and too old in its time`, (jump) =>
      Effect.scoped(
        Effect.gen(function* () {
          const dialer = yield* TestDialer
          const first = yield* open()
          first.lease.complete("none")
          jump()
          const second = yield* open()
          assert.strictEqual(second.lease.reused, millis < Settings.defaults.idleTtl)
          second.lease.complete("none")
          for (let minute = 0; minute < 50; minute++) {
            for (const socket of dialer.sockets) socket.handlers.onAlive()
            yield* TestClock.adjust("1 minute")
          }
          assert.strictEqual(dialer.open(), 0)
        }),
      ).pipe(Effect.provide(pool({ pingInterval: 600_000 }))))
  }

  it.effect("nothing is leased past its age, though the clock went back", () =>
    Effect.flatMap(makeJumping, ({ clock, jump }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const first = yield* open()
          jump(-2 * hours)
          yield* TestClock.adjust("61 seconds")
          first.lease.complete("none")
          const second = yield* Effect.exit(open())
          assert.isTrue(Exit.isSuccess(second) && !second.value.lease.reused)
        }),
      ).pipe(
        Effect.provide(pool({ maxAge: 60_000, pingInterval: 600_000 })),
        Effect.provideService(Clock.Clock, clock),
      ),
    ),
  )
})
