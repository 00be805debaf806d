/**
 * Real clients with their own retries on, under the same faults as `test/proxy/FaultMatrix.test.ts`: what may not run
 * twice does not, whatever a client makes of the failure.
 */
import { assert, describe, it } from "@effect/vitest"
import { TestClock } from "effect/testing"
import { Effect } from "effect"
import type { AgentInputItem } from "@openai/agents"
import { Agent, OpenAIProvider, retryPolicies, Runner } from "@openai/agents"
import { OpenAI } from "openai"
import type { SimulatorService } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Cell, Kind } from "../support/FaultKinds.ts"
import { allowed, endsUnheard, kinds } from "../support/FaultKinds.ts"
import { afterTerminal, cell, driven, firstContent, proxied, questions, settled, terminal } from "../support/Faulty.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { sample } from "../support/Runs.ts"

/** A conversation with one client. */
interface Talk {
  /** Asks, and gives the whole answer's text; fails where the client throws. */
  readonly ask: (question: string) => Promise<string>
  /** Requests that the client has made, its own retries included. */
  readonly calls: () => number
}

type Client = (baseURL: string, session: string) => Talk

/** The SDK as it comes, with its two retries. */
const sdk = (baseURL: string, session: string) => {
  let calls = 0
  const client = new OpenAI({
    baseURL,
    apiKey: "test-key-a",
    defaultHeaders: { "session-id": session },
    fetch: (input, init) => {
      calls++
      return fetch(input, init)
    },
  })
  assert.strictEqual(client.maxRetries, 2)
  return { client, calls: () => calls }
}

type Input = Array<OpenAI.Responses.ResponseInputItem>

const openai =
  (send: (client: OpenAI, input: Input) => Promise<OpenAI.Responses.Response>): Client =>
  (baseURL, session) => {
    const { calls, client } = sdk(baseURL, session)
    const input: Input = []
    return {
      calls,
      ask: async (content) => {
        const asked: Input = [...input, { role: "user", content }]
        const response = await send(client, asked)
        if (response.status !== "completed") throw new Error(`the response is ${response.status}`)
        input.push({ role: "user", content }, ...(response.output as Input))
        return response.output_text
      },
    }
  }

/** Asserts that no event is missing, doubled or out of its order. */
const inOrder = () => {
  let next = 0
  return (event: OpenAI.Responses.ResponseStreamEvent) => {
    assert.strictEqual(event.sequence_number, next++, event.type)
  }
}

const agents =
  (stream: boolean): Client =>
  (baseURL, session) => {
    const { calls, client } = sdk(baseURL, session)
    const runner = new Runner({
      modelProvider: new OpenAIProvider({ openAIClient: client, useResponses: true }),
      tracingDisabled: true,
    })
    const agent = new Agent({
      name: "Answers",
      model: "gpt-5.5",
      modelSettings: {
        retry: {
          maxRetries: 2,
          backoff: { initialDelayMs: 1, maxDelayMs: 1 },
          policy: retryPolicies.any(retryPolicies.providerSuggested(), retryPolicies.networkError()),
        },
      },
    })
    let history: Array<AgentInputItem> = []
    return {
      calls,
      ask: async (content) => {
        const input: Array<AgentInputItem> = [...history, { role: "user", content }]
        if (!stream) {
          const result = await runner.run(agent, input)
          history = result.history
          return String(result.finalOutput)
        }
        const result = await runner.run(agent, input, { stream: true })
        for await (const _ of result);
        await result.completed
        if (result.error !== null && result.error !== undefined) throw result.error
        history = result.history
        return String(result.finalOutput)
      },
    }
  }

const clients: ReadonlyArray<readonly [name: string, stream: boolean, client: Client]> = [
  ["openai create", false, openai((client, input) => client.responses.create({ model: "gpt-5.5", input }))],
  [
    "openai create with stream: true",
    true,
    openai(async (client, input) => {
      const check = inOrder()
      const ended: Array<OpenAI.Responses.Response> = []
      for await (const event of await client.responses.create({ model: "gpt-5.5", input, stream: true })) {
        check(event)
        if (event.type === "response.completed") ended.push(event.response)
      }
      assert.strictEqual(ended.length, 1)
      const text = (ended[0]?.output ?? [])
        .flatMap((item) => (item.type === "message" ? item.content : []))
        .map((part) => (part.type === "output_text" ? part.text : ""))
        .join("")
      return { ...ended[0]!, output_text: text }
    }),
  ],
  [
    "openai responses.stream()",
    true,
    openai(async (client, input) => {
      const events = client.responses.stream({ model: "gpt-5.5", input })
      const check = inOrder()
      for await (const event of events) check(event)
      return events.finalResponse()
    }),
  ],
  ["agents", false, agents(false)],
  ["agents, streaming", true, agents(true)],
]

const right = ["Saw One", "Saw One+r+a+Two", "Saw One+r+a+Two+r+a+Three"] as const

const check = Effect.fnUntraced(function* (client: Client, name: string, wanted: Cell) {
  const simulator = yield* Simulator
  const { url } = yield* TestProxy
  yield* simulator.reset
  // What was learned of the upstream's limit is forgotten by then.
  if (wanted.kind.name.includes("1009")) yield* TestClock.adjust("1 hour")
  const { ask, calls } = client(url, name)
  const asks = (question: string) => Effect.promise(() => ask(question).catch((error: unknown) => ({ error })))
  const turn = wanted.later ? 1 : 0
  if (wanted.later) assert.strictEqual(yield* asks(questions[0]), right[0])
  const { counters, turns } = simulator
  const before = { calls: calls(), runs: counters.executions, turns: turns.length }
  const fault = wanted.kind.fault(wanted.at)
  yield* simulator.failNext(fault)
  if (wanted.twice) yield* simulator.failNext(fault)
  const arrived = (now: SimulatorService) => now.counters.unread > 0 || turns.length > before.turns
  const asking = asks(questions[turn])
  const got = yield* wanted.kind.silent === true ? driven(asking, simulator.until(arrived)) : asking
  const [ending, runs] = allowed(wanted)
  const ended = turns.slice(before.turns)
  const seen = `${JSON.stringify(got)} after ${ended.map(({ refusal, status }) => refusal?.code ?? status).join()}`
  if (ending === "answer") assert.strictEqual(got, right[turn], seen)
  else assert.notTypeOf(got, "string", seen)
  assert.strictEqual(counters.executions - before.runs, runs, `runs: ${seen}`)
  assert.strictEqual(ended.filter(({ responseId }) => responseId !== undefined).length, runs, `records: ${seen}`)
  assert.strictEqual(calls() - before.calls, 1, `calls: ${seen}`)
  yield* settled()
  const next = ending === "answer" ? turn + 1 : turn
  if (wanted.kind.name === "terminal without an id") return
  assert.strictEqual(yield* asks(questions[next] ?? ""), right[next], "afterwards")
})

/** Some of each sort. What a client may try again by itself is not among them: it costs half a second each time. */
const chosen: ReadonlyArray<readonly [kind: string, places: ReadonlyArray<number>]> = [
  ["close 1011", [0, firstContent, 6, terminal, afterTerminal]],
  ["close 1009", [0, 1]],
  ["reset", [0, firstContent, 6, terminal, afterTerminal]],
  ["stall", [0, firstContent, 6, terminal]],
  ["invalid JSON", [0, 6, terminal]],
  ["binary frame", [0, 6]],
  ["error 400 previous_response_not_found", [firstContent, 6]],
  ["error 400 websocket_connection_limit_reached", [0, firstContent, 6]],
  ["error 500 server_error", [6, terminal]],
  ["flat error", [6]],
  ["response.failed", [0, 6]],
  ["unknown event", [0, 6]],
  ["frame after the terminal", [0]],
  ["two terminals", [0]],
  ["unread, reset", [0]],
  ["unread, close 1009", [0]],
  ["silently dead", [0]],
  ["memory lost", [0]],
  ["connection limit", [0]],
  ["refusal 400", [0]],
  ["refusal 401", [0]],
]

const kindOf = (name: string): Kind => {
  const kind = kinds.find((kind) => kind.name === name)
  if (kind === undefined) throw new Error(`no kind ${name}`)
  return kind
}

/** Where a second fault makes a difference, it is tried, too. */
const cells = (kind: string, places: ReadonlyArray<number>, stream: boolean): ReadonlyArray<Cell> =>
  [false, true]
    .flatMap((later) => places.map((at) => ({ later, at })))
    .flatMap(({ at, later }) => {
      const once: Cell = { kind: kindOf(kind), at, later, stream, strict: false, http: false, twice: false }
      const twice: Cell = { ...once, twice: true }
      // Whether that leads to HTTP depends on the connection that was met, of which a client can't tell.
      if (endsUnheard(once)) return [once]
      return allowed(twice)[0] === allowed(once)[0] ? [once] : [once, twice]
    })

for (const [name, stream, client] of clients) {
  describe(`${name}, with its own retries,`, () => {
    for (const [kind, places] of chosen) {
      // The accumulator of `responses.stream()` throws at any type that it does not know, whoever sends it.
      if (kind === "unknown event" && name === "openai responses.stream()") continue
      it.effect(`runs no turn twice that may not: ${kind}`, () =>
        Effect.gen(function* () {
          for (const wanted of sample(cells(kind, places, stream))) {
            const { at, later, twice } = wanted
            const where = `${name}, ${kind} at ${at}${twice ? " twice" : ""}, ${later ? "later" : "first"} turn`
            yield* cell(where, check(client, where, wanted))
          }
        }).pipe(
          Effect.provide(
            proxied({ maxConnections: 8, firstEventTimeout: 5_000, eventTimeout: 8_000, turnTimeout: 60_000 }),
          ),
        ),
      )
    }
  })
}

describe("A client's own retry", () => {
  it.effect("is left to it where the upstream refused before anything ran", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { url } = yield* TestProxy
      const { ask, calls } = clients[0]![2](url, "s")
      yield* simulator.failNext({ _tag: "Refuse", status: 503, code: "overloaded", message: "Later." })
      assert.strictEqual(yield* Effect.promise(() => ask("One")), right[0])
      assert.strictEqual(calls(), 2)
      assert.strictEqual(simulator.counters.executions, 1)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("is forbidden where an attempt before the refused one may have run", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { url } = yield* TestProxy
      const { ask, calls } = clients[0]![2](url, "s")
      yield* simulator.failNext({ _tag: "Close", at: 1, code: 1011 })
      yield* simulator.failNext({ _tag: "Refuse", status: 503, code: "overloaded", message: "Later." })
      const got = yield* Effect.promise(() => ask("One").catch((error: unknown) => error))
      assert.instanceOf(got, OpenAI.APIError)
      assert.strictEqual(calls(), 1)
      assert.strictEqual(simulator.counters.executions, 1)
    }).pipe(Effect.provide(proxied())),
  )
})
