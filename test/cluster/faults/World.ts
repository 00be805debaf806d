/**
 * Three nodes of a cluster as processes, the upstream that judges them, and a relay for each way from one node to another.
 *
 * Every turn has a mark of its own in its message. `check` holds what must be true whatever was done to the nodes: each mark
 * ran at most once, and no stream has an event twice or out of order.
 */
import { Data, Effect, Fiber } from "effect"
import { readdirSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Fault, TurnRecord } from "../../../src/simulator/Simulator.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { address, folder, start } from "../../support/Command.ts"
import { eventually } from "../../support/EventLoop.ts"
import { freePort } from "../../support/Front.ts"
import type { Random } from "../../support/Random.ts"
import { markOf, talkOf } from "../../support/Talk.ts"
import type { Talk } from "../../support/Talk.ts"
import type { Told } from "./Asking.ts"
import { askAt, inputOf, nodeOf } from "./Asking.ts"
import { relay } from "./Relay.ts"

/** Something that must never happen. */
export class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

export const must = (holds: boolean, message: () => string): Effect.Effect<void, Broken> =>
  holds ? Effect.void : Effect.fail(new Broken({ message: message() }))

const setClock = fileURLToPath(new URL("../../support/SetClock.ts", import.meta.url))

/** Between two turns of a client, in the machine's own time. */
const pause = Effect.sleep(20)

const lastMark = ({ raw }: TurnRecord): string | undefined => raw.match(/\[\[[^\]]*\]\]/g)?.at(-1)

/** How long a client may wait for word of a fault, in milliseconds: the two seconds, and what a busy machine adds. */
export const toldWithin = 5_000

/** For more conversations than a node keeps by itself. */
export const roomy: Readonly<Record<string, string>> = {
  RESPOOL_LOG_LEVEL: "warn",
  RESPOOL_MAX_CONNECTIONS: "16000",
  RESPOOL_MAX_CONNECTIONS_PER_SCOPE: "16000",
}

/** Where the nodes say that they are there, if that is no list. */
interface Database {
  readonly port: number
  readonly restart: Effect.Effect<void>
}

export interface WorldOptions {
  readonly database?: Database | undefined
  /** Whether nodes reach each other through relays; else a node that is gone refuses connections, as it should. */
  readonly relayed?: boolean
  /** Settings of each node's. */
  readonly env?: Readonly<Record<string, string>>
}

export const makeWorld = Effect.fnUntraced(function* (
  random: Random,
  { database, env = {}, relayed = false }: WorldOptions = {},
) {
  const simulator = yield* Simulator
  const cwd = yield* folder
  const indices = [0, 1, 2] as const
  const ports = yield* Effect.forEach(indices, () => Effect.all({ clients: freePort, nodes: freePort }))
  const links = yield* Effect.forEach(ports, ({ nodes: target }, to) =>
    Effect.forEach(indices, (from) => Effect.map(relay(target), (link) => ({ from, to, link }))),
  )
  const all = links.flat().filter(({ from, to }) => from !== to)
  const link = (from: number, to: number) => {
    const found = all.find((one) => one.from === from && one.to === to)
    if (found === undefined) throw new Error(`there is no way from ${from} to ${to}`)
    return found.link
  }

  const clockOf = (index: number) => `${cwd}/clock-${index}`

  /** From each node to the database. */
  const toDatabase = yield* Effect.forEach(database === undefined ? [] : indices, () => relay(database?.port ?? 0))

  const launch = Effect.fnUntraced(function* (index: number) {
    const own = ports[index]
    const others = all
      .filter(({ from }) => from === index)
      .map(({ link, to }) => `http://127.0.0.1:${relayed ? link.port : ports[to]?.nodes}`)
    const table = toDatabase[index]
    const running = yield* start(["serve"], {
      cwd,
      env: {
        BUN_OPTIONS: `--preload ${setClock}`,
        CLOCK_FILE: clockOf(index),
        RESPOOL_PORT: String(own?.clients),
        RESPOOL_UPSTREAM_URL: simulator.url,
        RESPOOL_CLUSTER_ADDRESS: `http://127.0.0.1:${own?.nodes}`,
        RESPOOL_CLUSTER_SECRET: "a-secret-of-the-nodes-of-a-test",
        ...(table === undefined
          ? { RESPOOL_CLUSTER_NODES: others.join(",") }
          : { RESPOOL_CLUSTER_DATABASE: `postgres://respool@127.0.0.1:${table.port}/postgres` }),
        ...env,
      },
    })
    const base = yield* running.printed(address)
    return { ...running, base }
  })

  type Running = Effect.Success<ReturnType<typeof launch>>
  const running: Array<Running> = yield* Effect.forEach(indices, launch, {
    concurrency: "unbounded",
  })
  const at = (index: number): Running => {
    const node = running[index]
    if (node === undefined) throw new Error(`there is no node ${index}`)
    return node
  }
  const name = (index: number) => `127.0.0.1:${ports[index]?.nodes}`
  const indexOf = (node: string) => indices.findIndex((index) => name(index) === node)

  const held = new Map<string, ReadonlyArray<Fault>>()
  yield* simulator.configure({
    fault: ({ context }) => {
      const text = JSON.stringify(context.at(-1) ?? null)
      const mark = text.match(/\[\[[^\]]*\]\]/)?.[0]
      return (mark === undefined ? undefined : held.get(mark)) ?? []
    },
  })

  /** What was told of all turns since the last check. */
  const heard: Array<Told> = []
  let checkedTo = 0
  let counter = 0

  const ask = (entry: number, talk: Talk) => {
    const turn = ++counter
    const asked = askAt(at(entry).base, talk, turn)
    const told = Effect.tap(
      Effect.timeoutOrElse(asked.told, {
        duration: "60 seconds",
        orElse: () => Effect.fail(new Broken({ message: `${markOf(talk, turn)} at node ${entry} is told nothing` })),
      }),
      (told) => Effect.sync(() => heard.push(told)),
    )
    return { ...asked, told, mark: markOf(talk, turn) }
  }

  /** The next turn is held before that event, until `release`. */
  const askHeld = (entry: number, talk: Talk, position: number) => {
    held.set(markOf(talk, counter + 1), [{ _tag: "Hold", at: position }])
    return ask(entry, talk)
  }

  /** Of the latest turns. */
  const recordsOf = (mark: string) => simulator.turns.slice(-200).filter((record) => lastMark(record) === mark)
  /** Refused requests did not run. */
  const runsOf = (mark: string) =>
    recordsOf(mark).filter(({ generate, status }) => generate && status !== "error").length

  const complete = Effect.fnUntraced(function* (entry: number, talk: Talk) {
    const { mark, told } = ask(entry, talk)
    const answer = yield* told
    yield* must(answer.end === "completed", () => `${mark} at node ${entry} ended as ${answer.end}: ${answer.text}`)
    return { answer, mark }
  })

  /** A conversation of two turns that began at that node. */
  const talkOwnedBy = Effect.fnUntraced(function* (owner: number, entries: ReadonlyArray<number> = indices) {
    const talk = talkOf(`s${++counter}`)
    const { answer } = yield* complete(owner, talk)
    yield* must(nodeOf(answer) === name(owner), () => `${talk.session} began at ${nodeOf(answer)}`)
    yield* complete(entries[random(entries.length)] ?? 0, talk)
    return talk
  })

  /** Until the nodes agree: until a conversation that begins at one goes on there wherever it comes in. */
  const settled = Effect.fnUntraced(function* () {
    const latest = performance.now() + 90_000
    for (;;) {
      const seen = yield* Effect.forEach(
        indices,
        (first) => {
          const talk = talkOf(`p${++counter}`)
          // At the one where it begins, then at those that have to find it.
          const entries = [first, (first + 1) % 3, (first + 2) % 3]
          return Effect.forEach(entries, (entry) =>
            Effect.map(
              ask(entry, talk).told,
              (told) => `${nodeOf(told)} ${told.headers.get("x-respool-takeover") ?? ""}`,
            ),
          )
        },
        { concurrency: "unbounded" },
      )
      if (seen.every((each, first) => each.every((place) => place === `${name(first)} `))) break
      yield* must(performance.now() < latest, () => `the nodes do not agree: ${JSON.stringify(seen)}`)
      yield* pause
    }
    // A node asks each other one once a second whether sessions have moved, on a busy machine less often.
    yield* Effect.sleep(2_000)
  })

  /** A conversation is a suffix again on one connection: the first turn may send all, the two after it must not. */
  const mended = Effect.fnUntraced(function* (talk: Talk) {
    const entries = [random(3), random(3), random(3)]
    const [first, ...later] = yield* Effect.forEach(entries, (entry) => complete(entry, talk))
    const ways = () =>
      [first, ...later].map((turn, index) => {
        const told = turn?.answer.headers
        return `at ${entries[index]} to ${told?.get("x-respool-node")}: ${told?.get("x-respool-reason")}`
      })
    for (const { answer, mark } of later) {
      yield* must(inputOf(answer) === "suffix", () => `${mark} is no suffix: ${ways().join(", ")}`)
    }
    const connections = new Set(later.flatMap(({ mark }) => recordsOf(mark).map(({ connection }) => connection)))
    yield* must(connections.size === 1, () => `${talk.session} is on ${connections.size} connections`)
  })

  const metric = (index: number, name: string) =>
    Effect.promise(async () => {
      const text = await fetch(`${at(index).base.replace("/v1", "")}/metrics`).then((response) => response.text())
      return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN)
    })

  /** Nothing runs on any node. */
  const quiet = Effect.gen(function* () {
    for (const index of indices) {
      let count = Number.NaN
      yield* eventually(
        () => count === 0,
        () => `node ${index} has no turn under way, but ${count}`,
        Effect.andThen(
          pause,
          Effect.map(metric(index, "respool_turns_running"), (value) => {
            count = value
          }),
        ),
      )
    }
  })

  const check = Effect.gen(function* () {
    yield* quiet
    const runs = new Map<string, number>()
    const { turns } = simulator
    for (const record of turns.slice(checkedTo)) {
      const mark = lastMark(record)
      if (mark === undefined || !record.generate || record.status === "error") continue
      runs.set(mark, (runs.get(mark) ?? 0) + 1)
    }
    checkedTo = turns.length
    for (const [mark, count] of runs) yield* must(count === 1, () => `${mark} ran ${count} times`)
    for (const { numbers, text, types } of heard.splice(0)) {
      const inOrder = numbers.every((number, index) => index === 0 || number === (numbers[index - 1] ?? 0) + 1)
      yield* must(inOrder, () => `events are not in order: ${text}`)
      const ends = types.filter((type) => /^(error|response\.(completed|failed|incomplete))$/.test(type))
      const [last] = ends
      yield* must(ends.length <= 1 && (last === undefined || types.at(-1) === last), () => `an end too many: ${text}`)
    }
  })

  /** Conversations that must not feel what is done meanwhile: their turns, one after the other, at these entries. */
  const meanwhile = Effect.fnUntraced(function* <A, E, R>(
    talks: ReadonlyArray<Talk>,
    entries: ReadonlyArray<number>,
    act: Effect.Effect<A, E, R>,
  ) {
    const others: Array<number> = []
    const state = { over: false }
    const fibers = yield* Effect.forEach(talks, (talk) =>
      Effect.forkChild(
        Effect.gen(function* () {
          while (!state.over) {
            const { answer } = yield* complete(entries[random(entries.length)] ?? 0, talk)
            others.push(answer.millis)
            yield* pause
          }
        }),
      ),
    )
    const result = yield* Effect.ensuring(
      act,
      Effect.sync(() => {
        state.over = true
      }),
    )
    yield* Fiber.joinAll(fibers)
    return { result, others }
  })

  return {
    simulator,
    random,
    indices,
    at,
    name,
    indexOf,
    link,
    links: all,
    toDatabase,
    database,
    ask,
    askHeld,
    complete,
    talkOwnedBy,
    runsOf,
    recordsOf,
    settled,
    mended,
    quiet,
    check,
    meanwhile,
    release: simulator.release,
    isRunning: (mark: string) => simulator.until(() => recordsOf(mark).length > 0),
    signal: (index: number, name: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM") =>
      Effect.sync(() => void process.kill(at(index).pid, name)),
    /** Sets a node's wall clock by so many milliseconds ahead of the machine's, or back. */
    setClock: (index: number, ahead: number) =>
      Effect.sync(() => {
        writeFileSync(clockOf(index), String(ahead))
        process.kill(at(index).pid, "SIGUSR2")
      }),
    gone: (index: number) => at(index).exitCode,
    /** Starts a node that has ended anew, on the same ports. */
    restart: (index: number) =>
      Effect.map(launch(index), (node) => {
        running[index] = node
      }),
    /** Descriptors of a node beside those of its connections upstream, which conversations keep. */
    descriptors: Effect.fnUntraced(function* (index: number) {
      const states = yield* Effect.forEach(["connecting", "idle", "leased"], (state) =>
        metric(index, `respool_connections\\{state="${state}"\\}`),
      )
      const open = readdirSync(`/proc/${at(index).pid}/fd`).length
      return open - states.reduce((sum, count) => sum + (Number.isNaN(count) ? 0 : count), 0)
    }),
  }
})

export type World = Effect.Success<ReturnType<typeof makeWorld>>
