/**
 * Conversations by the OpenAI Agents SDK; also by a program that Node runs, which knows no syntax of TypeScript's but
 * types.
 */
import type { AgentInputItem, ModelSettings } from "@openai/agents"
import { Agent, MemorySession, OpenAIProvider, Runner, tool, webSearchTool } from "@openai/agents"
import { answerTool, questions } from "./Script.ts"
import { lookUp, measure } from "./Tools.ts"

const agentWith = (modelSettings: ModelSettings) =>
  new Agent({
    name: "Places",
    instructions: "Be brief.",
    model: "gpt-5.5",
    modelSettings,
    tools: [
      webSearchTool(),
      tool({
        name: "look_up",
        description: "Looks up a place.",
        parameters: lookUp,
        execute: (parsed) => answerTool("look_up", parsed),
      }),
      tool({
        name: "measure",
        description: "Measures between points.",
        parameters: measure,
        execute: (parsed) => answerTool("measure", parsed),
      }),
    ],
  })

/** Tracing would send each run to a service of OpenAI's. */
const providerFor = (baseURL: string, useResponsesWebSocket = false) =>
  new OpenAIProvider({ apiKey: "test-key-a", baseURL, useResponses: true, useResponsesWebSocket })

/** How the next question takes up the run before it. */
export type Memory = "history" | "session" | "previousResponseId"

interface Way {
  readonly memory: Memory
  readonly stream: boolean
  readonly modelSettings?: ModelSettings
  readonly omitIds?: boolean
  /** Whether the client opens a WebSocket itself. */
  readonly socket?: boolean
}

export const encrypted: ModelSettings = { providerData: { include: ["reasoning.encrypted_content"] } }

export const runs =
  ({ memory, modelSettings = {}, omitIds = false, socket = false, stream }: Way) =>
  async (baseURL: string) => {
    const told: Array<unknown> = []
    const provider = providerFor(baseURL, socket)
    const runner = new Runner({ modelProvider: provider, tracingDisabled: true })
    const agent = agentWith(modelSettings)
    const session = new MemorySession()
    let history: ReadonlyArray<AgentInputItem> = []
    let previousResponseId: string | undefined
    for (const content of questions) {
      const input = memory === "history" ? [...history, { role: "user" as const, content }] : content
      const options = {
        ...(memory === "session" ? { session } : {}),
        ...(previousResponseId === undefined ? {} : { previousResponseId }),
        ...(omitIds ? { reasoningItemIdPolicy: "omit" as const } : {}),
      }
      if (stream) {
        const result = await runner.run(agent, input, { ...options, stream: true })
        for await (const event of result) if (event.type === "raw_model_stream_event") told.push(event.data)
        await result.completed
        told.push(result.finalOutput, result.newItems, result.rawResponses)
        history = result.history
        if (memory === "previousResponseId") previousResponseId = result.lastResponseId
      } else {
        const result = await runner.run(agent, input, options)
        told.push(result.finalOutput, result.newItems, result.rawResponses)
        history = result.history
        if (memory === "previousResponseId") previousResponseId = result.lastResponseId
      }
    }
    await provider.close()
    return told
  }
