/**
 * Rebuilds what the model sees and refuses what the API refuses in it: unknown references, repeated items, calls and
 * outputs that do not belong together.
 */
import { hash64 } from "../Hash.ts"
import { isEdited, typeOf, unitsOf } from "./Compare.ts"
import type { CreateRequest, InputItem } from "../request/CreateRequest.ts"
import type { JsonObject } from "../JsonText.ts"
import { byteLength } from "../JsonText.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid } from "../Refusal.ts"
import type { Entry, Facts, SimulatorState } from "../SimulatorState.ts"

/** The type of the output that answers each type of call which the client has to answer. */
const answerOf: ReadonlyMap<string, string> = new Map([
  ["function_call", "function_call_output"],
  ["custom_tool_call", "custom_tool_call_output"],
  ["computer_call", "computer_call_output"],
  ["local_shell_call", "local_shell_call_output"],
  ["apply_patch_call", "apply_patch_call_output"],
])
const answers = new Set(answerOf.values())
const named = (type: string): string => type.replaceAll("_", " ")

const factsOf = (value: JsonObject): Facts => {
  const type = typeOf(value)
  const id = typeof value.id === "string" ? [`id ${value.id}`] : []
  const units = unitsOf(value).map((unit) => hash64(unit, 11n))
  const output = answerOf.get(type) ?? (answers.has(type) ? type : undefined)
  if (output === undefined || typeof value.call_id !== "string") {
    return { units, names: id, answers: undefined, needs: undefined }
  }
  const call = `call ${output} ${value.call_id}`
  const answer = `output ${output} ${value.call_id}`
  return output === type
    ? { units, names: [...id, answer], answers: call, needs: undefined }
    : { units, names: [...id, call], answers: undefined, needs: answer }
}

/** A client that sends its full history sends an item again with the same text, so its facts are worked out once. */
export const entryOf = (state: SimulatorState, raw: string, value: JsonObject, bytes = byteLength(raw)): Entry => {
  const key = hash64(raw, 7n)
  const known = state.facts.get(key)
  if (known !== undefined) return { raw, value, bytes, facts: known }
  const facts = factsOf(value)
  state.facts.set(key, facts)
  return { raw, value, bytes, facts }
}

const resolve = (state: SimulatorState, item: InputItem, chain: ReadonlyArray<Entry>): Entry | Refusal => {
  if (typeOf(item.value) !== "item_reference") return entryOf(state, item.raw, item.value, item.bytes)
  const id = String(item.value.id)
  const found = state.storedItems.get(id) ?? chain.find(({ value }) => value.id === id)
  return (
    found ??
    invalid(
      `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`,
      { status: 404, param: "input" },
    )
  )
}

const duplicate = (name: string, value: JsonObject): Refusal => {
  const what = name.startsWith("id ") ? `id ${String(value.id)}` : `call_id ${String(value.call_id)}`
  return invalid(`Duplicate item found with ${what}. Remove duplicate items from your input and try again.`, {
    param: "input",
  })
}

const wrongPairs = (entries: ReadonlyArray<Entry>, complete: boolean): Refusal | undefined => {
  const seen = new Set<string>()
  for (const { facts, value } of entries) {
    for (const name of facts.names) {
      if (seen.has(name)) return duplicate(name, value)
      seen.add(name)
    }
    if (facts.answers !== undefined && !seen.has(facts.answers)) {
      const message = `No tool call found for ${named(typeOf(value))} with call_id ${String(value.call_id)}.`
      return invalid(message, { param: "input" })
    }
  }
  if (!complete) return undefined
  for (const { facts, value } of entries) {
    if (facts.needs !== undefined && !seen.has(facts.needs)) {
      const message = `No tool output found for ${named(typeOf(value))} ${String(value.call_id)}.`
      return invalid(message, { param: "input" })
    }
  }
  return undefined
}

export interface Rebuilt {
  readonly _tag: "Rebuilt"
  readonly entries: ReadonlyArray<Entry>
  /** Those of them that the request brought. */
  readonly fresh: ReadonlyArray<Entry>
}

/** The context of a request after a chain. */
export const rebuild = (
  state: SimulatorState,
  request: CreateRequest,
  chain: ReadonlyArray<Entry>,
): Rebuilt | Refusal => {
  const fresh: Array<Entry> = []
  for (const item of request.items) {
    const entry = resolve(state, item, chain)
    if ("_tag" in entry) return entry
    fresh.push(entry)
  }
  const entries = chain.length === 0 ? fresh : [...chain, ...fresh]
  const refusal = wrongPairs(entries, request.generate)
  if (refusal !== undefined) return refusal
  if (request.generate && entries.length === 0 && request.value.prompt === undefined) {
    return invalid("One of 'input', 'previous_response_id', 'prompt' or 'conversation' must be provided.", {
      code: "missing_required_parameter",
      param: "input",
    })
  }
  return { _tag: "Rebuilt", entries, fresh }
}

const issuedAs = (state: SimulatorState, item: JsonObject): JsonObject | undefined => {
  const byId = typeof item.id === "string" ? state.issued.get(item.id) : undefined
  if (byId !== undefined) return byId
  return answerOf.has(typeOf(item)) && typeof item.call_id === "string" ? state.issued.get(item.call_id) : undefined
}

/** How many of the items have an id that the simulator issued, but say something else. */
export const editedItems = (state: SimulatorState, fresh: ReadonlyArray<Entry>): number =>
  fresh.filter(({ value }) => {
    const issued = issuedAs(state, value)
    return issued !== undefined && issued !== value && isEdited(issued, value)
  }).length
