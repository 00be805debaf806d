/**
 * Branches of one session at a time: a connection for each, or lanes of one (`RESPOOL_BUSY`), and no socket at all.
 *
 * A conversation of 60 KB is begun; then so many branches go on from it at once, each for three turns. The upstream is the
 * simulator, whose prompt cache holds all of a prefix for the connection that saw it last and 40 % for others, behind
 * the relay of the agent loop: a new connection takes a round trip and a half more.
 */
import { Effect } from "effect"
import { BenchError, program, start } from "../harness/Child.ts"
import { startRelay } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { quantile, rounds } from "../harness/Scenario.ts"
import { startTarget } from "../harness/Targets.ts"
import { fewer } from "./Idle.ts"

type Mode = "dial" | "lane" | "http"

interface Item {
  readonly [member: string]: unknown
}

interface Usage {
  readonly input_tokens: number
  readonly input_tokens_details: { readonly cached_tokens: number }
}

interface Answer {
  readonly output: ReadonlyArray<Item>
  readonly usage: Usage
  readonly firstMs: number
}

const user = (content: string): Item => ({ role: "user", content })

/** Asks with the whole history, streamed, and notes when the first event came. */
const ask = async (url: string, input: ReadonlyArray<Item>): Promise<Answer> => {
  const began = performance.now()
  const response = await fetch(`${url}/v1/responses`, {
    method: "POST",
    headers: { authorization: "Bearer bench", "content-type": "application/json", "session-id": "branches" },
    body: JSON.stringify({
      model: "gpt-5.5",
      store: false,
      stream: true,
      include: ["reasoning.encrypted_content"],
      input,
    }),
  })
  let firstMs: number | undefined
  let text = ""
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    firstMs ??= performance.now() - began
    text += decoder.decode(chunk as Uint8Array, { stream: true })
  }
  const last = /^data: (\{"type":"response\.completed".*)$/m.exec(text)?.[1]
  if (last === undefined) throw new Error(`no answer: ${response.status} ${text.slice(0, 200)}`)
  const { output, usage } = (JSON.parse(last) as { readonly response: Answer }).response
  return { output, usage, firstMs: firstMs ?? 0 }
}

/** The simulator's counters. */
const counted = async (simulator: string) =>
  (await (await fetch(`${simulator}/simulator/stats`)).json()) as {
    readonly upgrades: number
    readonly uplinkBytes: number
  }

const turnsOfBranch = 3

/** What the model takes before its first event. An upstream that has ended a turn before a fork of it arrives, refuses that. */
const modelMs = 500

const run = async (url: string, simulator: string, branches: number): Promise<Figures> => {
  const body = JSON.stringify({ script: { rounds: 0 }, latency: modelMs })
  await fetch(`${simulator}/simulator/configure`, { method: "POST", body })
  const opening = [user("x".repeat(60_000))]
  const history = [...opening, ...(await ask(url, opening)).output]
  const before = await counted(simulator)
  const answers: Array<Answer> = []
  const branch = async (name: number) => {
    const input = [...history]
    for (let turn = 0; turn < turnsOfBranch; turn++) {
      input.push(user(`Branch ${name}, turn ${turn}: ${"y".repeat(2000)}`))
      const answer = await ask(url, input)
      answers.push(answer)
      input.push(...answer.output)
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: branches }, (_, name) => branch(name)))
  const wall = performance.now() - began
  const { uplinkBytes, upgrades } = await counted(simulator)
  const sum = (of: (usage: Usage) => number) => answers.reduce((total, { usage }) => total + of(usage), 0)
  const first = answers.map(({ firstMs }) => firstMs).sort((a, b) => a - b)
  return {
    dials: upgrades - before.upgrades,
    "cached %": (100 * sum((usage) => usage.input_tokens_details.cached_tokens)) / sum((usage) => usage.input_tokens),
    "first ms p50": quantile(first, 0.5),
    "first ms p99": quantile(first, 0.99),
    "up KB/turn": (uplinkBytes - before.uplinkBytes) / 1000 / answers.length,
    "wall ms": wall,
  }
}

const measure = (mode: Mode, branches: number, profile: string | undefined) =>
  Effect.gen(function* () {
    const here = Bun.fileURLToPath(new URL("../", import.meta.url))
    const child = yield* start(program(new URL("../../../src/main.ts", import.meta.url), ["simulator"]), { cwd: here })
    const simulator = yield* child.printed(/^simulator (\S+)\/v1$/)
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
