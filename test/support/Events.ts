/**
 * Reads a stream of server-sent events as it was written.
 */
export interface SentEvent {
  readonly type: string
  readonly data: string
}

const read = (block: string): SentEvent => {
  const found = /^event: (.*)\ndata: (.*)$/.exec(block)
  if (found?.[1] === undefined || found[2] === undefined) throw new Error(`not one event: ${JSON.stringify(block)}`)
  return { type: found[1], data: found[2] }
}

/** A comment is a line without an empty one behind it. */
const withoutComments = (text: string): string => text.replaceAll(/^:.*\n/gm, "")

/** Every event of a whole stream; throws where there is anything but events, one line of data each, and comments. */
export const eventsOf = (text: string): ReadonlyArray<SentEvent> => {
  if (!text.endsWith("\n\n")) throw new Error(`the stream ends in the middle: ${JSON.stringify(text.slice(-100))}`)
  const events = withoutComments(text)
  return events === "" ? [] : events.slice(0, -2).split("\n\n").map(read)
}

/** The text of the response that a `response.*` event of the simulator carries. */
export const responseIn = (event: SentEvent | undefined): string => {
  const found = /^\{"type":"[^"]+",(?:"sequence_number":\d+,)?"response":(.*)\}$/.exec(event?.data ?? "")
  if (found?.[1] === undefined) throw new Error(`no response in ${event?.data}`)
  return found[1]
}
