/**
 * Takes input for a response that runs, and continues the response with it once that has ended.
 *
 * A successor begins by itself on the response's lane. Where the response ended in calls, it waits for the client's next
 * request, which brings their outputs. Source: docs/protocol.md 1.2.
 */
import type { CreateRequest, InputItem } from "../request/CreateRequest.ts"
import { parseObject, readCreateRequest } from "../request/CreateRequest.ts"
import type { JsonObject } from "../JsonText.ts"
import { isArray, isObject } from "../JsonText.ts"
import type { Mutable, SimulatorState, TurnRecord } from "../SimulatorState.ts"
import type { Lane, Steered } from "../turn/Turn.ts"
import { arrive } from "../turn/Turn.ts"

const allowed: ReadonlySet<string> = new Set(["type", "role", "content"])
const parts: ReadonlySet<unknown> = new Set(["input_text", "input_image", "input_file"])

const isMessage = (item: JsonObject): boolean =>
  item.role === "user" &&
  (item.type === undefined || item.type === "message") &&
  Object.keys(item).every((name) => allowed.has(name)) &&
  (typeof item.content === "string" ||
    (isArray(item.content) && item.content.every((part) => isObject(part) && parts.has(part.type))))

/** The items of a steer; undefined: they are none that may steer. */
const itemsOf = (text: string): ReadonlyArray<InputItem> | undefined => {
  const read = readCreateRequest(
    text.replace("response.steer", "response.create").replace("{", '{"model":"m",'),
    "websocket",
  )
  if (read._tag === "Refusal" || read.items.length === 0) return undefined
  return read.items.every(({ value }) => isMessage(value)) ? read.items : undefined
}

const laneMember = ({ name }: Lane) => (name === undefined ? {} : { stream_id: name })

/** What answers a steer; undefined: the message is none. One that is taken waits on its lane. */
export const readSteer = (state: SimulatorState, text: string, lanes: Iterable<Lane>): string | undefined => {
  const value = parseObject(text)
  if (value?.type !== "response.steer") return undefined
  const responseId = String(value.previous_response_id)
  const all = [...lanes]
  const lane = all.find((lane) => lane.running && lane.responseId === responseId)
  const items = itemsOf(text)
  const failed = (code: string) =>
    JSON.stringify({
      type: "response.steer.failed",
      sequence_number: 0,
      error: { type: "invalid_request_error", code, message: "The response was not steered." },
      steer: { previous_response_id: responseId, input: value.input ?? null },
      ...(lane === undefined ? {} : laneMember(lane)),
    })
  if (items === undefined) return failed("invalid_input")
  if (lane === undefined) {
    const known = all.some(({ latest }) => latest?.responseId === responseId)
    return failed(known ? "response_already_completed" : "response_not_found")
  }
  const steered: Steered = { id: state.ids.item("steer"), responseId, text, items }
  lane.steers = [...lane.steers, steered]
  const steer = { id: steered.id, previous_response_id: responseId }
  return JSON.stringify({ type: "response.steer.accepted", sequence_number: 0, steer, ...laneMember(lane) })
}

/** A request that continues a steered response has what that was steered with behind its own items. */
export const withSteers = (lane: Lane, request: CreateRequest): CreateRequest => {
  const mine = lane.steers.filter(({ responseId }) => responseId === request.previousResponseId)
  if (mine.length === 0) return request
  lane.steers = []
  return { ...request, items: [...request.items, ...mine.flatMap(({ items }) => items)] }
}

/** The turn that begins by itself when a steered one has ended; `say` tells where none does. */
export const successor = (
  state: SimulatorState,
  lane: Lane,
  record: Mutable<TurnRecord>,
  say: (text: string) => void,
): { readonly request: CreateRequest; readonly record: Mutable<TurnRecord> } | undefined => {
  const { request, responseId } = record
  const mine = lane.steers.filter((steer) => steer.responseId === responseId)
  if (mine.length === 0 || request === undefined || responseId === undefined) return undefined
  if (lane.latest?.responseId !== responseId) {
    lane.steers = []
    return undefined
  }
  const calls = record.output.map(parseObject).filter((item) => String(item?.type).endsWith("_call"))
  if (calls.some((call) => call?.call_id !== undefined)) {
    for (const { id } of mine) {
      const required_input = calls.map((call) => ({
        type: `${String(call?.type)}_output`,
        call_id: call?.call_id ?? null,
      }))
      const steer = { id, previous_response_id: responseId }
      const reason = "waiting_for_required_input"
      say(
        JSON.stringify({
          type: "response.steer.pending",
          sequence_number: 0,
          steer,
          reason,
          required_input,
          ...laneMember(lane),
        }),
      )
    }
    return undefined
  }
  const { input: _, previous_response_id: __, ...rest } = request
  const text = JSON.stringify({ ...rest, previous_response_id: responseId, input: [] })
  const next = readCreateRequest(text, "websocket")
  if (next._tag === "Refusal") return undefined
  const caller = { transport: "websocket", connection: record.connection, headers: record.headers } as const
  return { request: next, record: arrive(state, caller, text, next) }
}
