/**
 * Tells a turn that goes on with what a model said before from the first turn of a conversation.
 */
import type { RequestBody } from "../../wire/RequestBody.ts"
import { readMember } from "../../wire/RequestBody.ts"

/** So many of the last items are looked at, and so many bytes of each. */
const maxItems = 16
const maxBytes = 256

/** What a model made, or what answers it: an assistant's message, reasoning, calls and their outputs. */
const ofAModel = /"role"\s*:\s*"assistant"|"type"\s*:\s*"(reasoning|compaction|item_reference|[a-z_]+_call(_output)?)"/

const isGiven = (body: RequestBody, name: string) => (readMember(body, name) ?? null) !== null

/**
 * The turn's last items say it, so a long history costs no more than a short one; a first turn that opens with many
 * messages of the user's alone is one.
 */
export const followsUp = (body: RequestBody): boolean => {
  if (isGiven(body, "previous_response_id") || isGiven(body, "conversation")) return true
  for (const { end, start } of body.items?.slice(-maxItems).toReversed() ?? []) {
    const beginning = body.bytes.subarray(start, Math.min(end, start + maxBytes))
    if (ofAModel.test(Buffer.from(beginning.buffer, beginning.byteOffset, beginning.length).toString("latin1")))
      return true
  }
  return false
}
