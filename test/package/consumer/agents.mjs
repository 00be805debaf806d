// Six turns with the Agents SDK over respool/fetch.
import { Agent, OpenAIProvider, Runner } from "@openai/agents"
import { OpenAI } from "openai"
import { createFetch } from "respool/fetch"

const [baseURL] = process.argv.slice(2)
const ways = []
const pooled = createFetch()
const fetch = async (input, init) => {
  const response = await pooled(input, init)
  ways.push(response.headers.get("x-respool-input"))
  return response
}
const openAIClient = new OpenAI({ baseURL, apiKey: "test-key-a", fetch })
const runner = new Runner({
  modelProvider: new OpenAIProvider({ openAIClient, useResponses: true }),
  tracingDisabled: true,
})
const agent = new Agent({ name: "Places", instructions: "Be brief.", model: "gpt-5.5" })
let history = []
for (let turn = 0; turn < 6; turn++) {
  const stream = turn % 2 === 1
  const result = await runner.run(agent, [...history, { role: "user", content: `question ${turn}` }], { stream })
  if (stream) await result.completed
  history = result.history
}
console.log(JSON.stringify({ ways }))
await pooled.close()
