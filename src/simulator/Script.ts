/**
 * Decides what the model answers, as data: the parts of the output and how the turn ends.
 *
 * `agent` is the default: an agent that calls tools, and does the same for the same seed and conversation.
 */
import { chance } from "./Ids.ts"
import type { Json, JsonObject } from "./JsonText.ts"
import { isArray, isObject } from "./JsonText.ts"
import { typeOf } from "./context/Compare.ts"

export type Part =
  | {
      readonly _tag: "Reasoning"
      readonly summary: ReadonlyArray<string>
      /** Null: the item has none; undefined: the simulator makes opaque text. */
      readonly encrypted?: string | null
    }
  | { readonly _tag: "Message"; readonly text: string; readonly phase?: "commentary" | "final_answer" }
  | { readonly _tag: "Refusal"; readonly text: string }
  | {
      readonly _tag: "FunctionCall"
      readonly name: string
      /** A string is sent unchanged. */
      readonly arguments: JsonObject | string
    }
  | { readonly _tag: "CustomToolCall"; readonly name: string; readonly input: string }
  | { readonly _tag: "WebSearch"; readonly query: string }
  | { readonly _tag: "Compaction" }
  /** Any other item, sent as `output_item.added` and `.done`; an id is added if it has none. */
  | { readonly _tag: "Item"; readonly item: JsonObject }

export type Ending =
  | { readonly _tag: "Completed" }
  | { readonly _tag: "Incomplete"; readonly reason: string }
  | { readonly _tag: "Failed"; readonly code: string; readonly message: string }

export interface Answer {
  readonly output: ReadonlyArray<Part>
  /** Default: `Completed`. */
  readonly ending?: Ending
}

export interface ScriptTurn {
  /** How many turns were executed before this one. */
  readonly index: number
  /** Every item that the model sees, with references resolved. */
  readonly context: ReadonlyArray<JsonObject>
  readonly request: JsonObject
  readonly seed: number
}

export type Script = (turn: ScriptTurn) => Answer

export interface AgentOptions {
  /**
   * Rounds of tool calls before the final message; "use N steps" in the user's message wins. Default: 1 to 3, by the
   * seed.
   */
  readonly rounds?: number
  /** Words of the final message; "in N words" in the user's message wins. Default 24. */
  readonly words?: number
  /** Calls in one round. Default: 1 or 2, by the seed. */
  readonly calls?: number
}

const isOutput = (item: JsonObject): boolean => typeOf(item).endsWith("_call_output")

const textOf = (item: JsonObject): string =>
  typeof item.content === "string"
    ? item.content
    : isArray(item.content)
      ? item.content.map((part) => (isObject(part) && typeof part.text === "string" ? part.text : "")).join(" ")
      : ""

const argument = (name: string, schema: Json | undefined, label: string): string => {
  const shape = isObject(schema) ? schema : {}
  if (isArray(shape.enum) && shape.enum.length > 0) return JSON.stringify(shape.enum[0])
  const type = isArray(shape.type) ? shape.type[0] : shape.type
  if (type === "integer" || type === "number") return "3"
  if (type === "boolean") return "true"
  if (type === "array") return `[${argument(name, shape.items, label)}, ${argument(name, shape.items, label)}]`
  if (type === "object" || isObject(shape.properties)) return argumentsFor(shape, label)
  return JSON.stringify(/^(cmd|command)$/.test(name) ? `echo "${label}"` : `${name} for ${label}`)
}

/** Written with spaces, as no JavaScript client does: a proxy or client that serialises it anew changes the text. */
const argumentsFor = (schema: JsonObject, label: string): string => {
  const properties = isObject(schema.properties) ? schema.properties : {}
  const members = Object.keys(properties).map(
    (name) => `${JSON.stringify(name)}: ${argument(name, properties[name], label)}`,
  )
  if (schema.additionalProperties !== false) {
    members.push(`"options": {"limit": 10, "nested": {"tags": ["a b", "ç—✓"], "ratio": 1.50}}`)
  }
  return `{${members.join(", ")}}`
}

const sentence = (count: number): string => {
  const words = ["the", "path", "of", "each", "item", "stays", "as", "it", "was", "sent—naïve", "and", "complete"]
  return Array.from({ length: count }, (_, index) => words[index % words.length]).join(" ")
}

const numberIn = (text: string, pattern: RegExp): number | undefined => {
  const found = pattern.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}

/** Calls tools for some rounds, then answers; without tools it answers at once. */
export const agent =
  (options: AgentOptions = {}): Script =>
  ({ context, request, seed }) => {
    const last = context.at(-1)
    if (last !== undefined && typeOf(last) === "compaction_trigger") return { output: [{ _tag: "Compaction" }] }
    const userIndex = context.findLastIndex((item) => item.role === "user")
    const asked = context[userIndex]
    const question = asked === undefined ? "" : textOf(asked)
    const since = context.slice(userIndex + 1)
    const round = since.filter((item, index) => {
      const before = since[index - 1]
      return isOutput(item) && (before === undefined || !isOutput(before))
    }).length
    const rounds =
      numberIn(question, /use (\d+) steps?/i) ??
      options.rounds ??
      1 + Math.floor(chance(seed, `rounds ${question}`) * 3)
    const tools = (isArray(request.tools) ? request.tools : []).filter(
      (tool): tool is JsonObject => isObject(tool) && (tool.type === "function" || tool.type === "custom"),
    )
    const name = `${question} ${round}`
    const reasoning: Part = {
      _tag: "Reasoning",
      summary: [`**Step ${round + 1}** of ${rounds + 1}: what is known so far.`],
    }
    if (tools.length === 0 || request.tool_choice === "none" || round >= rounds) {
      const words = numberIn(question, /in (\d+) words?/i) ?? options.words ?? 24
      const text = `Done after ${round} steps: ${sentence(words)}.`
      return { output: [reasoning, { _tag: "Message", text, phase: "final_answer" }] }
    }
    const calls =
      request.parallel_tool_calls === false ? 1 : (options.calls ?? 1 + Math.floor(chance(seed, `calls ${name}`) * 2))
    const output: Array<Part> = [reasoning]
    if (chance(seed, `commentary ${name}`) < 0.4) {
      output.push({ _tag: "Message", text: `Looking at step ${round + 1}.`, phase: "commentary" })
    }
    for (let call = 0; call < calls; call++) {
      const tool = tools[Math.floor(chance(seed, `tool ${name} ${call}`) * tools.length)]
      if (tool === undefined) break
      const label = `step ${round + 1}.${call + 1}`
      output.push(
        tool.type === "custom"
          ? { _tag: "CustomToolCall", name: String(tool.name), input: `run "${label}"\n` }
          : {
              _tag: "FunctionCall",
              name: String(tool.name),
              arguments: argumentsFor(isObject(tool.parameters) ? tool.parameters : {}, label),
            },
      )
    }
    return { output }
  }
