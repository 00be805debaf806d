/**
 * An attack with a verdict: `bun run attack --minutes N --seed S`.
 *
 * The proxy, its upstream, an upstream that breaks every rule, the strangers and their idle sockets are processes of
 * their own; here run three clients that behave. First comes a storm of a minute, so that the proxy's code is compiled
 * and its memory has been as large as it becomes; then the clients alone; then the storm; then the clients alone again,
 * since an allocator gives back by what is asked of it, and what is compared must have had the same before. It ends with 0 if
 * - each turn of the three was right,
 * - the p99 of their small turns was at most 50 ms above what it was alone. What counts is a turn's time less the time for
 *   which the client, the proxy or the upstream was ready to run and had no core (Linux's `schedstat`), since the
 *   attackers run on the same cores, and others may; but never less than what the proxy's thread worked meanwhile, for
 *   whomever,
 * - once the strangers are gone the proxy's memory is within 1.2 times of what it was after the first storm: what were kept
 *   would grow with each (three storms of a minute: 157, 145 and 154 MiB),
 * - no descriptor is left, and the proxy lives.
 *
 * The strangers' pace (`--pace`, in milliseconds) leaves the proxy's thread some time: how often each does what it does,
 * how many idle sockets were open, and how much CPU the proxy took are told, and so is how long its event loop was held
 * at most. Idle sockets are as many as `ulimit -n` allows to the processes that open them. It needs Linux, whose `/proc`
 * says what a process holds.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Data, Duration, Effect, FileSystem } from "effect"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { ask, outputOf } from "../support/Ask.ts"
import { address, folder, start, startProgram } from "../support/Command.ts"
import { HostileUpstream } from "../support/HostileUpstream.ts"
import { user } from "../support/Items.ts"
import { conductOf, idlers, storm } from "./Storm.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    /** Strangers of each manner, their pause in milliseconds, and idle sockets. */
    strangers: { type: "string", default: "8" },
    pace: { type: "string", default: "200" },
    idle: { type: "string", default: "30000" },
    /** Of the storm before. */
    warmUp: { type: "string", default: "1" },
    /** What a process of the attack is. */
    hostile: { type: "boolean", default: false },
    storm: { type: "string" },
    idlers: { type: "string" },
  },
})

const seed = Number(values.seed)

class AttackError extends Data.TaggedError("AttackError")<{ readonly message: string }> {}

/** A small turn in the storm may take so many milliseconds more than alone, and memory so many times as much. */
const mayTake = 50
const mayGrow = 1.2

const aloneFor = Duration.seconds(30)

/** Of the descriptors of a process that opens idle sockets, these are for other things. */
const ownDescriptors = 500

/** What takes minutes in earnest, so that all of it is over long before the end. */
const env = {
  RESPOOL_LOG_LEVEL: "none",
  RESPOOL_IDLE_TTL: "20 seconds",
  RESPOOL_CLIENT_TIMEOUT: "5 seconds",
  RESPOOL_FIRST_EVENT_TIMEOUT: "10 seconds",
  RESPOOL_EVENT_TIMEOUT: "10 seconds",
  RESPOOL_TURN_TIMEOUT: "20 seconds",
}

/** Longer than all of these. */
const calm = Duration.seconds(40)

const self = (...args: ReadonlyArray<string>) => [process.execPath, fileURLToPath(import.meta.url), ...args]

const linksOf = (pid: number): ReadonlyArray<string> =>
  readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${name}`)]
    } catch {
      // The one of the folder itself, which is closed by now.
      return []
    }
  })

/** The two ports of each connection of the machine, by what a descriptor of it links to. */
const connections = (): ReadonlyMap<string, { readonly local: string; readonly remote: string }> =>
  new Map(
    ["tcp", "tcp6"].flatMap((table) =>
      readFileSync(`/proc/net/${table}`, "utf8")
        .split("\n")
        .slice(1)
        .flatMap((line) => {
          const [, local = "", remote = "", , , , , , , inode] = line.trim().split(/\s+/)
          const port = (end: string) => String(Number.parseInt(end.split(":").at(-1) ?? "", 16))
          return inode === undefined
            ? []
            : [[`socket:[${inode}]`, { local: port(local), remote: port(remote) }] as const]
        }),
    ),
  )

/** What a process holds; without the connections that the clients here keep for their next turn, one more or less. */
const held = (pid: number) => {
  const known = connections()
  const ours = new Set(linksOf(process.pid).flatMap((link) => known.get(link)?.local ?? []))
  const descriptors = linksOf(pid).flatMap((link) => {
    const connection = known.get(link)
    if (connection === undefined) return [link.replace(/\d+/, "N")]
    return ours.has(connection.remote) ? [] : [`a connection of ports ${connection.local} and ${connection.remote}`]
  })
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024
  return { descriptors: descriptors.toSorted(), resident }
}

/** Seconds of CPU that all threads of a process have used, by clock ticks of a hundredth. */
const cpuOf = (pid: number): number => {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ").slice(11, 13) ?? []
  return (Number(user) + Number(system)) / 100
}

/** Of a process's main thread, in milliseconds so far: how long it ran, and how long it was ready to and had no core. */
const scheduled = (pid: number) => {
  const [ran = NaN, waited = NaN] = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ").map(Number)
  return { ran: ran / 1e6, waited: waited / 1e6 }
}

const openFiles = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1])

const quantile = (sorted: ReadonlyArray<number>, share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

interface Seen {
  /** Of each turn, as a clock has it, and without what was waited for a core. */
  readonly millis: Array<number>
  readonly own: Array<number>
  readonly wrong: Array<string>
}

interface Place {
  readonly url: string
  readonly proxy: number
  /** Further processes that have a part in a turn. */
  readonly others: ReadonlyArray<number>
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
const client = Effect.fnUntraced(function* ({ others, proxy, url }: Place, name: string, { millis, own, wrong }: Seen) {
  const now = () => {
    const { ran, waited } = scheduled(proxy)
    return { ran, waited: others.reduce((sum, pid) => sum + scheduled(pid).waited, waited), at: performance.now() }
  }
  for (let conversation = 0; ; conversation++) {
    let input: ReadonlyArray<JsonObject> = [user(`${name}, ${conversation}`)]
    for (let turn = 0; turn < 10; turn++) {
      const began = now()
      const answer = yield* ask(`${url}/responses`, {
        key: `test-key-${name}`,
        headers: { "session-id": `${name}-${conversation}` },
        body: { model: "gpt-5.5", input: [...input] },
      })
      const ended = now()
      const took = ended.at - began.at
      millis.push(took)
      // Several may have waited at one time; but what the proxy did meanwhile was never a wait for a core.
      own.push(Math.max(took - (ended.waited - began.waited), ended.ran - began.ran))
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

const figuresOf = (millis: ReadonlyArray<number>) => {
  const sorted = millis.toSorted((one, other) => one - other)
  const [p50, p99] = [quantile(sorted, 0.5), quantile(sorted, 0.99)]
  return { p99, text: `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms` }
}

/** All clients for a while. */
const clients = Effect.fnUntraced(function* (what: string, place: Place, lasting: Duration.Duration) {
  const seen: Seen = { millis: [], own: [], wrong: [] }
  yield* Effect.forEach(["a", "b", "c"], (name) => client(place, name, seen), {
    concurrency: "unbounded",
    discard: true,
  }).pipe(Effect.timeoutOption(lasting))
  const [all, own] = [figuresOf(seen.millis), figuresOf(seen.own)]
  yield* Console.log(`${what}: ${seen.millis.length} turns, ${seen.wrong.length} wrong, ${own.text}`)
  yield* Console.log(`  with what was waited for a core: ${all.text}`)
  for (const line of seen.wrong.slice(0, 5)) yield* Console.log(`  ${line}`)
  return { p99: own.p99, turns: seen.millis.length, wrong: seen.wrong.length }
})

const lastOf = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].at(-1)?.[1] ?? "nothing"

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
  const heart = `${cwd}/heart`
  yield* fs.writeFileString(heart, "")
  const preload = {
    BUN_OPTIONS: `--preload=${new URL("../support/Heart.ts", import.meta.url).pathname}`,
    HEART_FILE: heart,
  }
  const proxy = yield* start(["serve"], { cwd, env: { ...env, ...preload } })
  const place: Place = { url: yield* proxy.printed(address), proxy: proxy.pid, others: [simulator.pid, process.pid] }

  const idle = Number(values.idle)
  const ofOne = Math.min(openFiles - ownDescriptors, idle)
  const processes = idle === 0 ? 0 : Math.ceil(idle / ofOne)

  const stormy = Effect.fnUntraced(function* (what: string, minutes: number) {
    const strangers = self(
      `--storm=${place.url}`,
      `--seed=${seed}`,
      `--strangers=${values.strangers}`,
      `--pace=${values.pace}`,
    )
    const cpu = cpuOf(proxy.pid)
    const beats = (yield* fs.readFileString(heart)).length
    const seen = yield* Effect.scoped(
      Effect.gen(function* () {
        const storm = yield* startProgram(strangers, { cwd })
        const idlers = yield* Effect.forEach(Array.from({ length: processes }), (_, index) =>
          startProgram(self(`--idlers=${place.url}`, `--idle=${Math.min(ofOne, idle - index * ofOne)}`), { cwd }),
        )
        const seen = yield* clients(what, place, Duration.minutes(minutes))
        yield* Console.log(`  strangers: ${lastOf(storm.stdout(), /^storm (.*)$/gm)}`)
        const open = idlers.map(({ stdout }) => lastOf(stdout(), /^open (\d+)$/gm)).join(" + ")
        yield* Console.log(`  idle sockets: ${idle} kept being opened, ${open} open in the end of at most ${openFiles}`)
        return seen
      }),
    )
    const holds = (yield* fs.readFileString(heart)).slice(beats).split("\n").filter(Boolean).map(Number)
    const sorted = holds.toSorted((one, other) => one - other)
    const share = ((cpuOf(proxy.pid) - cpu) / (minutes * 60)) * 100
    yield* Console.log(
      `  the proxy: ${share.toFixed(0)} % of a core; its loop was held at most ${quantile(sorted, 0.5).toFixed(0)} ms of CPU in the median second, ${quantile(sorted, 1).toFixed(0)} ms in the worst`,
    )
    yield* Effect.sleep(calm)
    return seen
  })

  const first = yield* stormy("in the first storm", Number(values.warmUp))
  const alone = yield* clients("alone", place, aloneFor)
  yield* Effect.sleep(calm)
  const before = held(proxy.pid)
  const second = yield* stormy("in the storm", Number(values.minutes))
  const again = yield* clients("alone again", place, aloneFor)
  yield* Effect.sleep(calm)
  const after = held(proxy.pid)
  yield* Console.log(
    `held: ${before.descriptors.length} → ${after.descriptors.length} descriptors, ${before.resident.toFixed(0)} → ${after.resident.toFixed(0)} MiB`,
  )
  for (const kept of after.descriptors) {
    if (!before.descriptors.includes(kept)) yield* Console.log(`  ${kept}`)
  }
  const above = second.p99 - alone.p99
  yield* Console.log(`p99: ${above.toFixed(0)} ms above alone`)
  const broken = [
    ...(alone.turns === 0 || second.turns === 0 ? ["no turn"] : []),
    ...(first.wrong + alone.wrong + second.wrong + again.wrong > 0 ? ["a turn was wrong"] : []),
    ...(above > mayTake ? [`p99 is ${above.toFixed(0)} ms above`] : []),
    ...(after.resident > before.resident * mayGrow ? ["memory was kept"] : []),
    ...(after.descriptors.length > before.descriptors.length ? ["descriptors were kept"] : []),
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
    ? storm(values.storm, { each: Number(values.strangers), pace: Number(values.pace), seed })
    : values.idlers !== undefined
      ? idlers(values.idlers, { count: Number(values.idle), seed })
      : values.hostile
        ? hostile
        : attack

program.pipe(
  Effect.tapError((error) => Console.error(`attack: ${error.message}`)),
  Effect.provide(NodeFileSystem.layer),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
