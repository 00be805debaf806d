/**
 * A conversation by the AI SDK, whatever provider it has.
 */
import type { LanguageModel, ModelMessage, ToolSet } from "ai"
import { generateText, isStepCount, streamText, tool } from "ai"
import { answerTool, questions } from "./Script.ts"
import { lookUp, measure } from "./Tools.ts"

/** The two tools that the user of the SDK answers. */
export const ownTools = {
  look_up: tool({ inputSchema: lookUp, execute: (parsed) => answerTool("look_up", parsed) }),
  measure: tool({ inputSchema: measure, execute: (parsed) => answerTool("measure", parsed) }),
}

type ProviderOptions = NonNullable<Parameters<typeof generateText>[0]["providerOptions"]>

export interface Talk {
  readonly model: LanguageModel
  readonly tools: ToolSet
  readonly stream: boolean
  readonly providerOptions: ProviderOptions
}

/** Asks all questions, each with all that was said, and gives what was told. */
export const talk = async ({ model, providerOptions, stream, tools }: Talk): Promise<unknown> => {
  const told: Array<unknown> = []
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
      providerOptions,
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
