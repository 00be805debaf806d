/**
 * Branches of one session at a time: a connection for each, or lanes of one (`RESPOOL_BUSY`), and no socket at all.
 *
 * A conversation of 60 KB is begun; then so many branches go on from it at once, each for three turns. The upstream is the
 * simulator, whose prompt cache holds all of a prefix for the connection that saw it last and 40 % for others, behind
 * the relay of the agent loop: a new connection takes a round trip and a half more.
 */
import { Effect } from "effect"
import { BenchError } from "../harness/Child.ts"
import { startRelay } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { quantile, rounds } from "../harness/Scenario.ts"
import { startTarget } from "../harness/Targets.ts"
import { fewer } from "./Idle.ts"
import type { Answer } from "./Simulated.ts"
import { ask, cachedShare, configure, counted, startSimulator, user } from "./Simulated.ts"

type Mode = "dial" | "lane" | "http"

const turnsOfBranch = 3

/** What the model takes before its first event. An upstream that has ended a turn before a fork of it arrives, refuses that. */
const modelMs = 500

const run = async (url: string, simulator: string, branches: number): Promise<Figures> => {
  await configure(simulator, modelMs)
  const opening = [user("x".repeat(60_000))]
  const history = [...opening, ...(await ask(url, opening, { session: "branches" })).output]
  const before = await counted(simulator)
  const answers: Array<Answer> = []
  const branch = async (name: number) => {
    const input = [...history]
    for (let turn = 0; turn < turnsOfBranch; turn++) {
      input.push(user(`Branch ${name}, turn ${turn}: ${"y".repeat(2000)}`))
      const answer = await ask(url, input, { session: "branches" })
      answers.push(answer)
      input.push(...answer.output)
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: branches }, (_, name) => branch(name)))
  const wall = performance.now() - began
  const { uplinkBytes, upgrades } = await counted(simulator)
  const first = answers.map(({ firstMs }) => firstMs).sort((a, b) => a - b)
  return {
    dials: upgrades - before.upgrades,
    "cached %": cachedShare(answers),
    "first ms p50": quantile(first, 0.5),
    "first ms p99": quantile(first, 0.99),
    "up KB/turn": (uplinkBytes - before.uplinkBytes) / 1000 / answers.length,
    "wall ms": wall,
  }
}

const measure = (mode: Mode, branches: number, profile: string | undefined) =>
  Effect.gen(function* () {
    const simulator = yield* startSimulator
    const relay = yield* startRelay(simulator)
    const way = mode === "http" ? { RESPOOL_TRANSPORT: "http" } : { RESPOOL_BUSY: mode }
    const env = { RESPOOL_PROFILE: "openai", ...way }
    const { url } = yield* startTarget("respool", relay.url, { profile, env })
    return yield* Effect.tryPromise({
      try: () => run(url, simulator, branches),
      catch: (cause) => new BenchError({ message: String(cause) }),
    })
  })

export const branches: Scenario = {
  name: "branches",
  run: Effect.fnUntraced(function* (settings) {
    const { profile, size } = settings
    const counts = size === "smoke" ? [2] : [1, 4, 16]
    const entries = counts.flatMap((count) =>
      (["dial", "lane", "http"] as const).map((mode): Entry => ({
        target: "respool",
        variant: `${mode} ${count}`,
        measure: measure(mode, count, profile),
      })),
    )
    const about = `${turnsOfBranch} turns of each branch of one session, from 60 KB that they share; a model of ${modelMs} ms; 80 ms there and back, 10 Mbit/s up`
    const fewerRounds = { ...settings, rounds: fewer(settings.rounds, size) }
    return yield* rounds(entries, { scenario: "branches", about, skipped: [] }, fewerRounds, { warmUp: false })
  }),
}
