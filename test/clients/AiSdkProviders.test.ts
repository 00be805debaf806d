/**
 * The AI SDK with the providers that speak to Azure, by its `api-key`, and to xAI.
 */
import { createAzure } from "@ai-sdk/azure"
import { openai } from "@ai-sdk/openai"
import { createXai } from "@ai-sdk/xai"
import { describe, it } from "@effect/vitest"
import type { Script } from "../../src/simulator/Simulator.ts"
import { places } from "./Script.ts"
import { ownTools, talk } from "./AiSdkTalk.ts"
import { continues } from "./Continues.ts"

const azure = (stream: boolean, store?: boolean) => (baseURL: string) => {
  const provider = createAzure({ baseURL, apiKey: "test-key-a" })
  const tools = { web_search: openai.tools.webSearch(), ...ownTools }
  const options = store === undefined ? {} : { store }
  const model = provider.responses("gpt-5.5")
  return talk({ model, tools, stream, providerOptions: { azure: options } })
}

const grok = (stream: boolean, store?: boolean) => (baseURL: string) => {
  const model = createXai({ baseURL, apiKey: "test-key-a" }).responses("grok-4")
  const options = store === undefined ? {} : { store }
  return talk({ model, tools: ownTools, stream, providerOptions: { xai: options } })
}

/** The conversation without calls of hosted tools, which these providers leave out where nothing is stored. */
const ownCallsOnly: Script = (turn) => ({ output: places(turn).output.filter(({ _tag }) => _tag !== "WebSearch") })

/** The same with one part in each summary: the provider for xAI writes several, or none, in another way. */
const oneThoughtEach: Script = (turn) => ({
  output: ownCallsOnly(turn).output.map((part) =>
    part._tag === "Reasoning" ? { ...part, summary: [part.summary.join(" ") || "Once more."] } : part,
  ),
})

const atAzure = { profile: "azure", accepts: ["test-key-a"], deployments: ["gpt-5.5"] } as const
const atXai = { profile: "xai", accepts: ["test-key-a"] } as const

describe("the AI SDK", () => {
  for (const stream of [false, true]) {
    for (const store of [undefined, false]) {
      const how = `store: ${store}, stream: ${stream}`
      it.effect(`continues at Azure by its api-key, ${how}`, () =>
        continues(azure(stream, store), { upstream: atAzure, script: store === false ? ownCallsOnly : places }),
      )

      it.effect(`continues at xAI, ${how}`, () =>
        continues(grok(stream, store), { upstream: atXai, script: oneThoughtEach }),
      )
    }
  }
})
