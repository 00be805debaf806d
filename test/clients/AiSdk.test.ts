import type { OpenAILanguageModelResponsesOptions } from "@ai-sdk/openai"
import { createOpenAI, openai as provided } from "@ai-sdk/openai"
import { describe, it } from "@effect/vitest"
import type { ModelMessage } from "ai"
import { generateText, isStepCount, streamText, tool } from "ai"
import { continues } from "./Continues.ts"
import { answerTool, questions } from "./Script.ts"
import { lookUp, measure } from "./Tools.ts"

const tools = {
  web_search: provided.tools.webSearch(),
  look_up: tool({ inputSchema: lookUp, execute: (parsed) => answerTool("look_up", parsed) }),
  measure: tool({ inputSchema: measure, execute: (parsed) => answerTool("measure", parsed) }),
}

const converse =
  (stream: boolean, openai: OpenAILanguageModelResponsesOptions = {}, modelId = "gpt-5.5") =>
  async (baseURL: string) => {
    const told: Array<unknown> = []
    const model = createOpenAI({ baseURL, apiKey: "test-key-a" }).responses(modelId)
    const messages: Array<ModelMessage> = []
    for (const content of questions) {
      messages.push({ role: "user", content })
      const options = {
        model,
        instructions: "Be brief.",
        messages,
        tools,
        stopWhen: isStepCount(10),
        maxRetries: 0,
        providerOptions: { openai: { ...openai } },
      }
      if (stream) {
        const result = streamText(options)
        for await (const part of result.stream) told.push(part)
        messages.push(...(await result.responseMessages))
      } else {
        const result = await generateText(options)
        told.push(result.steps.map(({ content, finishReason }) => ({ content, finishReason })))
        messages.push(...result.responseMessages)
      }
    }
    told.push(messages)
    return told
  }

describe("the AI SDK", () => {
  it.effect("continues with its default store, which refers to items by id", () => continues(converse(false)))

  it.effect("continues with its default store, streaming", () => continues(converse(true)))

  it.effect("continues with store: false and encrypted reasoning", () => continues(converse(false, { store: false })))

  it.effect("continues with store: false and encrypted reasoning, streaming", () =>
    continues(converse(true, { store: false })),
  )

  it.effect("continues with store: false without encrypted reasoning, where it leaves reasoning out", () =>
    continues(converse(true, { store: false }, "gpt-4.1"), { reasoning: "left out" }),
  )
})
