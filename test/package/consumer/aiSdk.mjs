// Six turns with the AI SDK over respool/fetch; `store`: whether the API keeps the items, which are then referred to.
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, streamText } from "ai"
import { createFetch } from "respool/fetch"

globalThis.AI_SDK_LOG_WARNINGS = false
const [baseURL, store] = process.argv.slice(2)
const fetch = createFetch()
const model = createOpenAI({ baseURL, apiKey: "test-key-a", fetch }).responses("gpt-5.5")
const messages = []
const ways = []
for (let turn = 0; turn < 6; turn++) {
  messages.push({ role: "user", content: `question ${turn}` })
  const options = { model, messages, providerOptions: { openai: { store: store === "true" } } }
  if (turn % 2 === 0) {
    const { response, responseMessages } = await generateText(options)
    ways.push(response.headers["x-respool-input"])
    messages.push(...responseMessages)
  } else {
    const result = streamText(options)
    await result.consumeStream()
    ways.push((await result.response).headers["x-respool-input"])
    messages.push(...(await result.responseMessages))
  }
}
console.log(JSON.stringify({ ways }))
await fetch.close()
