// Twenty turns of an agent with the `openai` SDK over respool/fetch: streamed and not, in turns.
import { OpenAI } from "openai"
import { createFetch } from "respool/fetch"

const [baseURL] = process.argv.slice(2)
const fetch = createFetch()
const client = new OpenAI({ baseURL, apiKey: "test-key-a", fetch })
const input = [{ role: "user", content: "begin" }]
const ways = []
for (let turn = 0; turn < 20; turn++) {
  const request = { model: "gpt-5.5", input, store: false, stream: turn % 2 === 0 }
  const { data, response } = await client.responses.create(request).withResponse()
  let answer = data
  if (request.stream) for await (const event of data) if (event.type === "response.completed") answer = event.response
  ways.push(response.headers.get("x-respool-input"))
  input.push(...answer.output, { role: "user", content: `and ${turn}?` })
}
const models = await client.models.list()
console.log(JSON.stringify({ ways, models: models.data.length }))
await fetch.close()
