/**
 * An agent beside its sub-agents: all under one session name, and the sub-agents start and end while the agent works.
 *
 * The agent goes on from 60 KB for its turns. Beside it so many sub-agents run at a time, each a conversation of its own
 * with other instructions, for three turns; when one ends, the next one starts. What siblings cost the agent is how much
 * less of its input comes from the prompt cache than alone. The cache is the simulator's: all of a prefix for the
 * connection that saw it last, 40 % for others.
 *
 * `one socket` is respool with `RESPOOL_BUSY=http`, which keeps a session to one connection: whoever finds it free takes it
 * over, and what finds it busy goes over HTTP. `straight` asks the upstream itself, over HTTP.
 */
import { Effect } from "effect"
import { BenchError } from "../harness/Child.ts"
import { startRelay } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { rounds } from "../harness/Scenario.ts"
import { startTarget } from "../harness/Targets.ts"
import { fewer } from "./Idle.ts"
import type { Answer, Item } from "./Simulated.ts"
import { ask, cachedShare, configure, counted, startSimulator, user } from "./Simulated.ts"

type Mode = "respool" | "one socket" | "straight"

const session = "agent"

/** What the model takes before its first event. */
const modelMs = 300

const turnsOfSibling = 3

interface Conversation {
  readonly name: string
  readonly openingBytes: number
  readonly addedBytes: number
  readonly turns: number
}

/** The answers of a conversation's turns; `goesOn` is asked before each. */
const converse = async (
  url: string,
  { addedBytes, name, openingBytes, turns }: Conversation,
  goesOn: () => boolean,
): Promise<ReadonlyArray<Answer>> => {
  const answers: Array<Answer> = []
  const input: Array<Item> = [user(`${name}: ${"x".repeat(openingBytes)}`)]
  for (let turn = 0; turn < turns && goesOn(); turn++) {
    const answer = await ask(url, input, { session, instructions: `You are ${name.replace(/ .*/, "")}.` })
    answers.push(answer)
    input.push(...answer.output, user(`Turn ${turn}: ${"y".repeat(addedBytes)}`))
  }
  return answers
}

const run = async (url: string, simulator: string, siblings: number, turns: number): Promise<Figures> => {
  await configure(simulator, modelMs)
  const began = performance.now()
  const work = new AbortController()
  const isWorking = () => !work.signal.aborted
  let started = 0
  const others: Array<Answer> = []
  const place = async () => {
    while (isWorking()) {
      const name = `sibling ${started++}`
      const conversation = { name, openingBytes: 8000, addedBytes: 2000, turns: turnsOfSibling }
      others.push(...(await converse(url, conversation, isWorking)))
    }
  }
  const places = Array.from({ length: siblings }, place)
  const own = await converse(url, { name: "agent", openingBytes: 60_000, addedBytes: 2000, turns }, () => true)
  const wall = performance.now() - began
  work.abort()
  await Promise.all(places)
  const { upgrades } = await counted(simulator)
  return {
    // Its first turn has seen nothing of itself.
    "agent cached %": cachedShare(own.slice(1)),
    "all cached %": cachedShare([...own, ...others]),
    dials: upgrades,
    turns: own.length + others.length,
    "wall s": wall / 1000,
  }
}

const measure = (mode: Mode, siblings: number, turns: number, profile: string | undefined) =>
  Effect.gen(function* () {
    const simulator = yield* startSimulator
    const relay = yield* startRelay(simulator)
    const env = { RESPOOL_PROFILE: "openai", ...(mode === "one socket" ? { RESPOOL_BUSY: "http" } : {}) }
    const { url } = yield* startTarget(mode === "straight" ? "direct" : "respool", relay.url, { profile, env })
    return yield* Effect.tryPromise({
      try: () => run(url, simulator, siblings, turns),
      catch: (cause) => new BenchError({ message: String(cause) }),
    })
  })

export const siblings: Scenario = {
  name: "siblings",
  run: Effect.fnUntraced(function* (settings) {
    const { profile, size } = settings
    const [counts, turns] = size === "smoke" ? [[2], 3] : [[0, 1, 3, 8], size === "quick" ? 12 : 30]
    const entries = counts.flatMap((count) =>
      (["respool", "straight", "one socket"] as const).map((mode): Entry => ({
        target: mode === "straight" ? "direct" : "respool",
        variant: mode === "one socket" ? `one socket, ${count} siblings` : `${count} siblings`,
        measure: measure(mode, count, turns, profile),
      })),
    )
    const about = `${turns} turns of an agent from 60 KB, beside sub-agents of ${turnsOfSibling} turns under the same session name; a model of ${modelMs} ms; 80 ms there and back, 10 Mbit/s up`
    const fewerRounds = { ...settings, rounds: fewer(settings.rounds, size) }
    return yield* rounds(entries, { scenario: "siblings", about, skipped: [] }, fewerRounds, { warmUp: false })
  }),
}
