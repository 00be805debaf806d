/**
 * Holds a conversation with Effect's OpenAI client in its WebSocket mode, with the upstream at the address that is given,
 * and writes what it was told: one JSON value.
 */
import * as OpenAiClient from "@effect/ai-openai/OpenAiClient"
import * as OpenAiLanguageModel from "@effect/ai-openai/OpenAiLanguageModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Chat from "effect/unstable/ai/Chat"
import * as Tool from "effect/unstable/ai/Tool"
import * as Toolkit from "effect/unstable/ai/Toolkit"
import * as FetchHttpClient from "effect/unstable/http/FetchHttpClient"
import * as Socket from "effect/unstable/socket/Socket"

const [baseURL, ...questions] = process.argv.slice(2)

const tool = (name) =>
  Tool.make(name, {
    description: "Looks something up.",
    parameters: Schema.Struct({ place: Schema.String }),
    success: Schema.String,
  })
const toolkit = Toolkit.make(tool("look_up"), tool("measure"))
const handlers = toolkit.toLayer({
  look_up: ({ place }) => Effect.succeed(`${place} is known`),
  measure: ({ place }) => Effect.succeed(`${place} has a size`),
})

const sockets = Layer.succeed(Socket.WebSocketConstructor)((url, options) => new WebSocket(url, options))
const client = OpenAiClient.layer({ apiUrl: baseURL, apiKey: Redacted.make("test-key-a") }).pipe(
  Layer.provide(FetchHttpClient.layer),
)
const model = OpenAiLanguageModel.layer({ model: "gpt-5.5", config: { store: false } }).pipe(
  Layer.provideMerge(OpenAiClient.layerWebSocketMode.pipe(Layer.provide([client, sockets]))),
  Layer.provideMerge(client),
)

const program = Effect.gen(function* () {
  const chat = yield* Chat.fromPrompt([{ role: "system", content: "Be brief." }])
  const told = []
  for (const question of questions) {
    for (let prompt = question; ; prompt = []) {
      let called = false
      yield* chat.streamText({ prompt, toolkit }).pipe(
        Stream.runForEach((part) =>
          Effect.sync(() => {
            if (part.type === "tool-call") called = true
            if (part.type === "text-delta") told.push(part.delta)
            if (part.type === "tool-call" || part.type === "tool-result") told.push([part.type, part.name])
          }),
        ),
      )
      if (!called) break
    }
  }
  return told
})

const told = await Effect.runPromise(program.pipe(Effect.provide([model, handlers])))
console.log(JSON.stringify(told))
process.exit(0)
