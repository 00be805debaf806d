/**
 * Makes of a steer what goes upstream, or the answer to one that can't go to the response that it names, with the input
 * that was not used (docs/protocol.md 1.2), unless that is large.
 */
import type { RequestBody } from "../../wire/RequestBody.ts"
import { memberSpan, writtenMember } from "../../wire/RequestBody.ts"
import { frameInSteps } from "../../wire/Frame.ts"
import type { Steps } from "../../wire/Steps.ts"
import { shortened } from "../ApiError.ts"
import type { Steer } from "./ClientEvent.ts"

type Problem = "invalid_input" | "response_already_completed" | "response_not_found" | "steering_not_supported"

const messages: Readonly<Record<Problem, string>> = {
  invalid_input: "A steer needs a 'previous_response_id', and an 'input'.",
  response_already_completed: "The response is complete and takes no steering input any more.",
  response_not_found: "The response to steer is not available on this connection.",
  steering_not_supported: "The response does not run on a connection that takes steering input.",
}

/** `known`: a turn of this socket made the response. `running`: one is making it. */
export const steerProblem = (
  { responseId }: Steer,
  { known, running }: { readonly known: boolean; readonly running: boolean },
): Problem | undefined => {
  if (responseId === undefined) return "invalid_input"
  if (running) return undefined
  return known ? "response_already_completed" : "response_not_found"
}

const ofSteer = { fromItem: 0, omit: new Set(["event_id"]), type: "response.steer" } as const

export const steerFrame = (body: RequestBody): Steps<Uint8Array> => frameInSteps(body, ofSteer)

/** A longer input, in bytes, is not repeated. */
const maxRepeated = 1 << 20

const inputOf = (body: RequestBody): string => {
  const { end, start } = memberSpan(body, "input") ?? { end: 0, start: 0 }
  return end - start > maxRepeated ? "null" : (writtenMember(body, "input") ?? "null")
}

/** `streamId`: the lane of the response, if it runs. */
export const steerFailed = (
  code: Problem,
  body: RequestBody,
  { eventId, responseId }: Steer,
  streamId: string | undefined,
): string => {
  const input = inputOf(body)
  const id = JSON.stringify(shortened(responseId ?? ""))
  const event = eventId === undefined ? {} : { event_id: eventId }
  const error = JSON.stringify({ type: "invalid_request_error", code, message: messages[code], ...event })
  const lane = streamId === undefined ? "" : `,"stream_id":"${streamId}"`
  return `{"type":"response.steer.failed","sequence_number":0,"error":${error},"steer":{"previous_response_id":${id},"input":${input}}${lane}}`
}
