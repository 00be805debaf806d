/**
 * What the model answers to every client: seven turns over three user messages, with reasoning, messages beside tool
 * calls, parallel calls, a hosted tool's call, and a final answer to each user message.
 *
 * Arguments are texts that no client would write: spaces after `:` and `,`, keys out of the schema's order, numbers
 * with a zero at the end, escapes that need none. Each final answer quotes what the model was shown, so a context that
 * lost or doubled something gives another answer.
 */
import type { Json, JsonObject } from "../../src/simulator/JsonText.ts"
import type { Part, Script } from "../../src/simulator/Simulator.ts"

/** What the users of a conversation ask, one after the other. */
export const questions = ["Where is it warmer?", "And tomorrow — «at noon»?", "Thanks. Which was it?"] as const

/** How many turns the model takes for all `questions`: four, two, one. */
export const turnCount = 7

const lookUp = (place: string, ratio: string): Part => ({
  _tag: "FunctionCall",
  name: "look_up",
  arguments: `{ "when": {"day": 2, "span": {"hours": [6, 12,  18], "ratio": ${ratio}}}, "place": "${place}" }`,
})

const measure: Part = {
  _tag: "FunctionCall",
  name: "measure",
  arguments: `{"points": [{"y": 2.50, "x": 1e2}, {"y": -0.5, "x": 3}], "note": "two \\u0070oints: a, b", "options": {"deep": {"er": {"tags": ["a b", "ç—✓"], "none": null}}}}`,
}

const isArray = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

const textOf = (content: Json | undefined): string =>
  isArray(content)
    ? content.map((part) => (part !== null && typeof part === "object" && "text" in part ? part.text : "")).join("")
    : String(content)

const isOutput = ({ type }: JsonObject): boolean => typeof type === "string" && type.endsWith("_call_output")

/** Says which user messages, outputs and calls the model was shown, without their ids. */
const shown = (context: ReadonlyArray<JsonObject>): string =>
  context
    .map((item) => {
      if (isOutput(item)) return `output ${textOf(item["output"])}`
      if (item.role === "user") return `user ${textOf(item.content)}`
      return item.type === "function_call" ? "call" : item.role === "assistant" ? "answer" : ""
    })
    .filter((line) => line !== "" && !line.startsWith("user <"))
    .join("; ")

/** The parts of the rounds with tool calls: the first question has three of them, the second one. */
type Calls = readonly [ReadonlyArray<Part>, ReadonlyArray<Part>, ReadonlyArray<Part>, ReadonlyArray<Part>]

/** Every text of the model goes through `say`. */
export const conversation =
  (calls: Calls, say = (text: string) => text): Script =>
  ({ context, request }) => {
    const asked = context.filter((item) => item.role === "user" && !textOf(item.content).startsWith("<")).length
    const since = context.slice(context.findLastIndex(({ role }) => role === "user") + 1)
    const round = since.filter((item, index) => {
      const before = since[index - 1]
      return isOutput(item) && (before === undefined || !isOutput(before))
    }).length
    const { include } = request
    const encrypted = isArray(include) && include.includes("reasoning.encrypted_content") ? {} : { encrypted: null }
    const reasoning = (...summary: ReadonlyArray<string>): Part => ({ _tag: "Reasoning", summary, ...encrypted })
    const commentary = (text: string): Part => ({ _tag: "Message", text: say(text), phase: "commentary" })
    const turn = `${asked}.${round}`
    switch (turn) {
      case "1.0":
        return { output: [reasoning("**Two places**, one question."), commentary("I look at both."), ...calls[0]] }
      case "1.1":
        return { output: [reasoning("Both are known.", "Now the points."), ...calls[1]] }
      case "1.2":
        return { output: [reasoning(), commentary('Once more, «to be sure»:\n\t1. "both"'), ...calls[2]] }
      case "2.0":
        return { output: [reasoning("Another day."), ...calls[3]] }
      default:
        return {
          output: [
            reasoning(`That is all for ${turn}.`),
            { _tag: "Message", text: say(`${turn} after: ${shown(context)}.`), phase: "final_answer" },
          ],
        }
    }
  }

const placesCalls: Calls = [
  [lookUp("Reykjavík", "1.50"), lookUp("Val d’Isère", "0.1")],
  [{ _tag: "WebSearch", query: "weather, now" }, measure],
  [measure, lookUp("Reykjavík", "1.50"), lookUp('a \\"quoted\\" \\/ place', "2")],
  [lookUp("Val d’Isère", "1e0")],
]

/** The conversation for clients whose tools are `look_up`, `measure` and the hosted web search. */
export const places = conversation(placesCalls)

/** The same with texts that are JSON objects, `{"answer": "…"}`. */
export const structuredPlaces = conversation(placesCalls, (answer) => `{"answer":  ${JSON.stringify(answer)} }`)

/** What both tools answer, for arguments that were parsed. */
export const answerTool = (name: string, parsed: unknown): string =>
  `${name} has ${JSON.stringify(parsed).length} bytes`
