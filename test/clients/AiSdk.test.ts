import type { OpenAILanguageModelResponsesOptions } from "@ai-sdk/openai"
import { createOpenAI, openai as provided } from "@ai-sdk/openai"
import { describe, it } from "@effect/vitest"
import { ownTools, talk } from "./AiSdkTalk.ts"
import { continues } from "./Continues.ts"

const tools = { web_search: provided.tools.webSearch(), ...ownTools }

const converse =
  (stream: boolean, openai: OpenAILanguageModelResponsesOptions = {}, modelId = "gpt-5.5") =>
  (baseURL: string) => {
    const model = createOpenAI({ baseURL, apiKey: "test-key-a" }).responses(modelId)
    return talk({ model, tools, stream, providerOptions: { openai: { ...openai } } })
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
