import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsValues } from "../../../src/config/Settings.ts"
import type { LeaseRequest } from "../../../src/upstream/pool/Decision.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import { affinity, open, pool } from "../../support/Leasing.ts"
import { TestDialer } from "../../support/TestDialer.ts"
import { errorIn } from "../../support/RecordedTurn.ts"

/** A conversation; how it asks for its next turn. */
type Conversation = (latest: number | undefined) => Partial<LeaseRequest>

/** It replays its history, which only the connection of its latest turn remembers. */
const replaying =
  (of: Partial<LeaseRequest> = {}): Conversation =>
  (latest) => ({ ...of, recall: () => (latest === undefined ? [] : [latest]) })

/** It names its latest response. */
const chaining: Conversation = (latest) => (latest === undefined ? {} : { anchor: () => latest })

/** A whole turn, a second long; undefined where it got no connection. */
const turn = Effect.fnUntraced(function* (asked: Partial<LeaseRequest>) {
  const leased = yield* Effect.exit(open(asked))
  if (Exit.isFailure(leased)) return errorIn(leased)?.reason ?? "died"
  const { lease, scope } = leased.value
  yield* TestClock.adjust("1 second")
  lease.complete("once")
  yield* Scope.close(scope, Exit.void)
  return lease.chain
})

/** The conversations in turn; how many of their turns got no connection. */
const inTurn = Effect.fnUntraced(function* (conversations: ReadonlyArray<Conversation>, rounds: number) {
  /** The conversation that each chain had last. */
  const holders = new Map<number, Conversation>()
  let refused = 0
  for (let round = 0; round < rounds; round++) {
    for (const conversation of conversations) {
      const latest = [...holders].find(([, holder]) => holder === conversation)?.[0]
      const chain = yield* turn(conversation(latest))
      if (typeof chain === "number") holders.set(chain, conversation)
      else refused++
    }
  }
  return refused
})

const session = (name: string) => replaying({ session: name })

const cases: ReadonlyArray<
  readonly [name: string, settings: Partial<SettingsValues>, conversations: ReadonlyArray<Conversation>, dials: number]
> = [
  ["one connection and two conversations", { maxConnections: 1 }, [replaying(), replaying()], 1],
  ["the same, where turns wait", { maxConnections: 1, busy: "wait" }, [replaying(), replaying()], 1],
  ["the same, with names", { maxConnections: 1 }, [session("one"), session("two")], 1],
  ["the same, where one has a name", { maxConnections: 1, busy: "wait" }, [session("one"), replaying()], 1],
  ["one connection a scope", { maxConnectionsPerScope: 1 }, [session("one"), session("two")], 1],
  ["one connection a session", { maxConnectionsPerSession: 1 }, [session("one"), session("one")], 1],
  ["the same, where turns wait", { maxConnectionsPerSession: 1, busy: "wait" }, [session("one"), session("one")], 1],
  ["two connections a session", { maxConnectionsPerSession: 2 }, Array.from({ length: 3 }, () => session("one")), 2],
  ["three connections and four conversations", { maxConnections: 3 }, Array.from({ length: 4 }, () => replaying()), 3],
  [
    "seven connections and twenty names",
    { maxConnections: 7 },
    Array.from({ length: 20 }, (_, at) => session(`${at}`)),
    7,
  ],
  ["clients that chain by themselves", { maxConnections: 1 }, [chaining, (latest) => chaining(latest)], 1],
  ["one that chains, and one that replays", { maxConnections: 1, busy: "wait" }, [chaining, replaying()], 1],
  [
    "names that have a connection each",
    { maxConnections: 2, maxConnectionsPerSession: 1 },
    [session("one"), session("two"), session("three")],
    2,
  ],
]

describe("At a cap a connection is taken over before one is closed to dial the same place:", () => {
  for (const [name, settings, conversations, dials] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const dialer = yield* TestDialer
        assert.strictEqual(yield* inTurn(conversations, 6 / conversations.length + 1), 0)
        assert.strictEqual(dialer.dials(), dials)
        assert.strictEqual(dialer.open(), dials)
      }).pipe(Effect.provide(pool(settings))),
    )
  }

  it.effect("the coldest that fits, past colder ones that don't", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const { connections } = yield* ConnectionPool
      const other = affinity("other")
      yield* turn({ affinity: other })
      const first = yield* turn({})
      const second = yield* turn({ fresh: true })
      assert.strictEqual(yield* turn({}), first)
      assert.strictEqual(yield* turn({}), second)
      assert.strictEqual(dialer.dials(), 3)
      // A turn that wants a new one makes room all the same, and what is of no use to it goes first if it is colder.
      yield* turn({ fresh: true })
      assert.sameOrderedMembers(
        connections().map(({ chain }): unknown => chain),
        [first, second, 4],
      )
    }).pipe(Effect.provide(pool({ maxConnections: 3 }))),
  )

  it.effect("and what is past its time makes room before that", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const old = yield* turn({ affinity: affinity("other") })
      yield* TestClock.adjust("30 seconds")
      const young = yield* turn({})
      yield* TestClock.adjust("40 seconds")
      const next = yield* turn({})
      assert.notInclude([old, young], next)
      assert.strictEqual(dialer.dials(), 3)
      assert.strictEqual(dialer.open(), 2)
    }).pipe(Effect.provide(pool({ maxConnections: 2, idleTtl: 60_000, pingInterval: 3_600_000 }))),
  )
})

describe("At a cap nothing past its time is taken over:", () => {
  it.effect("one that is too old is closed, though what idled longer is not", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const old = yield* open({})
      yield* TestClock.adjust("50 seconds")
      const other = yield* turn({ affinity: affinity("other") })
      old.lease.complete("once")
      yield* TestClock.adjust("20 seconds")
      const next = yield* turn({})
      assert.notInclude([old.lease.chain, other], next)
      assert.strictEqual(dialer.dials(), 3)
      assert.deepStrictEqual(
        dialer.sockets.map(({ terminated }) => terminated),
        [1, 0, 0],
      )
    }).pipe(Effect.provide(pool({ maxConnections: 2, maxAge: 60_000, pingInterval: 3_600_000 }))),
  )
})

const ofScope = (scope: string, at = 0) =>
  replaying({ affinity: affinity(`${scope} ${at}`, scope), session: `${at}` })(undefined)

/** How many connections each scope has. */
const held = Effect.map(ConnectionPool, ({ connections }) => {
  const counts: Record<string, number> = {}
  for (const { scope } of connections()) counts[scope] = (counts[scope] ?? 0) + 1
  return counts
})

/** `count` turns of a scope one after the other, each of another session and affinity; how many got no connection. */
const many = Effect.fnUntraced(function* (scope: string, count: number) {
  let refused = 0
  for (let at = 0; at < count; at++) if (typeof (yield* turn(ofScope(scope, at))) !== "number") refused++
  return refused
})

describe("A full pool", () => {
  it.effect("with the default caps, full of one caller's small sessions, has room for every other caller at once", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* many("one", 1024), 0)
      for (const scope of ["two", "three", "four"]) assert.strictEqual(yield* many(scope, 20), 0)
      assert.deepStrictEqual(yield* held, { one: 1024 - 60, two: 20, three: 20, four: 20 })
    }).pipe(Effect.provide(pool({ pingInterval: 3_600_000 }))),
  )

  const shares: ReadonlyArray<
    readonly [
      name: string,
      cap: number,
      asking: ReadonlyArray<readonly [scope: string, turns: number]>,
      left: Readonly<Record<string, number>>,
      refused: number,
    ]
  > = [
    [
      "one that asks for all gets half",
      8,
      [
        ["one", 8],
        ["two", 8],
      ],
      { one: 4, two: 4 },
      0,
    ],
    [
      "one of many gets what one has too much",
      9,
      [
        ["one", 6],
        ["two", 3],
        ["three", 3],
      ],
      { one: 3, two: 3, three: 3 },
      0,
    ],
    [
      "whoever has most gives first",
      10,
      [
        ["one", 7],
        ["two", 3],
        ["three", 2],
      ],
      { one: 5, two: 3, three: 2 },
      0,
    ],
    [
      "two who have their share take nothing from each other",
      4,
      [
        ["one", 2],
        ["two", 2],
        ["one", 5],
        ["two", 5],
      ],
      { one: 2, two: 2 },
      0,
    ],
    [
      "an odd place stays where it is",
      3,
      [
        ["one", 3],
        ["two", 3],
        ["one", 3],
      ],
      { one: 2, two: 1 },
      0,
    ],
    [
      "one that has nothing gets one, though all have one only",
      3,
      [
        ["one", 1],
        ["two", 1],
        ["three", 1],
        ["four", 2],
      ],
      { two: 1, three: 1, four: 1 },
      0,
    ],
    [
      "the only place goes from one to the other",
      1,
      [
        ["one", 3],
        ["two", 3],
        ["one", 1],
      ],
      { one: 1 },
      0,
    ],
  ]
  for (const [name, cap, asking, left, refused] of shares) {
    it.effect(`is shared: ${name}`, () =>
      Effect.gen(function* () {
        let without = 0
        for (const [scope, turns] of asking) without += yield* many(scope, turns)
        assert.deepStrictEqual(yield* held, left)
        assert.strictEqual(without, refused)
      }).pipe(Effect.provide(pool({ maxConnections: cap }))),
    )
  }

  it.effect("takes the coldest of what one has too much, and nothing that is in use", () =>
    Effect.gen(function* () {
      const { connections } = yield* ConnectionPool
      const busy = yield* open(ofScope("one", 0))
      const cold = yield* turn(ofScope("one", 1))
      const warm = yield* turn(ofScope("one", 2))
      yield* turn(ofScope("two", 0))
      const chains = () => connections().map(({ chain }) => chain)
      assert.notInclude(chains(), cold)
      assert.includeMembers(chains(), [busy.lease.chain, warm])
      // What is left of it is in use, or its share.
      const second = yield* open(ofScope("one", 2))
      assert.strictEqual(yield* turn(ofScope("three", 0)), "pool_full")
      assert.includeMembers(chains(), [busy.lease.chain, second.lease.chain])
    }).pipe(Effect.provide(pool({ maxConnections: 3 }))),
  )

  it.effect("takes over what is its own before it takes a share", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      yield* many("one", 5)
      yield* turn({ affinity: affinity("mine", "two"), session: "first" })
      yield* turn({ affinity: affinity("mine", "two"), session: "second" })
      assert.deepStrictEqual(yield* held, { one: 4, two: 1 })
      assert.strictEqual(dialer.dials(), 6)
    }).pipe(Effect.provide(pool({ maxConnections: 5 }))),
  )

  it.effect("takes nothing from a scope that has no more than its share, though another's is in use", () =>
    Effect.gen(function* () {
      for (let at = 0; at < 5; at++) yield* open(ofScope("one", at))
      yield* turn(ofScope("two"))
      assert.strictEqual(yield* turn(ofScope("three")), "pool_full")
      assert.deepStrictEqual(yield* held, { one: 5, two: 1 })
    }).pipe(Effect.provide(pool({ maxConnections: 6 }))),
  )

  it.effect("refuses a turn where all that others have is in use", () =>
    Effect.gen(function* () {
      for (let at = 0; at < 3; at++) yield* open(ofScope("one", at))
      assert.strictEqual(yield* turn(ofScope("two")), "pool_full")
    }).pipe(Effect.provide(pool({ maxConnections: 3 }))),
  )

  it.effect("leaves a scope that is at its own cap to itself", () =>
    Effect.gen(function* () {
      yield* many("one", 2)
      yield* open(ofScope("two", 0))
      yield* open(ofScope("two", 1))
      assert.strictEqual(yield* turn(ofScope("two", 2)), "pool_full")
      assert.deepStrictEqual(yield* held, { one: 2, two: 2 })
    }).pipe(Effect.provide(pool({ maxConnections: 4, maxConnectionsPerScope: 2 }))),
  )

  it.effect("lets a turn that waits have a place as soon as one that its holder has too much is idle", () =>
    Effect.gen(function* () {
      const held = [yield* open(ofScope("one", 0)), yield* open(ofScope("one", 1))]
      const waiting = yield* Effect.forkChild(turn(ofScope("two")))
      yield* Effect.yieldNow
      held[0]?.lease.complete("once")
      yield* Effect.yieldNow
      yield* TestClock.adjust("1 second")
      assert.strictEqual(typeof (yield* Fiber.join(waiting)), "number")
    }).pipe(Effect.provide(pool({ maxConnections: 2, busy: "wait" }))),
  )
})
