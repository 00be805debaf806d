/**
 * LangChain with `ChatOpenAI` over the Responses API.
 */
import { describe, it } from "@effect/vitest"
import type { BaseMessage } from "@langchain/core/messages"
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages"
import { tool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import { continues } from "./Continues.ts"
import { answerTool, questions } from "./Script.ts"
import { lookUp, measure } from "./Tools.ts"

const tools = [
  tool((parsed) => answerTool("look_up", parsed), { name: "look_up", description: "Looks up", schema: lookUp }),
  tool((parsed) => answerTool("measure", parsed), { name: "measure", description: "Measures", schema: measure }),
]

interface Options {
  readonly streaming: boolean
  /** Nothing is stored, and reasoning comes back encrypted. */
  readonly zdrEnabled: boolean
}

/** Asks all questions, each with all that was said, and answers the calls. */
const converse = (options: Options) => async (baseURL: string) => {
  const model = new ChatOpenAI({
    model: "gpt-5.5",
    apiKey: "test-key-a",
    maxRetries: 0,
    useResponsesApi: true,
    configuration: { baseURL },
    ...options,
  }).bindTools(tools)
  const messages: Array<BaseMessage> = [new SystemMessage("Be brief.")]
  for (const question of questions) {
    messages.push(new HumanMessage(question))
    for (let going = true; going;) {
      const answer = await model.invoke(messages)
      messages.push(answer)
      for (const { args, id = "", name } of answer.tool_calls ?? []) {
        messages.push(new ToolMessage({ content: answerTool(name, args), tool_call_id: id }))
      }
      going = (answer.tool_calls ?? []).length > 0
    }
  }
  return messages.map((message) => message.toDict())
}

describe("LangChain", () => {
  for (const streaming of [false, true]) {
    for (const zdrEnabled of [false, true]) {
      it.effect(`continues, streaming: ${streaming}, zdrEnabled: ${zdrEnabled}`, () =>
        continues(converse({ streaming, zdrEnabled })),
      )
    }
  }
})
