/**
 * Real clients on WebSockets of their own, under an upstream that is lost or refuses: each is told so by its own API,
 * and none waits for a time-out.
 */
import { assert, describe, it } from "@effect/vitest"
import { Agent, OpenAIProvider, Runner } from "@openai/agents"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { OpenAI } from "openai"
import { ResponsesWebSocketSession } from "openai/lib/responses/responses-websocket-session"
import { ResponsesWS } from "openai/resources/responses/ws"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { unlessItHangs } from "../support/EventLoop.ts"
import { isFull } from "../support/Runs.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { node, ofSample, sampleOfNode, written } from "./OnNode.ts"
import { codexBinary, withCodex } from "./codex/CodexExec.ts"

/** Asks once; fails where the client says that it failed. */
type Ask = (baseURL: string) => Promise<unknown>

const onSocket = async <A>(baseURL: string, use: (socket: ResponsesWS) => Promise<A>): Promise<A> => {
  const socket = new ResponsesWS(new OpenAI({ baseURL, apiKey: "test-key-a", maxRetries: 0 }))
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.socket.on("open", () => resolve())
  try {
    await promise
    return await use(socket)
  } finally {
    socket.close()
  }
}

const responsesWs: Ask = (baseURL) =>
  onSocket(baseURL, (socket) => {
    const { promise, reject, resolve } = Promise.withResolvers<unknown>()
    socket.on("error", reject)
    socket.on("close", (code) => reject(new Error(`closed with ${code}`)))
    socket.on("response.completed", resolve)
    socket.send({ type: "response.create", model: "gpt-5.5", input: "Hello" })
    return promise
  })

const lane =
  (name: string | undefined): Ask =>
  (baseURL) =>
    onSocket(baseURL, (socket) => {
      socket.on("error", () => {})
      const limits = { maxLanes: 4, maxBufferedEvents: 10_000, maxBufferedBytes: 1024 * 1024 }
      const one = new ResponsesWebSocketSession(socket, limits).lane(name)
      one.create({ model: "gpt-5.5", input: "Hello" })
      return one.finalResponse()
    })

const agents =
  (stream: boolean): Ask =>
  async (baseURL) => {
    const provider = new OpenAIProvider({
      apiKey: "test-key-a",
      baseURL,
      useResponses: true,
      useResponsesWebSocket: true,
    })
    const runner = new Runner({ modelProvider: provider, tracingDisabled: true })
    const agent = new Agent({ name: "Answers", model: "gpt-5.5" })
    try {
      if (!stream) return (await runner.run(agent, "Hello")).finalOutput
      const result = await runner.run(agent, "Hello", { stream: true })
      for await (const _ of result);
      await result.completed
      if (result.error !== null && result.error !== undefined) throw result.error
      return result.finalOutput
    } finally {
      await provider.close()
    }
  }

const binary = await codexBinary()

/** Asks by another program: Effect's client needs its own version of `effect`, and Node has its own WebSocket. */
const asked =
  (...command: ReadonlyArray<string>): Ask =>
  (baseURL) =>
    written([...command, baseURL, "Hello"])

const effectTalk = fileURLToPath(new URL("effect/talk.mjs", import.meta.url))
const isInstalled = existsSync(fileURLToPath(new URL("effect/node_modules/@effect/ai-openai", import.meta.url)))
if (!isInstalled) console.log("Effect's client is left out: `npx bun install --cwd test/clients/effect` was not run")

/** As Bun and as Node write an error that nobody has caught. */
const ofEffect = /_tag: "AiError"|AiError \[effect/

const codex: Ask = (baseURL) => withCodex(binary ?? "", baseURL, ({ ask }) => ask("Hello"), true)

/** `own`: the words in which the client tells of an error where it leaves those of the error out. */
const clients: ReadonlyArray<readonly [name: string, ask: Ask, own?: RegExp]> = [
  ["ResponsesWS of the openai SDK", responsesWs],
  ["the default lane of its session helper", lane(undefined), /^Error: Responses WebSocket request failed/],
  ["a named lane of its session helper", lane("main"), /^Error: Responses WebSocket request failed/],
  ["the Agents SDK", agents(false), /^ModelBehaviorError: OpenAI Responses/],
  ["the Agents SDK, streamed", agents(true), /^ModelBehaviorError: OpenAI Responses/],
  ...(isInstalled
    ? ([
        ["Effect's OpenAI client", asked(process.execPath, effectTalk), ofEffect],
        ["Effect's OpenAI client on Node", asked(node, effectTalk), ofEffect],
      ] as const)
    : []),
  ...(binary === undefined ? [] : [["the Codex CLI", codex, /^Error: codex ended with 1/] as const]),
]

const troubles = [
  ["is lost after content", { _tag: "Close", at: 6, code: 1011 }, /closed|disconnected|upstream/i],
  ["is reset after content", { _tag: "Reset", at: 6 }, /closed|disconnected|upstream/i],
  ["is lost before content", { _tag: "Close", at: 1, code: 1011 }, /closed|disconnected|upstream/i],
  [
    "says 429",
    { _tag: "Error", at: 0, status: 429, code: "rate_limit_exceeded", message: "Slow down." },
    /slow down|429/i,
  ],
  ["says 500", { _tag: "Error", at: 0, status: 500, code: "server_error", message: "It broke." }, /it broke|500/i],
] as const

/** How each client tells that its socket was closed. */
const closedWords = /closed|1009/i

/** Each start of another program takes a second or two. */
const byHand = sampleOfNode(troubles)

describe("A client on a WebSocket of its own", () => {
  for (const [name, ask, own] of clients) {
    const isProgram = own === ofEffect
    for (const trouble of troubles) {
      const [what, fault, told] = trouble
      const isLeftOut = isProgram && !byHand.includes(trouble)
      it.effect.skipIf(isLeftOut)(`is told by ${name} when the upstream ${what}${isProgram ? ofSample : ""}`, () =>
        Effect.gen(function* () {
          const { url } = yield* TestProxy
          const simulator = yield* Simulator
          // A warm-up is no turn to fail.
          yield* simulator.configure({ fault: ({ request }) => (request["generate"] === false ? [] : [fault]) })
          const outcome = yield* unlessItHangs(
            Effect.promise(() => ask(url).then(() => "an answer", String)),
            () => `${name} waits`,
          )
          assert.match(outcome, own ?? told)
        }).pipe(Effect.provide(TestProxy.layerBrief({ retry: "strict" }))),
      )
    }
  }
})

describe("A client whose message is too large for a socket", () => {
  for (const [name, ask, own] of clients) {
    // It goes on over HTTP, of which its own test tells.
    if (ask === codex) continue
    const isLeftOut = own === ofEffect && name.includes("Node") && !isFull
    it.effect.skipIf(isLeftOut)(`is told so: ${name}${own === ofEffect ? ofSample : ""}`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const outcome = yield* unlessItHangs(
          Effect.promise(() => ask(url).then(() => "an answer", String)),
          () => `${name} waits`,
        )
        assert.match(outcome, own === ofEffect ? own : closedWords)
      }).pipe(Effect.provide(TestProxy.layerBrief({ maxClientMessage: 10 }))),
    )
  }
})
