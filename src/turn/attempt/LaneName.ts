/**
 * Reads the name of the lane that an event is of, and takes it out of the event: names of upstream lanes are respool's
 * own, and no client's (docs/protocol.md 1.4).
 *
 * No event is parsed where the name stands behind everything else or right behind the type. At these two places it is
 * certain that the member is the event's own, and none of what the event carries: quotes inside of a string are escaped,
 * the last brace of a JSON object closes it, and a type is no object.
 */
import { Result } from "effect"
import { scanObject } from "../../wire/Json.ts"

export interface NamedEvent {
  readonly name: string
  /** The event without the name. */
  readonly text: string
}

const member = ',"stream_id":"'
const onlyType = /^\{"type":"[\w.-]+"$/

/** Undefined: the text names no lane. */
export const laneIn = (text: string): NamedEvent | undefined => {
  const last = text.lastIndexOf(member)
  if (last > 0) {
    const from = last + member.length
    const quote = text.indexOf('"', from)
    if (quote === text.length - 2 && text.endsWith("}")) {
      return { name: text.slice(from, quote), text: `${text.slice(0, last)}}` }
    }
    const first = text.indexOf(member)
    const end = text.indexOf('"', first + member.length)
    if (text[end + 1] === "," && onlyType.test(text.slice(0, first))) {
      return { name: text.slice(first + member.length, end), text: text.slice(0, first) + text.slice(end + 1) }
    }
  }
  return text.includes('"stream_id"') ? anywhere(text) : undefined
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const anywhere = (text: string): NamedEvent | undefined => {
  const bytes = encoder.encode(text)
  const members = Result.getOrElse(scanObject(bytes), () => [])
  const found = members.findLast(({ key }) => key === "stream_id")
  if (found === undefined) return undefined
  const name: unknown = JSON.parse(decoder.decode(bytes.subarray(found.start, found.end)))
  if (typeof name !== "string") return undefined
  const rest = members.filter(({ key }) => key !== "stream_id")
  const parts = rest.map(({ end, keyStart }) => decoder.decode(bytes.subarray(keyStart, end)))
  return { name, text: `{${parts.join(",")}}` }
}
