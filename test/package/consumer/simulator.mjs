// The simulator and respool/fetch in one process, and a fault in the middle of an answer.
import { Effect } from "effect"
import { OpenAI } from "openai"
import { createFetch } from "respool/fetch"
import { Simulator } from "respool/simulator"

const program = Effect.gen(function* () {
  const simulator = yield* Simulator
  const fetch = createFetch()
  const client = new OpenAI({ baseURL: simulator.url, apiKey: "test-key-a", fetch })
  const straight = new OpenAI({ baseURL: simulator.url, apiKey: "test-key-a", maxRetries: 0 })
  const ask = (of, input, stream = false) =>
    Effect.tryPromise(async () => {
      const answer = await of.responses.create({ model: "gpt-5.5", input, stream })
      if (!stream) return answer.output_text
      let text = ""
      for await (const event of answer) if (event.type === "response.output_text.delta") text += event.delta
      return text
    })
  const texts = [yield* ask(client, "hello"), yield* ask(straight, "hello"), yield* ask(straight, "hello", true)]
  yield* simulator.failNext({ _tag: "Close", at: 3, code: 1011 })
  const broken = yield* Effect.exit(ask(straight, "hello"))
  yield* simulator.listen(false)
  yield* simulator.listen(true)
  const after = yield* ask(straight, "hello")
  yield* Effect.promise(() => fetch.close())
  const { upgrades, websocketTurns } = simulator.counters
  return { texts: new Set([...texts, after]).size, broken: broken._tag, upgrades, websocketTurns }
})
console.log(JSON.stringify(await Effect.runPromise(Effect.provide(program, Simulator.layer()))))
