/**
 * Makes the window that stands for a conversation: its user messages, and one opaque item.
 */
import { rebuild } from "../context/Context.ts"
import { measure, nothingSeen } from "../context/Prefixes.ts"
import { members } from "../JsonText.ts"
import type { CreateRequest } from "../request/CreateRequest.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid } from "../Refusal.ts"
import type { Entry, SimulatorState } from "../SimulatorState.ts"
import { parentOf } from "./Turn.ts"

/** A message with all of its members, however short the client wrote it. */
const messageOf = (state: SimulatorState, { raw, value }: Entry): string => {
  const given = new Set(members(raw).map(({ name }) => name))
  const content = typeof value.content === "string" ? [{ type: "input_text", text: value.content }] : undefined
  if (given.has("id") && given.has("type") && given.has("status") && content === undefined) return raw
  const kept = members(raw)
    .filter(({ name }) => name !== "content" || content === undefined)
    .map(({ end, start }) => raw.slice(start, end))
  const missing: ReadonlyArray<readonly [string, string]> = [
    ["id", JSON.stringify(state.ids.item("msg"))],
    ["type", '"message"'],
    ["status", '"completed"'],
  ]
  const added = missing.filter(([name]) => !given.has(name)).map(([name, text]) => `"${name}":${text}`)
  return `{${[...added, ...kept, ...(content === undefined ? [] : [`"content":${JSON.stringify(content)}`])].join(",")}}`
}

/** A compaction window: the user's messages and one opaque item. Source: docs/protocol.md 1.6. */
export const compact = (state: SimulatorState, request: CreateRequest): string | Refusal => {
  const parent = parentOf(state, request, undefined)
  if ("_tag" in parent) return parent
  const rebuilt = rebuild(state, { ...request, generate: false }, parent.entries)
  if (rebuilt._tag === "Refusal") return rebuilt
  if (rebuilt.entries.length === 0) return invalid("Nothing to compact.", { param: "input" })
  const { inputTokens, cachedTokens } = measure(state, request, rebuilt.entries, nothingSeen, -1)
  const kept = rebuilt.entries.filter(({ value }) => value.role === "user").map((entry) => messageOf(state, entry))
  const item = `{"id":"${state.ids.item("cmp")}","type":"compaction","encrypted_content":"${state.ids.opaque(640)}"}`
  const usage = {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: 160,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + 160,
  }
  const createdAt = Math.floor(state.now() / 1000)
  return `{"id":"${state.ids.item("resp")}","object":"response.compaction","created_at":${createdAt},"output":[${[...kept, item].join(",")}],"usage":${JSON.stringify(usage)}}`
}
