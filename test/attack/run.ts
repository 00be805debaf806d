/**
 * An attack with a verdict: `bun run attack --minutes N --seed S`.
 *
 * The proxy, its upstream, an upstream that breaks every rule, and the strangers are processes of their own; here run
 * three clients that behave, first alone and then in the storm. It ends with 0 if each of their turns was right, a small
 * turn's p99 was at most 50 ms above what it was alone, and once the strangers are gone the proxy's memory is within 1.2
 * times of what it was, and no descriptor is left. It needs Linux, whose `/proc` says what a process holds.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Data, Duration, Effect, FileSystem } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { ask, outputOf } from "../support/Ask.ts"
import { address, folder, start, startProgram } from "../support/Command.ts"
import { HostileUpstream } from "../support/HostileUpstream.ts"
import { user } from "../support/Items.ts"
import { conductOf, storm } from "./Storm.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    /** Strangers of each manner, and idle ones. */
    strangers: { type: "string", default: "8" },
    idle: { type: "string", default: "500" },
    /** What a process of the attack is. */
    hostile: { type: "boolean", default: false },
    storm: { type: "string" },
  },
})

const seed = Number(values.seed)

class AttackError extends Data.TaggedError("AttackError")<{ readonly message: string }> {}

/** A small turn in the storm may take so many milliseconds more than alone, and memory so many times as much. */
const mayTake = 50
const mayGrow = 1.2

const aloneFor = Duration.seconds(10)

/** What takes minutes in earnest, so that all of it is over long before the end. */
const env = {
  RESPOOL_LOG_LEVEL: "none",
  RESPOOL_IDLE_TTL: "5 seconds",
  RESPOOL_CLIENT_TIMEOUT: "5 seconds",
  RESPOOL_FIRST_EVENT_TIMEOUT: "10 seconds",
  RESPOOL_EVENT_TIMEOUT: "10 seconds",
  RESPOOL_TURN_TIMEOUT: "20 seconds",
}

/** Longer than all of these. */
const calm = Duration.seconds(40)

const self = (...args: ReadonlyArray<string>) => [process.execPath, fileURLToPath(import.meta.url), ...args]

const held = (pid: number) => ({
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  resident: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024,
})

const quantile = (sorted: ReadonlyArray<number>, share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

interface Seen {
  readonly millis: Array<number>
  readonly wrong: Array<string>
}

/** What a client answers to an output: the results of its calls, or else the next question. */
const replies = (output: ReadonlyArray<JsonObject>, question: string): ReadonlyArray<JsonObject> => {
  const results = output.flatMap(({ call_id, type }) =>
    type === "function_call" && call_id !== undefined
      ? [{ type: "function_call_output", call_id, output: "done" }]
      : [],
  )
  return results.length > 0 ? results : [user(question)]
}

/** One conversation after the other, ten turns each; every turn but the first must be continued. */
const client = Effect.fnUntraced(function* (url: string, name: string, { millis, wrong }: Seen) {
  for (let conversation = 0; ; conversation++) {
    let input: ReadonlyArray<JsonObject> = [user(`${name}, ${conversation}`)]
    for (let turn = 0; turn < 10; turn++) {
      const began = performance.now()
      const answer = yield* ask(`${url}/responses`, {
        key: `test-key-${name}`,
        headers: { "session-id": `${name}-${conversation}` },
        body: { model: "gpt-5.5", input: [...input] },
      })
      millis.push(performance.now() - began)
      const reason = answer.headers.get("x-respool-reason")
      if (answer.json?.["status"] !== "completed" || (turn > 0 && reason !== "continued")) {
        wrong.push(`${name}, turn ${turn}: ${answer.status} ${reason} ${answer.text.slice(0, 200)}`)
        break
      }
      const output = outputOf(answer)
      input = [...input, ...output, ...replies(output, `${turn}?`)]
      yield* Effect.sleep("20 millis")
    }
  }
})

/** Three clients for a while; their turns, the fastest first. */
const clients = Effect.fnUntraced(function* (what: string, url: string, lasting: Duration.Duration) {
  const seen: Seen = { millis: [], wrong: [] }
  yield* Effect.forEach(["a", "b", "c"], (name) => client(url, name, seen), {
    concurrency: "unbounded",
    discard: true,
  }).pipe(Effect.timeoutOption(lasting))
  const sorted = seen.millis.toSorted((one, other) => one - other)
  const p99 = quantile(sorted, 0.99)
  const figures = `p50 ${quantile(sorted, 0.5).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
  yield* Console.log(`${what}: ${sorted.length} turns, ${seen.wrong.length} wrong, ${figures}`)
  for (const line of seen.wrong.slice(0, 5)) yield* Console.log(`  ${line}`)
  return { p99, turns: sorted.length, wrong: seen.wrong.length }
})

const attack = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const cwd = yield* folder
  const simulator = yield* start(["simulator"], { cwd })
  const upstream = yield* simulator.printed(/^simulator (\S+)$/m)
  const hostile = yield* startProgram(self("--hostile", `--seed=${seed}`), { cwd })
  const port = yield* hostile.printed(/^hostile (\d+)$/m)
  const upstreams = {
    honest: { url: upstream },
    hostile: { url: `http://127.0.0.1:${port}/v1`, models: ["hostile"], credential: "caller" },
  }
  yield* fs.writeFileString(`${cwd}/respool.json`, JSON.stringify({ port: 0, upstreams, defaultUpstream: "honest" }))
  const proxy = yield* start(["serve"], { cwd, env })
  const url = yield* proxy.printed(address)

  const alone = yield* clients("alone", url, aloneFor)
  yield* Effect.sleep(calm)
  const before = held(proxy.pid)
  const strangers = [`--storm=${url}`, `--seed=${seed}`, `--strangers=${values.strangers}`, `--idle=${values.idle}`]
  const stormy = yield* Effect.scoped(
    Effect.andThen(
      startProgram(self(...strangers), { cwd }),
      clients("in the storm", url, Duration.minutes(Number(values.minutes))),
    ),
  )
  yield* Effect.sleep(calm)
  const after = held(proxy.pid)
  yield* Console.log(
    `held: ${before.descriptors} → ${after.descriptors} descriptors, ${before.resident.toFixed(0)} → ${after.resident.toFixed(0)} MiB`,
  )
  const broken = [
    ...(alone.turns === 0 || stormy.turns === 0 ? ["no turn"] : []),
    ...(alone.wrong + stormy.wrong > 0 ? ["a turn was wrong"] : []),
    ...(stormy.p99 > alone.p99 + mayTake ? [`p99 is ${(stormy.p99 - alone.p99).toFixed(0)} ms above`] : []),
    ...(after.resident > before.resident * mayGrow ? ["memory was kept"] : []),
    ...(after.descriptors > before.descriptors ? ["descriptors were kept"] : []),
  ]
  if (broken.length > 0) return yield* new AttackError({ message: `failed: ${broken.join(", ")}` })
  yield* Console.log("passed: what strangers did cost the clients nothing")
}).pipe(Effect.scoped)

const hostile = Effect.gen(function* () {
  const { conduct, port } = yield* HostileUpstream
  conduct.now = conductOf(seed)
  yield* Console.log(`hostile ${port}`)
  return yield* Effect.never
}).pipe(Effect.provide(HostileUpstream.layer))

const program: Effect.Effect<void, { readonly message: string }, FileSystem.FileSystem> =
  values.storm !== undefined
    ? storm(values.storm, { each: Number(values.strangers), idle: Number(values.idle), seed })
    : values.hostile
      ? hostile
      : attack

program.pipe(
  Effect.tapError((error) => Console.error(`attack: ${error.message}`)),
  Effect.provide(NodeFileSystem.layer),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
