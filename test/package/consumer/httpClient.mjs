// Six turns with Effect's HttpClient over respool's, streamed and not, with a policy for passing trouble on top.
import { Effect, Layer, References } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { layerHttpClient } from "respool"

const [url] = process.argv.slice(2)
const program = Effect.gen(function* () {
  const client = HttpClient.retryTransient(yield* HttpClient.HttpClient, { times: 2 })
  const input = []
  const ways = []
  for (let turn = 0; turn < 6; turn++) {
    input.push({ role: "user", content: `question ${turn}` })
    const stream = turn % 2 === 0
    const request = HttpClientRequest.post(`${url}/responses`).pipe(
      HttpClientRequest.bearerToken("test-key-a"),
      HttpClientRequest.bodyJsonUnsafe({ model: "gpt-5.5", input, stream }),
    )
    const response = yield* client.execute(request)
    ways.push(response.headers["x-respool-input"])
    const text = yield* response.text
    const last = text.split("\n").findLast((line) => line.startsWith("data: "))
    input.push(...(stream ? JSON.parse(last.slice(6)).response : JSON.parse(text)).output)
  }
  return ways
})

const layer = layerHttpClient().pipe(Layer.provide(FetchHttpClient.layer))
const ways = await Effect.runPromise(
  // The log is the app's: it would have a line for each turn.
  program.pipe(Effect.provide(layer), Effect.provideService(References.MinimumLogLevel, "Warn")),
)
console.log(JSON.stringify({ ways }))
