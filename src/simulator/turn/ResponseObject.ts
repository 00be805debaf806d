/**
 * Writes the response object, with the members of the request exactly as the client wrote them.
 *
 * Every member is there that the Open Responses specification asks for; a function that was given as a tool has all of
 * its members there, too.
 */
import type { CreateRequest } from "../request/CreateRequest.ts"
import { elements, members, stable } from "../JsonText.ts"

export interface ResponseState {
  /** Undefined leaves the id out. */
  readonly id: string | undefined
  readonly status: "in_progress" | "completed" | "failed" | "incomplete"
  /** Raw items; undefined leaves `output` out. */
  readonly output: ReadonlyArray<string> | undefined
  /** Raw JSON. */
  readonly usage?: string
  readonly error?: { readonly code: string; readonly message: string }
  readonly incompleteReason?: string
}

const defaults: ReadonlyArray<readonly [string, string]> = [
  ["instructions", "null"],
  ["max_output_tokens", "null"],
  ["max_tool_calls", "null"],
  ["model", '""'],
]

const tail: ReadonlyArray<readonly [string, string]> = [
  ["parallel_tool_calls", "true"],
  ["previous_response_id", "null"],
  ["prompt_cache_key", "null"],
  ["reasoning", '{"effort":null,"summary":null}'],
  ["safety_identifier", "null"],
  ["service_tier", '"default"'],
  ["store", "true"],
  ["temperature", "1.0"],
  ["text", '{"format":{"type":"text"}}'],
  ["tool_choice", '"auto"'],
  ["tools", "[]"],
  ["top_logprobs", "0"],
  ["top_p", "1.0"],
  ["presence_penalty", "0.0"],
  ["frequency_penalty", "0.0"],
  ["truncation", '"disabled"'],
  ["user", "null"],
  ["metadata", "{}"],
]

const ofFunction: ReadonlyArray<readonly [string, string]> = [
  ["description", "null"],
  ["parameters", "null"],
  ["strict", "true"],
]

/** The tools as a response repeats them. */
const toolsIn = (text: string): string => {
  if (!text.startsWith("[")) return text
  const tools = elements(text, 0).map((tool) => {
    const given = tool.startsWith("{") ? members(tool) : []
    const isFunction = given.some(({ name, valueStart, end }) => {
      return name === "type" && tool.slice(valueStart, end) === '"function"'
    })
    const missing = ofFunction.filter(([name]) => isFunction && !given.some((member) => member.name === name))
    return `${tool.slice(0, -1)}${missing.map(([name, value]) => `,"${name}":${value}`).join("")}${tool.slice(-1)}`
  })
  return `[${tools.join(",")}]`
}

/** A writer for one response; `createdAt` is in seconds. */
export const responseWriter = (request: CreateRequest, createdAt: number): ((state: ResponseState) => string) => {
  const echo = (names: ReadonlyArray<readonly [string, string]>) =>
    names
      .map(([name, fallback]) => {
        const raw = request.raw(name) ?? fallback
        return `"${name}":${name === "tools" ? toolsIn(raw) : raw}`
      })
      .join(",")
  const before = echo(defaults)
  const after = echo(tail)
  return (state) =>
    [
      "{",
      state.id === undefined ? "" : `"id":"${state.id}",`,
      `"object":"response","created_at":${createdAt},"completed_at":${state.status === "completed" ? createdAt : "null"},"status":"${state.status}","background":false,`,
      `"error":${state.error === undefined ? "null" : JSON.stringify(state.error)},`,
      `"incomplete_details":${state.incompleteReason === undefined ? "null" : stable({ reason: state.incompleteReason })},`,
      before,
      state.output === undefined ? "" : `,"output":[${state.output.join(",")}]`,
      `,${after},"usage":${state.usage ?? "null"}}`,
    ].join("")
}
