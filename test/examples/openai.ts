/**
 * The `openai` package over sockets, without a proxy and without Effect.
 *
 *     OPENAI_API_KEY=… bun test/examples/openai.ts "Hello!" "And now?"
 */
import { type ClientOptions, OpenAI } from "openai"
import { createFetch } from "respool/fetch"

/** Holds a conversation, and tells of each answer how its turn went up: `full`, or as a `suffix`. */
export const talk = async (options: ClientOptions, questions: ReadonlyArray<string>) => {
  // Its sockets are closed at the end of the block.
  await using fetch = createFetch()
  const client = new OpenAI({ ...options, fetch })
  const input: Array<OpenAI.Responses.ResponseInputItem> = []
  const told: Array<{ readonly way: string | null; readonly text: string }> = []
  for (const content of questions) {
    input.push({ role: "user", content })
    const { data, response } = await client.responses.create({ model: "gpt-5.5", input }).withResponse()
    input.push(...(data.output as typeof input))
    told.push({ way: response.headers.get("x-respool-input"), text: data.output_text })
  }
  return told
}

if (import.meta.main) console.log(await talk({}, process.argv.slice(2)))
