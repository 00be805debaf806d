/**
 * The AI SDK over sockets, without a proxy and without Effect.
 *
 *     OPENAI_API_KEY=… bun test/examples/aiSdk.ts "Hello!" "And now?"
 */
import { createOpenAI, type OpenAIProviderSettings } from "@ai-sdk/openai"
import { type ModelMessage, streamText } from "ai"
import { createFetch } from "respool/fetch"

/** Holds a conversation, and tells of each answer how its turn went up: `full`, or as a `suffix`. */
export const talk = async (options: OpenAIProviderSettings, questions: ReadonlyArray<string>) => {
  await using fetch = createFetch()
  const model = createOpenAI({ ...options, fetch }).responses("gpt-5.5")
  const messages: Array<ModelMessage> = []
  const told: Array<{ readonly way: string | undefined; readonly text: string }> = []
  for (const content of questions) {
    messages.push({ role: "user", content })
    const result = streamText({ model, messages, providerOptions: { openai: { store: false } } })
    const text = await result.text
    const { headers } = await result.response
    messages.push(...(await result.responseMessages))
    told.push({ way: headers?.["x-respool-input"], text })
  }
  return told
}

if (import.meta.main) console.log(await talk({}, process.argv.slice(2)))
