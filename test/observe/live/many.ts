/**
 * `bun run page:load`: opens the live page in a headless Chromium, of a proxy that holds 5,000 connections upstream, while
 * turns go on, with a verdict.
 *
 * The proxy, its upstream and the browser are processes of their own. It ends with 0 if each of the turns that are asked
 * for is seen on the page within a second of its end, and if the proxy's event loop was never late by 20 ms, by its own
 * metric, which remembers 15 seconds. On a machine that does other things both are the machine's as well.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Clock, Console, Data, Duration, Effect } from "effect"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { makeBrowser } from "../../support/Chromium.ts"
import { address, folder, start } from "../../support/Command.ts"
import { openTab } from "../../support/Tab.ts"

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "5000" },
    /** Turns that are waited for on the page, and sessions that go on meanwhile. */
    seen: { type: "string", default: "30" },
    sessions: { type: "string", default: "8" },
  },
})
const connections = Number(values.connections)

class Missed extends Data.TaggedError("Missed")<{ readonly message: string }> {}

/** In milliseconds. */
const most = { shown: 1000, late: 20 }

const upstreamFile = fileURLToPath(new URL("../../bench/processes/FastUpstream.ts", import.meta.url))

/** Its address. It ends with its standard input. */
const startUpstream = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = Bun.spawn([process.execPath, upstreamFile], { stdin: "pipe", stdout: "pipe", stderr: "inherit" })
      const { value } = await child.stdout.getReader().read()
      return { child, url: new TextDecoder().decode(value).trim().split(" ")[1] ?? "" }
    }),
    ({ child }) => Effect.sync(() => child.kill()),
  ),
  ({ url }) => url,
)

const post = (url: string, session: string, id: string, input = `hello from ${session}`) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/responses`, {
      method: "POST",
      headers: { authorization: "Bearer a-key", "session-id": session, "x-request-id": id },
      body: JSON.stringify({ model: "gpt-5.5", input }),
    })
    await response.text()
    if (response.status !== 200) throw new Error(`a turn was answered ${response.status}`)
  })

/** The longest lag of the last 15 seconds in milliseconds, and how many connections there are. */
const read = (origin: string) =>
  Effect.promise(async () => {
    const text = await (await fetch(`${origin}/metrics`)).text()
    const sum = (name: string) =>
      [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce(
        (all, [, it]) => all + Number(it),
        0,
      )
    return { late: 1000 * sum("respool_event_loop_lag_seconds"), connections: sum("respool_connections") }
  })

const program = Effect.gen(function* () {
  const cwd = yield* folder
  const upstream = yield* startUpstream
  const proxy = yield* start(["serve"], {
    cwd,
    env: {
      RESPOOL_PORT: "0",
      RESPOOL_UPSTREAM_URL: `${upstream}/v1`,
      RESPOOL_LOG_LEVEL: "none",
      RESPOOL_MAX_CONNECTIONS: String(connections + 100),
      RESPOOL_MAX_CONNECTIONS_PER_SCOPE: String(connections + 100),
    },
  })
  const url = yield* proxy.printed(address)
  const { origin } = new URL(url)
  const names = Array.from({ length: connections }, (_, at) => `session-${at}`)
  yield* Effect.forEach(names, (name) => post(url, name, `first-${name}`), { concurrency: 16, discard: true })
  const before = yield* read(origin)
  yield* Console.log(
    `${before.connections} connections are open; the proxy's event loop was late by ${before.late.toFixed(1)} ms meanwhile`,
  )

  const browser = yield* makeBrowser([])
  const tab = yield* openTab(browser.control)
  yield* tab.go(`${origin}/_respool/`)
  yield* tab.until(`document.querySelector("#connections tbody")?.rows.length > 10`)
  // To bundle the page, and to start a browser beside it, is not what is measured.
  yield* Console.log("the page is open")
  yield* Effect.sleep("16 seconds")

  // A frame of the page tells of a hundred turns at most: with more of them in a second, one that is waited for may be left out.
  const goOn = (at: number) =>
    Effect.forever(Effect.andThen(post(url, `session-${at}`, `on-${at}`), Effect.sleep("500 millis")))
  yield* Effect.forEach(Array.from({ length: Number(values.sessions) }), (_, at) => Effect.forkScoped(goOn(at)))
  const shown: Array<number> = []
  const late: Array<number> = []
  for (let at = 0; at < Number(values.seen); at++) {
    const id = `watched-${at}`
    yield* Effect.sleep(Duration.millis(100 * (at % 10)))
    yield* post(url, `session-${100 + at}`, id)
    const ended = yield* Clock.currentTimeMillis
    yield* tab.until(`document.querySelector("#feed").innerHTML.includes("${id}")`)
    shown.push((yield* Clock.currentTimeMillis) - ended)
    late.push((yield* read(origin)).late)
  }
  const after = yield* read(origin)
  const worst = { shown: Math.max(...shown), late: Math.max(...late) }
  const median = shown.toSorted((a, b) => a - b)[shown.length >> 1] ?? 0
  yield* Console.log(
    `with the page open, ${after.connections} connections and ${values.sessions} sessions that go on:`,
    `a turn was on the page ${median} ms after its end (median of ${shown.length}), ${worst.shown} ms at most;`,
    `the event loop was late by ${worst.late.toFixed(1)} ms at most`,
  )
  if (after.connections < connections)
    return yield* new Missed({ message: `there were only ${after.connections} connections` })
  if (worst.shown > most.shown)
    return yield* new Missed({ message: `a turn was shown after more than ${most.shown} ms` })
  if (worst.late > most.late)
    return yield* new Missed({ message: `the event loop was late by more than ${most.late} ms` })
  yield* Console.log("held")
})

program.pipe(
  Effect.scoped,
  Effect.provide(NodeFileSystem.layer),
  Effect.tapError((error) => Console.error(`page:load: ${error.message}`)),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
