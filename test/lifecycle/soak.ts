/**
 * A soak on real sockets and real time: `bun run soak --minutes N --seed S`.
 *
 * The proxy and its clients run here, the simulator as a process of its own. Every ten seconds it prints what is held and
 * how much memory is resident; in the end the clients stop, the connections idle out, and it ends with 0 if sockets,
 * fibers, timers and entries are back where they began and memory has not grown in the second half.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Data, Duration, Effect, Fiber, Layer, Logger, Random } from "effect"
import { HttpServer } from "effect/http"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Server from "../../src/Server.ts"
import { Settings } from "../../src/config/Settings.ts"
import { runSimulator } from "../../src/cli/SimulatorProcess.ts"
import { Census } from "../../src/testing/Testing.ts"
import { TurnMemory } from "../../src/turn/memory/TurnMemory.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import * as Upheaval from "./Upheaval.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    clients: { type: "string", default: "24" },
    simulator: { type: "boolean", default: false },
  },
})

/** Resident memory at the end may be this much of what it was at half time. */
const maxGrowth = 1.05

const interval = 10_000

/** Everything that takes minutes or hours in earnest, in seconds. */
const settings = (upstreamUrl: string) =>
  Settings.layer({
    upstreamUrl,
    port: 0,
    idleTtl: 6_000,
    maxAge: 30_000,
    pingInterval: 2_000,
    handshakeTimeout: 2_000,
    firstEventTimeout: 3_000,
    eventTimeout: 3_000,
    turnTimeout: 20_000,
    drainTimeout: 2_000,
    maxConnections: 16,
    maxConnectionsPerSession: 2,
    busy: "wait",
  })

/** Longer than what idles, what hangs and what a client waits for. */
const calm = Duration.seconds(30)

class SoakError extends Data.TaggedError("SoakError")<{ readonly message: string }> {}

/** Its address, from the line that it prints first. */
const startSimulator = Effect.gen(function* () {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn([process.execPath, fileURLToPath(import.meta.url), "--simulator"], {
        stdout: "pipe",
        stderr: "inherit",
      }),
    ),
    (child) =>
      Effect.promise(async () => {
        child.kill()
        await child.exited
      }),
  )
  const first = yield* Effect.promise(() => child.stdout.getReader().read())
  return new TextDecoder().decode(first.value).trim().replace("simulator ", "")
})

const openSockets = (control: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${control}/stats`)
    return ((await response.json()) as { readonly openSockets: number }).openSockets
  })

const residentMiB = () => {
  Bun.gc(true)
  return process.memoryUsage.rss() / 1024 / 1024
}

const median = (numbers: ReadonlyArray<number>) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

const soak = Effect.fnUntraced(function* (url: string, upstreamUrl: string) {
  const control = `${upstreamUrl.replace(/\/v1$/, "")}/simulator`
  const census = yield* Census
  const pool = yield* ConnectionPool
  const memory = yield* TurnMemory
  const seed = Number(values.seed)
  const tally: Upheaval.Tally = { completed: 0, refused: 0, broken: 0, left: 0 }
  const start = performance.now()

  const held = Effect.gen(function* () {
    const resident = residentMiB()
    const { fibers, timers } = census.take()
    return {
      sockets: yield* openSockets(control),
      connections: pool.connections().length,
      waiting: pool.waiting(),
      entries: memory.size(),
      fibers: fibers ?? 0,
      timers: timers ?? 0,
      heap: process.memoryUsage().heapUsed / 1024 / 1024,
      resident,
    }
  })
  const line = Effect.fnUntraced(function* (what: string) {
    const now = yield* held
    const seconds = Math.round((performance.now() - start) / 1000)
    const memory = { heap: `${now.heap.toFixed(1)}MiB`, resident: `${now.resident.toFixed(1)}MiB` }
    const counts = Object.entries({ ...now, ...memory, ...tally })
    yield* Console.log([`${what} ${seconds}s`, ...counts.map(([name, count]) => `${name}=${count}`)].join(" "))
    return now
  })

  const before = yield* line("before")
  const disturbed = yield* Effect.forkChild(Random.withSeed(Upheaval.upstream(control), seed))
  const clients = yield* Effect.forEach(
    Array.from({ length: Number(values.clients) }, (_, index) => index),
    (index) => Effect.forkChild(Random.withSeed(Upheaval.client(url, `client ${index}`, tally), seed + index + 1)),
  )
  const samples: Array<number> = []
  const rounds = Math.max(2, Math.round((Number(values.minutes) * 60_000) / interval))
  for (let round = 1; round <= rounds; round++) {
    yield* Effect.sleep(Duration.millis(interval))
    samples.push((yield* line("soak")).resident)
  }
  yield* Fiber.interruptAll([disturbed, ...clients])
  yield* Effect.sleep(calm)
  const after = yield* line("after")

  // What the allocator keeps goes up and down by a tenth: the median of a while says more than one sample.
  const window = Math.max(3, Math.ceil(samples.length / 12))
  const half = Math.ceil(samples.length / 2)
  const atHalfTime = median(samples.slice(Math.max(0, half - window), half))
  const atEnd = median(samples.slice(-window))
  yield* Console.log(
    `resident: ${atHalfTime.toFixed(1)} MiB at half time, ${atEnd.toFixed(1)} MiB at the end, ratio ${(atEnd / atHalfTime).toFixed(3)}`,
  )
  const wrong = [
    ...(["sockets", "connections", "waiting", "entries", "fibers"] as const).filter(
      (name) => after[name] > before[name],
    ),
    ...(after.timers > before.timers + 8 ? ["timers"] : []),
    ...(atEnd > atHalfTime * maxGrowth ? ["resident"] : []),
    ...(tally.completed === 0 ? ["completed"] : []),
  ]
  if (wrong.length > 0) return yield* new SoakError({ message: `failed: ${wrong.join(", ")}` })
  yield* Console.log("passed: everything is back where it began")
})

const program = Effect.gen(function* () {
  const upstreamUrl = yield* startSimulator
  const proxy = Server.layer.pipe(
    Layer.provide(settings(upstreamUrl)),
    Layer.provide([NodeFileSystem.layer, NodePath.layer, Logger.layer([])]),
  )
  yield* Effect.gen(function* () {
    const server = yield* HttpServer.HttpServer
    yield* soak(`${HttpServer.formatAddress(server.address)}/v1`, upstreamUrl)
  }).pipe(Effect.provide(proxy.pipe(Layer.provideMerge(Census.layer))))
}).pipe(Effect.scoped)

const main: Effect.Effect<void, { readonly message: string }> = values.simulator ? runSimulator() : program

main.pipe(
  Effect.tapError((error) => Console.error(`soak: ${error.message}`)),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
