/**
 * The demo: one agent of 20 turns with the `openai` SDK, straight to the simulator and then through the proxy.
 *
 * The simulator is another process, and every figure that is compared was counted there. `neededBytes` is taken from
 * the straight run, where it sees the whole history each time and knows what of it was new.
 */
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse, HttpServer } from "effect/http"
import { ChildProcess } from "effect/process"
import type { OpenAI as Client } from "openai"
import * as Logging from "./Logging.ts"
import * as Server from "../Server.ts"
import { proxyOfFetch } from "../config/ProxyRules.ts"
import { Settings } from "../config/Settings.ts"

class DemoError extends Schema.TaggedError<DemoError>()("DemoError", {
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect()),
}) {}

const turns = 20

/** The simulator's counts that the demo compares. Sizes in bytes of payload. */
const Counters = Schema.Struct({
  upgrades: Schema.Number,
  continuations: Schema.Number,
  httpTurns: Schema.Number,
  websocketTurns: Schema.Number,
  uplinkBytes: Schema.Number,
  inputBytes: Schema.Number,
  neededBytes: Schema.Number,
  cachedTokens: Schema.Number,
  inputTokens: Schema.Number,
})

/** About 20 KB of what an agent sends with every turn. */
const instructions = "You work through a repository step by step and call one tool at a time. ".repeat(140)
const tools = Array.from({ length: 12 }, (_, index) => ({
  type: "function" as const,
  name: `tool_${index}`,
  description: `Reads part ${index} of the repository. `.repeat(16),
  parameters: {
    type: "object",
    properties: {
      path: { type: "string", description: "A path below the repository's root." },
      limit: { type: "number" },
    },
    required: ["path", "limit"],
    additionalProperties: false,
  },
  strict: true,
}))

/** About 2 KB of what a tool brings back; no two are alike. */
const toolOutput = (call: number) => `result ${call}: ${`line ${call} of a file, as the tool found it. `.repeat(46)}`

/** The simulator's record of each turn. */
const Turns = Schema.Array(
  Schema.Struct({
    transport: Schema.String,
    connection: Schema.Number,
    newItems: Schema.Number,
    contextItems: Schema.Number,
    uplinkBytes: Schema.Number,
  }),
)

/** All of it is on this machine, whatever proxy the environment names. */
const directly = { proxy: proxyOfFetch(undefined) } as const

/** What the client saw of a turn. */
interface Seen {
  readonly transport: string
  readonly connection: string
  readonly input: string
  readonly firstEventMs: number
}

const loadSdk = Effect.tryPromise({
  try: () => import("openai"),
  catch: (cause) => new DemoError({ message: "the demo needs the `openai` package: bun add openai", cause }),
})

/** Runs the agent; `onTurn` sees each turn when its stream has ended. */
const runAgent = (client: Client, onTurn: (seen: Seen) => void) =>
  Effect.tryPromise({
    try: async () => {
      const input: Array<Client.Responses.ResponseInputItem> = [
        { role: "user", content: `Use ${turns - 1} steps to find out what this repository does.` },
      ]
      let calls = 0
      for (let turn = 1; turn <= turns; turn++) {
        const startedAt = performance.now()
        const { data: events, response } = await client.responses
          .create({
            model: "gpt-5.5",
            instructions,
            tools,
            input,
            stream: true,
            store: false,
            parallel_tool_calls: false,
          })
          .withResponse()
        let firstEventMs = 0
        let completed: Client.Responses.Response | undefined
        for await (const event of events) {
          if (firstEventMs === 0) firstEventMs = performance.now() - startedAt
          if (event.type === "response.completed") completed = event.response
        }
        if (completed === undefined) throw new Error(`turn ${turn} did not complete`)
        const header = (name: string) => response.headers.get(`x-respool-${name}`) ?? ""
        onTurn({
          transport: header("transport"),
          connection: header("connection"),
          input: header("input"),
          firstEventMs,
        })
        // The SDK types what comes out and what goes in apart; the API takes the items that it gave back as they are.
        input.push(...(completed.output as Array<Client.Responses.ResponseInputItem>))
        for (const item of completed.output) {
          if (item.type !== "function_call") continue
          calls++
          input.push({ type: "function_call_output", call_id: item.call_id, output: toolOutput(calls) })
        }
      }
    },
    catch: (cause) =>
      new DemoError({ message: `the agent stopped: ${cause instanceof Error ? cause.message : String(cause)}`, cause }),
  })

/** Of one executable file the command line has no other file. */
const isExecutable = /^(\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/.test(Bun.main)

/** Starts the simulator as another process, which ends with the scope, and gives its base URL. */
const startSimulator = Effect.gen(function* () {
  const child = yield* ChildProcess.make(process.execPath, [...(isExecutable ? [] : [Bun.main]), "simulator"], {
    stderr: "inherit",
  })
  const line = yield* child.stdout.pipe(Stream.decodeText(), Stream.splitLines, Stream.runHead)
  const url = line._tag === "Some" ? /^simulator (\S+)$/.exec(line.value)?.[1] : undefined
  if (url === undefined) return yield* new DemoError({ message: "the simulator did not start" })
  return url
})

const run = Effect.fnUntraced(function* (
  options: { readonly json: boolean; readonly keep: boolean },
  simulator: string,
) {
  const http = yield* HttpClient.HttpClient
  const control = simulator.replace(/\/v1$/, "/simulator")
  const counters = http.get(`${control}/stats`).pipe(Effect.flatMap(HttpClientResponse.schemaBodyJson(Counters)))
  const { OpenAI } = yield* loadSdk
  const clientAt = (baseURL: string) =>
    new OpenAI({
      baseURL,
      apiKey: "demo",
      maxRetries: 0,
      defaultHeaders: { "session-id": "demo" },
      fetchOptions: directly,
    })
  const say = (line: string) => (options.json ? Effect.void : Console.log(line))

  yield* runAgent(clientAt(simulator), () => {})
  const direct = yield* counters
  yield* http.post(`${control}/reset`)

  const address = yield* HttpServer.addressFormattedWith(Effect.succeed)
  const seen: Array<Seen> = []
  yield* runAgent(clientAt(`${address}/v1`), (turn) => seen.push(turn))
  const pooled = yield* counters
  const records = yield* http.get(`${control}/turns`).pipe(Effect.flatMap(HttpClientResponse.schemaBodyJson(Turns)))

  const result = {
    ok: pooled.upgrades === 1 && pooled.continuations === turns - 1 && seen.length === turns,
    turns: pooled.httpTurns + pooled.websocketTurns,
    suffixTurns: pooled.continuations,
    dials: pooled.upgrades,
    inputBytes: pooled.inputBytes,
    directInputBytes: direct.inputBytes,
    uplinkBytes: pooled.uplinkBytes,
    directUplinkBytes: direct.uplinkBytes,
    neededBytes: direct.neededBytes,
    inputTokens: pooled.inputTokens,
    cachedTokens: pooled.cachedTokens,
    directCachedTokens: direct.cachedTokens,
  }
  if (options.json) {
    yield* Console.log(JSON.stringify(result))
  } else {
    yield* say("turn  transport  connection  input   items sent of all  bytes up  first event")
    for (const [index, { connection, firstEventMs, input, transport }] of seen.entries()) {
      const { contextItems = 0, newItems = 0, uplinkBytes = 0 } = records[index] ?? {}
      yield* say(
        [
          String(index + 1).padStart(4),
          transport.padEnd(9),
          connection.padEnd(10),
          input.padEnd(6),
          `${newItems} of ${contextItems}`.padEnd(17),
          grouped(uplinkBytes).padStart(8),
          `${firstEventMs.toFixed(1)} ms`,
        ].join("  "),
      )
    }
    yield* say("")
    yield* say(`                      with respool      without`)
    yield* say(compared("dials", pooled.upgrades, 0))
    yield* say(compared("turns as suffix", pooled.continuations, direct.continuations))
    yield* say(compared("input bytes up", pooled.inputBytes, direct.inputBytes))
    yield* say(compared("all bytes up", pooled.uplinkBytes, direct.uplinkBytes))
    yield* say(compared("cached tokens", pooled.cachedTokens, direct.cachedTokens))
    yield* say(`new items and per-turn members alone: ${grouped(direct.neededBytes)} bytes`)
  }
  if (!result.ok) return yield* new DemoError({ message: "the run did not stay on one connection" })
  if (options.keep) {
    yield* say(`\nOPENAI_BASE_URL=${address}/v1   (Ctrl-C ends it)`)
    return yield* Effect.never
  }
})

const grouped = (value: number) => value.toLocaleString("en-US")

const compared = (name: string, pooled: number, direct: number) =>
  `${name.padEnd(18)}${grouped(pooled).padStart(16)}${grouped(direct).padStart(13)}`

/** Fails unless all 20 turns went over one connection, 19 of them as a suffix. */
export const demo = Effect.fn("demo")(function* (options: { readonly json: boolean; readonly keep: boolean }) {
  const simulator = yield* startSimulator
  const settings = Settings.layer({ upstreamUrl: simulator, port: 0, logLevel: "warn" })
  const server = Server.layer.pipe(Layer.provideMerge(Logging.layer), Layer.provide(settings))
  yield* run(options, simulator).pipe(
    Effect.provideService(FetchHttpClient.RequestInit, directly as RequestInit),
    Effect.provide(Layer.merge(server, FetchHttpClient.layer)),
  )
}, Effect.scoped)
