/**
 * An agent of the AI SDK over respool's `fetch`, beside another `fetch` that takes turns to a WebSocket, and beside the
 * platform's: what each costs against the simulator, and what is left of a turn that was aborted.
 *
 *     git clone https://github.com/vercel-labs/ai-sdk-openai-websocket ../peer
 *     bun test/bench/peer.ts ../peer/packages/ai-sdk-openai-websocket-fetch/src/index.ts
 *
 * The peer is not in this repository, nor by its name at npm; without a path it is left out.
 */
import { createOpenAI } from "@ai-sdk/openai"
import { isStepCount, streamText, tool } from "ai"
import { Effect } from "effect"
import { resolve } from "node:path"
import { z } from "zod"
import { createFetch, type FetchFunction } from "../../src/Fetch.ts"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"

const turns = 20
const rounds = 9
const warmUps = 3

interface Target {
  readonly fetch: FetchFunction
  readonly close: () => unknown
}

type Make = (url: string) => Target | Promise<Target>

interface Peer {
  readonly createWebSocketFetch: (options: { readonly url: string }) => FetchFunction & { readonly close: () => void }
}

const [path] = process.argv.slice(2)

const targets: Readonly<Record<string, Make>> = {
  "respool/fetch": () => {
    const fetch = createFetch()
    return { fetch, close: fetch.close }
  },
  ...(path === undefined
    ? {}
    : {
        "the peer": async (url: string) => {
          const { createWebSocketFetch } = (await import(resolve(path))) as Peer
          const fetch = createWebSocketFetch({ url: `${url.replace("http", "ws")}/responses` })
          return { fetch, close: fetch.close }
        },
      }),
  fetch: () => ({ fetch: globalThis.fetch, close: () => {} }),
}

/** About 3 KB of what a tool brings back; no two are alike. */
const found = (call: number) => `result ${call}: ${`line ${call} of a file, as the tool found it. `.repeat(70)}`

const agentLoop = async (fetch: FetchFunction, baseURL: string) => {
  let calls = 0
  const provider = createOpenAI({ baseURL, apiKey: "test-key-a", fetch: fetch as typeof globalThis.fetch })
  const result = streamText({
    model: provider.responses("gpt-5.5"),
    instructions: "You work through a repository step by step. ".repeat(40),
    prompt: `Use ${turns - 1} steps to find out what this repository does.`,
    tools: { read: tool({ inputSchema: z.looseObject({ path: z.string() }), execute: () => found(++calls) }) },
    stopWhen: isStepCount(turns),
    maxRetries: 0,
    providerOptions: { openai: { store: false, parallelToolCalls: false } },
  })
  await result.consumeStream()
  return (await result.steps).length
}

/** Aborts a turn in the middle, asks the next one, and gives how many events of the first it was told. */
const tail = async (fetch: FetchFunction, url: string, held: () => Promise<void>, release: () => Promise<void>) => {
  const ask = (input: string, signal?: AbortSignal) =>
    fetch(`${url}/responses`, {
      method: "POST",
      headers: { authorization: "Bearer test-key-a", "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-5.5", input, stream: true, store: false }),
      ...(signal === undefined ? {} : { signal }),
    })
  const controller = new AbortController()
  await held()
  const reader = (await ask("first", controller.signal)).body?.getReader()
  const text = new TextDecoder().decode((await reader?.read())?.value)
  const first = /"id":"(resp_\w+)"/.exec(text)?.[1]
  controller.abort()
  await reader?.cancel().catch(() => {})
  const next = await ask("second")
  await release()
  const told = await next.text()
  const ofFirst = first === undefined ? 0 : told.split("\n\n").filter((event) => event.includes(first)).length
  return `${ofFirst} events of it in the next answer, which ${told.includes("response.completed") ? "ends" : "does not end"}`
}

const median = (all: ReadonlyArray<number>) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0

interface Counted {
  readonly walls: Array<number>
  dials: number
  up: number
  suffix: number
  steps: number
}

/** Every round runs each target once, since a busy machine slows down whoever runs; the first rounds warm up. */
const measured = Effect.gen(function* () {
  const simulator = yield* Simulator
  const { url } = simulator
  const run = Effect.runPromiseWith(yield* Effect.context<never>())
  return yield* Effect.promise(async () => {
    const all = Object.entries(targets).map(([name, make]) => {
      const counted: Counted = { walls: [], dials: 0, up: 0, suffix: 0, steps: 0 }
      return { name, make, counted }
    })
    for (let round = -warmUps; round < rounds; round++) {
      for (const { counted, make } of all) {
        const before = { ...simulator.counters }
        const target = await make(url)
        const at = performance.now()
        counted.steps = await agentLoop(target.fetch, url)
        if (round >= 0) counted.walls.push(performance.now() - at)
        const { continuations, upgrades, uplinkBytes } = simulator.counters
        counted.dials = upgrades - before.upgrades
        counted.up = uplinkBytes - before.uplinkBytes
        counted.suffix = continuations - before.continuations
        await target.close()
      }
    }
    const lines: Array<string> = []
    for (const { counted, make, name } of all) {
      const target = await make(url)
      const hold = () => run(simulator.failNext({ _tag: "Hold", at: 6 }))
      const left = await tail(target.fetch, url, hold, () => run(simulator.release))
      await target.close()
      const { dials, steps, suffix, up, walls } = counted
      lines.push(
        `${name.padEnd(14)} ${steps} turns  ${dials} dials  ${up.toLocaleString("en-US")} bytes up  ${suffix} as suffix  ${median(walls).toFixed(0)} ms; aborted: ${left}`,
      )
    }
    return lines
  })
}).pipe(Effect.provide(Simulator.layer({ script: agent({ rounds: turns - 1 }), recordLimit: 10 })))

// What the AI SDK thinks of its options is not asked for here.
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })
console.log(`${turns} turns, median of ${rounds} rounds`)
for (const line of await Effect.runPromise(measured)) console.log(line)
process.exit(0)
