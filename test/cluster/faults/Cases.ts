/**
 * What is done to the nodes of a cluster, and what must come of it. Each case leaves the cluster whole.
 */
import type { FileSystem, PlatformError, Scope } from "effect"
import { Effect } from "effect"
import type { Random } from "../../support/Random.ts"
import type { Talk } from "../../support/Talk.ts"
import type { Told } from "./Asking.ts"
import type { Broken, World } from "./World.ts"
import { must, toldWithin } from "./World.ts"

/** Times in milliseconds. */
export interface Seen {
  /** From the fault until the client was told. */
  readonly told?: number
  /** Turns of conversations that had no part in it. */
  readonly others: ReadonlyArray<number>
}

export interface Case {
  readonly name: string
  readonly run: (
    world: World,
  ) => Effect.Effect<Seen, Broken | PlatformError.PlatformError, Scope.Scope | FileSystem.FileSystem>
}

/** The machine's own time, which processes live in. */
const after = (millis: number) => Effect.sleep(millis)

/** Three nodes by their part: the owner of the conversation, the node that its client asks, and the third. */
const parts = (random: Random) => {
  const owner = random(3)
  const entry = (owner + 1 + random(2)) % 3
  return { owner, entry, third: 3 - owner - entry }
}

const unknown = "turn_outcome_unknown"

/** The client is told in time that nobody knows what became of its turn, and not to ask again. */
const assertUnknown = Effect.fnUntraced(function* ({ at, end, headers, status, text }: Told, faultAt: number) {
  yield* must(end === unknown, () => `told as ${status} ${end}: ${text}`)
  if (status !== 200) {
    yield* must(status === 502, () => `told with ${status}`)
    yield* must(headers.get("x-should-retry") === "false", () => "the client is not told to leave it")
  }
  const told = at - faultAt
  yield* must(told <= toldWithin, () => `told after ${told} ms`)
  return told
})

type Moment = "before the send" | "after the send" | "in the middle"

/** A turn of the conversation that has got that far at its owner. */
const begun = Effect.fnUntraced(function* (world: World, talk: Talk, entry: number, moment: Moment) {
  const { simulator } = world
  if (moment !== "before the send") {
    const asked = world.askHeld(entry, talk, moment === "in the middle" ? 5 + world.random(4) : 0)
    yield* world.isRunning(asked.mark)
    if (moment === "in the middle") yield* asked.upTo("event: response.in_progress")
    return asked
  }
  // It has to dial, and the dial is not answered.
  const connections = world.simulator.turns
    .filter(({ raw }) => raw.includes(`[[${talk.session} `))
    .map(({ connection }) => connection)
  yield* Effect.forEach(new Set(connections), (ordinal) => simulator.disconnect({ ordinal }))
  const hanging = simulator.counters.hangingUpgrades
  yield* simulator.configure({ websocket: "hang" })
  const asked = world.ask(entry, talk)
  yield* simulator.until(() => simulator.counters.hangingUpgrades > hanging)
  yield* simulator.configure({ websocket: "on" })
  return asked
})

/** Two conversations without a part in it: one of the entry's own, one of the third node's. */
const bystanders = Effect.fnUntraced(function* (world: World, entry: number, third: number) {
  return [yield* world.talkOwnedBy(entry), yield* world.talkOwnedBy(third)]
})

type Failed = Broken | PlatformError.PlatformError
type Needed = Scope.Scope | FileSystem.FileSystem

/** A conversation, its owner, the node that its client asks, and the third. */
interface Setting {
  readonly world: World
  readonly talk: Talk
  readonly owner: number
  readonly entry: number
  readonly third: number
}

type Heal = (world: World, owner: number, entry: number) => Effect.Effect<void, Failed, Needed>

/**
 * Something happens to a conversation while two others go on; then it is healed, and all is as before. What happens may
 * give how long its client was not told, in milliseconds.
 */
const during =
  (happens: (setting: Setting) => Effect.Effect<number | void, Failed, Needed>, heal: Heal): Case["run"] =>
  (world) =>
    Effect.gen(function* () {
      const { entry, owner, third } = parts(world.random)
      const talk = yield* world.talkOwnedBy(owner)
      const talks = yield* bystanders(world, entry, third)
      const act = happens({ world, talk, owner, entry, third })
      const { others, result } = yield* world.meanwhile(talks, [entry, third], act)
      yield* heal(world, owner, entry)
      yield* world.settled()
      yield* Effect.forEach([talk, ...talks], world.mended)
      yield* world.check
      return typeof result === "number" ? { told: result, others } : { others }
    })

interface LostTurn {
  readonly moment: Moment
  readonly fault: (world: World, owner: number, entry: number) => Effect.Effect<void>
  readonly heal: Heal
}

/** The owner is lost in the middle of a turn. */
const lost = ({ fault, heal, moment }: LostTurn) =>
  during(
    Effect.fnUntraced(function* ({ entry, owner, talk, world }) {
      const { mark, told } = yield* begun(world, talk, entry, moment)
      yield* after(world.random(30))
      const faultAt = performance.now()
      yield* fault(world, owner, entry)
      const millis = yield* assertUnknown(yield* told, faultAt)
      yield* world.release
      const ran = world.runsOf(mark)
      yield* must(ran === (moment === "before the send" ? 0 : 1), () => `${mark} ran ${ran} times`)
      // The conversation goes on at once at another node.
      yield* world.complete(entry, talk)
      return millis
    }),
    heal,
  )

const kill: Pick<LostTurn, "fault" | "heal"> = {
  fault: (world, owner) => Effect.andThen(world.signal(owner, "SIGKILL"), world.gone(owner)),
  heal: (world, owner) => world.restart(owner),
}

const stop: Pick<LostTurn, "fault" | "heal"> = {
  fault: (world, owner) => world.signal(owner, "SIGSTOP"),
  heal: (world, owner) => Effect.andThen(after(world.random(4_000)), world.signal(owner, "SIGCONT")),
}

const healed = (world: World) => Effect.forEach(world.links, ({ link }) => link.heal, { discard: true })

const cut = (...ways: ReadonlyArray<"there" | "back">): Pick<LostTurn, "fault" | "heal"> => ({
  fault: (world, owner, entry) => Effect.sync(() => world.link(entry, owner).cut(...ways)),
  heal: healed,
})

const resets: Pick<LostTurn, "fault" | "heal"> = {
  fault: (world, owner, entry) => Effect.sync(() => world.link(entry, owner).reset()),
  heal: healed,
}

/** The process lives and serves its clients, and no node reaches it. */
const listenerGone: Pick<LostTurn, "fault" | "heal"> = {
  fault: (world, owner) =>
    Effect.forEach(
      world.links.filter(({ to }) => to === owner),
      ({ link }) => Effect.andThen(link.refuse(true), Effect.sync(link.reset)),
      { discard: true },
    ),
  heal: healed,
}

/** It takes connections and says nothing. */
const listenerSilent: Pick<LostTurn, "fault" | "heal"> = {
  fault: (world, owner) =>
    Effect.sync(() => {
      for (const { link, to } of world.links) if (to === owner) link.cut("there", "back")
    }),
  heal: healed,
}

const killedAfterTheEnd = during(
  Effect.fnUntraced(function* ({ entry, owner, talk, third, world }) {
    yield* world.complete(entry, talk)
    yield* kill.fault(world, owner, entry)
    // Nothing is lost: the next turn says all again elsewhere.
    yield* world.complete(entry, talk)
    yield* world.complete(third, talk)
  }),
  kill.heal,
)

/** What the entry says does not reach the owner any more, but all that the owner says comes. */
const cutThere = during(
  Effect.fnUntraced(function* ({ entry, owner, talk, world }) {
    const { mark, told } = yield* begun(world, talk, entry, "in the middle")
    world.link(entry, owner).cut("there")
    yield* after(world.random(3_000))
    yield* world.release
    const { end } = yield* told
    yield* must(end === "completed", () => `${mark} ended as ${end}`)
    // What is handed over into the cut may have arrived, for all that the entry knows.
    const next = yield* world.ask(entry, talk).told
    yield* must(next.end === "completed" || next.end === unknown, () => `the next turn ended as ${next.end}`)
  }),
  healed,
)

/** A slow network loses nothing. */
const delayed = during(
  Effect.fnUntraced(function* ({ entry, owner, talk, world }) {
    world.link(entry, owner).delay(50 + world.random(200))
    for (let turn = 0; turn < 3; turn++) yield* world.complete(entry, talk)
  }),
  healed,
)

/** A node takes another for dead that the third reaches: two have a connection for one session, and every turn its answer. */
const disagreeing = during(
  Effect.fnUntraced(function* ({ entry, owner, talk, third, world }) {
    yield* world.link(entry, owner).refuse(true)
    world.link(entry, owner).reset()
    for (let turn = 0; turn < 6; turn++) yield* world.complete(turn % 2 === 0 ? entry : third, talk)
  }),
  healed,
)

/** By what a clock is set, in milliseconds: what is longer than a node's patience, and a day. */
const jumps = [-86_400_000, -60_000, -2_000, 2_000, 60_000, 86_400_000]

/** No time is taken from a clock that can be set. */
const clocksJump = during(
  Effect.fnUntraced(function* ({ entry, talk, third, world }) {
    const { mark, told } = yield* begun(world, talk, entry, "in the middle")
    yield* Effect.forEach(world.indices, (index) => world.setClock(index, jumps[world.random(jumps.length)] ?? 0))
    yield* after(world.random(3_000))
    yield* world.release
    const { end } = yield* told
    yield* must(end === "completed", () => `${mark} ended as ${end}`)
    for (const node of [entry, third, entry]) yield* world.complete(node, talk)
  }),
  (world) => Effect.forEach(world.indices, (index) => world.setClock(index, 0), { discard: true }),
)

/** A client of a balancer: at an entry that is there and does not stop. */
const somewhere = Effect.fnUntraced(function* (world: World, talk: Talk, from: number) {
  for (let step = 0; ; step++) {
    const { mark, told } = world.ask((from + step) % 3, talk)
    const answer = yield* told
    if (answer.end === "completed") return answer
    // Refused by one that stops or starts, or not there: nothing of it ran.
    const refused = answer.status === 0 || (answer.status === 503 && answer.end.startsWith("server_"))
    yield* must(
      refused && world.runsOf(mark) === 0 && step < 20,
      () => `${mark} ended as ${answer.end}: ${answer.text}`,
    )
    yield* after(10)
  }
})

/** Nodes stop and start anew in turn, under load, and no turn is lost. */
const restarted = (count: number) => (world: World) =>
  Effect.gen(function* () {
    const first = world.random(3)
    const talks = yield* Effect.forEach([0, 1, 2, 0, 1, 2], (owner) => world.talkOwnedBy(owner))
    const others: Array<number> = []
    const state = { over: false }
    const load = Effect.forEach(
      talks,
      (talk) =>
        Effect.gen(function* () {
          while (!state.over) {
            others.push((yield* somewhere(world, talk, world.random(3))).millis)
            yield* after(10)
          }
        }),
      { concurrency: "unbounded", discard: true },
    )
    const roll = Effect.gen(function* () {
      for (let step = 0; step < count; step++) {
        const node = (first + step) % 3
        yield* after(world.random(100))
        yield* world.signal(node, "SIGTERM")
        yield* world.gone(node)
        yield* world.restart(node)
        yield* world.settled()
      }
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          state.over = true
        }),
      ),
    )
    yield* Effect.all([load, roll], { concurrency: "unbounded", discard: true })
    yield* world.settled()
    yield* Effect.forEach(talks, world.mended)
    yield* world.check
    return { others }
  })

/** An owner that stops ends the turn that it has, and is handed no further one. */
const drained = during(
  Effect.fnUntraced(function* ({ entry, owner, talk, third, world }) {
    const { mark, told } = yield* begun(world, talk, entry, "in the middle")
    yield* world.signal(owner, "SIGTERM")
    yield* after(200 + world.random(1_000))
    const aside = { ...talk, history: [...talk.history] }
    yield* world.complete(third, aside)
    yield* world.release
    const { end } = yield* told
    yield* must(end === "completed", () => `${mark} ended as ${end}`)
    yield* world.gone(owner)
  }),
  kill.heal,
)

/** Something that no turn may feel: what a client asks meanwhile is answered, and goes on where it was. */
const unfelt = (act: (world: World) => Effect.Effect<void>) => (world: World) =>
  Effect.gen(function* () {
    const talks = yield* Effect.forEach([0, 1, 2], (owner) => world.talkOwnedBy(owner))
    const { others } = yield* world.meanwhile(
      talks,
      world.indices,
      Effect.andThen(act(world), after(500 + world.random(3_000))),
    )
    yield* Effect.forEach(world.toDatabase, ({ heal }) => heal)
    yield* world.settled()
    yield* Effect.forEach(talks, world.mended)
    yield* world.check
    return { others }
  })

const moments: ReadonlyArray<Moment> = ["before the send", "after the send", "in the middle"]

/** What needs no way between nodes to be cut. */
export const processCases: ReadonlyArray<Case> = [
  ...moments.map((moment) => ({
    name: `the owner is killed ${moment}`,
    run: lost({ moment, ...kill }),
  })),
  { name: "the owner is killed after the end", run: killedAfterTheEnd },
  ...moments.map((moment) => ({
    name: `the owner stands still ${moment}, and goes on`,
    run: lost({ moment, ...stop }),
  })),
  { name: "the owner stops in the middle of a turn", run: drained },
  { name: "the clocks jump", run: clocksJump },
]

/** Where the nodes reach each other through relays. */
export const networkCases: ReadonlyArray<Case> = [
  {
    name: "the way back from the owner is cut",
    run: lost({ moment: "in the middle", ...cut("back") }),
  },
  {
    name: "both ways to the owner are cut",
    run: lost({ moment: "in the middle", ...cut("there", "back") }),
  },
  {
    name: "both ways are cut before the first event",
    run: lost({ moment: "after the send", ...cut("there", "back") }),
  },
  { name: "the way to the owner is cut", run: cutThere },
  {
    name: "the connection to the owner is reset",
    run: lost({ moment: "in the middle", ...resets }),
  },
  {
    name: "the owner's listener for nodes is gone",
    run: lost({ moment: "in the middle", ...listenerGone }),
  },
  {
    name: "the owner's listener for nodes says nothing",
    run: lost({ moment: "after the send", ...listenerSilent }),
  },
  { name: "the way to the owner is slow", run: delayed },
  { name: "two nodes disagree", run: disagreeing },
]

/** Where the nodes meet in a database. */
export const databaseCases: ReadonlyArray<Case> = [
  {
    name: "a node is cut from the database",
    run: unfelt((world) => Effect.sync(() => world.toDatabase[world.random(3)]?.cut("there", "back"))),
  },
  {
    name: "the database is away",
    run: unfelt((world) =>
      Effect.forEach(world.toDatabase, (link) => Effect.andThen(link.refuse(true), Effect.sync(link.reset)), {
        discard: true,
      }),
    ),
  },
  {
    name: "the database is restarted",
    run: unfelt((world) => world.database?.restart ?? Effect.void),
  },
]

/** Nodes that are restarted under load, which no client may feel. */
export const restartCases: ReadonlyArray<Case> = [
  { name: "a node leaves and joins under load", run: restarted(1) },
  { name: "all nodes are restarted in turn", run: restarted(3) },
]
