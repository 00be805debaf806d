/**
 * An agent with a tool, written with Effect over any `HttpClient`; over respool's its later turns go up as suffixes.
 *
 *     OPENAI_API_KEY=… bun test/examples/agent.ts "What is the weather in Reykjavík?"
 */
import { Config, Console, Effect, Layer, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { layerHttpClient } from "respool"

const Answer = Schema.Struct({ output: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)) })

const tool = {
  type: "function",
  name: "weather",
  description: "Tells the weather of a place.",
  parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
}

/** Asks and calls the tool until the model has answered, and gives all items of the conversation. */
export const agent = Effect.fn("agent")(function* (question: string) {
  const url = yield* Config.String("OPENAI_BASE_URL").pipe(Config.withDefault("https://api.openai.com/v1"))
  const key = yield* Config.Redacted("OPENAI_API_KEY")
  // What was sent is not sent again: policies see such an answer as one that they leave alone.
  const client = (yield* HttpClient.HttpClient).pipe(HttpClient.retryTransient({ times: 2 }), HttpClient.filterStatusOk)
  const input: Array<Readonly<Record<string, unknown>>> = [{ role: "user", content: question }]
  for (;;) {
    const request = HttpClientRequest.post(`${url}/responses`).pipe(
      HttpClientRequest.bearerToken(Redacted.value(key)),
      HttpClientRequest.bodyJsonUnsafe({ model: "gpt-5.5", input, tools: [tool] }),
    )
    const { output } = yield* Effect.flatMap(client.execute(request), HttpClientResponse.schemaBodyJson(Answer))
    input.push(...output)
    const calls = output.filter(({ type }) => type === "function_call")
    if (calls.length === 0) return input
    for (const { call_id } of calls) input.push({ type: "function_call_output", call_id, output: "Sunny, 12 °C" })
  }
})

export const layerClient = layerHttpClient().pipe(Layer.provide(FetchHttpClient.layer))

if (import.meta.main) {
  const program = Effect.flatMap(agent(process.argv[2] ?? "Hello!"), Console.log)
  await Effect.runPromise(program.pipe(Effect.provide(layerClient)))
}
