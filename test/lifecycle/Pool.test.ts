import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Server from "../../src/Server.ts"
import { replay, RespoolPool, schedules, thorough, verify } from "../../src/testing/Testing.ts"
import { runs } from "../support/Runs.ts"

const { subject } = RespoolPool

describe("the lifecycle of the pool", () => {
  it.effect.prop(
    "keeps every invariant, and agrees with the model after every step of a random schedule",
    [schedules()],
    ([schedule]) => verify(subject, schedule),
    { arbitrary: thorough(runs(10_000)) },
  )

  it.effect.prop(
    "does so when dials hang, turns wait, and several things happen at once",
    [schedules({ maxSteps: 16, weights: { Dials: 12, Answer: 16, Cancel: 14, Pass: 8 }, full: "wait" })],
    ([schedule]) => verify(subject, schedule),
    { arbitrary: thorough(runs(6_000)) },
  )

  it.effect.prop(
    "does so when a few conversations of one scope share a few connections",
    [schedules({ keys: ["a1"], turns: 3, connections: 3, weights: { Dials: 2, Answer: 2, Shutdown: 1 } })],
    ([schedule]) => verify(subject, schedule),
    { arbitrary: thorough(runs(4_000)) },
  )

  it.effect.prop(
    "does so when two scopes share too few connections",
    [
      schedules({
        caps: ["total"],
        connections: 4,
        weights: { Dials: 1, Answer: 1, Cancel: 4, Close: 2, Frame: 1, Reload: 1, Shutdown: 1 },
      }),
    ],
    ([schedule]) => verify(subject, schedule),
    { arbitrary: thorough(runs(4_000)) },
  )

  it.effect.prop(
    "does so as an app composes it from the layers",
    [schedules()],
    ([schedule]) => verify(RespoolPool.subjectOf(Server.layerPool), schedule),
    { arbitrary: thorough(runs(200)) },
  )

  describe("stands the schedules that once broke it, or the model", () => {
    const broken: ReadonlyArray<{ readonly when: string; readonly schedule: string }> = [
      {
        when: "what is idle at a cap has expired, and makes room by that",
        schedule: `
          limits total=1 scope=1 line=1 full=refuse
          lease 1 a1
          finish 1 completed
          pass 10s
          lease 2 a1`,
      },
      {
        when: "what has expired makes room, so that the next one may stay",
        schedule: `
          limits total=2 scope=2 line=2 full=refuse
          lease 1 a1 line 1
          lease 2 a1 line 2
          finish 1 completed
          pass 6s
          finish 2 completed
          pass 4s
          lease 3 a1`,
      },
      {
        when: "a blank connection of another line would take a line over its cap",
        schedule: `
          limits total=3 scope=2 line=1 full=refuse
          lease 1 b1 line 1
          lease 3 b1
          finish 3 incomplete
          lease 2 b1 line 1`,
      },
      {
        when: "what expires is met by nobody before the next sweep, while others wait for its place",
        schedule: `
          limits total=2 scope=2 line=1 full=wait
          lease 3 a1 line 1
          lease 4 a1
          finish 4 incomplete
          pass 8s
          lease 1 a1 line 1
          pass 2s
          lease 4 b1
          pass 2s`,
      },
      {
        when: "conversations in turn under a cap, where each was closed for the next",
        schedule: `
          limits total=1 scope=1 line=1 full=wait
          lease 1 a1 line 1
          finish 1 completed
          lease 2 a1 line 2
          finish 2 completed
          lease 1 a1 line 1
          finish 1 completed`,
      },
      {
        when: "one scope has all, and another asks for its first, and for more than its share",
        schedule: `
          limits total=3 scope=4 line=3 full=refuse
          lease 1 a1
          lease 2 a1
          lease 3 a2
          finish 1 completed
          finish 2 completed
          finish 3 completed
          lease 4 b1
          lease 1 b1`,
      },
      {
        when: "one that waits gets a place that another scope has too much",
        schedule: `
          limits total=2 scope=4 line=3 full=wait
          lease 1 a1
          lease 2 a1
          lease 3 b1
          finish 1 completed
          finish 3 completed
          lease 4 b1`,
      },
      {
        when: "a turn is woken for what another one gets, and has then waited long enough",
        schedule: `
          limits total=1 scope=1 line=1 full=wait
          lease 1 a1
          lease 2 a1
          lease 3 a1
          pass 4s
          finish 1 completed
          pass 2s
          pass 8s`,
      },
    ]
    for (const { schedule, when } of broken) it.effect(when, () => replay(subject, schedule))
  })

  it.effect("is the same each time that one schedule is replayed", () =>
    Effect.gen(function* () {
      const broken = { ...subject, rules: { ...RespoolPool.rules, maxAge: 1_000 } }
      const schedule = "lease 1 a1\nfinish 1 incomplete\npass 2s\nlease 2 a1"
      const first = yield* Effect.flip(replay(broken, schedule))
      const second = yield* Effect.flip(replay(broken, first.message.split("\n\n")[1] ?? ""))
      assert.strictEqual(second.message, first.message)
    }),
  )
})
