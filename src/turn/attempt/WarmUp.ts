/**
 * Answers a warm-up (`generate: false`) without an upstream, as one that is ready: an empty response, which the client
 * can continue (docs/protocol.md 3.6).
 */
import { randomBytes } from "node:crypto"
import { writtenMember } from "../../wire/RequestBody.ts"
import type { TurnEnd, TurnRequest, TurnSink } from "../Executor.ts"

/** Members that a response repeats of its request, and what they are where the request leaves them out. */
const repeated: ReadonlyArray<readonly [name: string, otherwise: string]> = [
  ["instructions", "null"],
  ["max_output_tokens", "null"],
  ["metadata", "{}"],
  ["model", '""'],
  ["parallel_tool_calls", "true"],
  ["previous_response_id", "null"],
  ["store", "true"],
  ["temperature", "1"],
  ["tool_choice", '"auto"'],
  ["tools", "[]"],
  ["top_p", "1"],
  ["truncation", '"disabled"'],
]

const usage =
  '{"input_tokens":0,"input_tokens_details":{"cached_tokens":0},"output_tokens":0,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":0}'

/** `now`: in milliseconds. */
export const warmUpHere = ({ body }: TurnRequest, sink: TurnSink, now: number): TurnEnd => {
  const responseId = `resp_${randomBytes(25).toString("hex")}`
  const of = repeated.map(([name, otherwise]) => `,"${name}":${writtenMember(body, name) ?? otherwise}`).join("")
  const at = Math.floor(now / 1000)
  const response = (status: string, rest: string) =>
    `{"id":"${responseId}","object":"response","created_at":${at},"status":"${status}","error":null,"incomplete_details":null,"output":[]${of}${rest}}`
  const event = (type: string, sequence: number, text: string) =>
    sink.event(type, `{"type":"${type}","sequence_number":${sequence},"response":${text}}`)
  event("response.created", 0, response("in_progress", ""))
  event("response.completed", 1, response("completed", `,"completed_at":${at},"usage":${usage}`))
  return { type: "response.completed", responseId, output: [] }
}
