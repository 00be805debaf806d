/**
 * Upstream frames that went wrong: mutations of the events of a real turn, the same ones for the same seed.
 */
import type { Random } from "./Random.ts"

/** What comes from the socket: a text, or one of the things that are none. */
export type Fuzzed = { readonly text: string } | "binary" | "overflow" | "closed" | "closed, 1009"

const pick = <A>(random: Random, values: readonly [A, ...ReadonlyArray<A>]): A =>
  values[random(values.length)] ?? values[0]

const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text: "Hé 🜂", annotations: [], logprobs: [] }],
}
const call = {
  id: "fc_1",
  type: "function_call",
  call_id: "call_1",
  name: "f",
  arguments: '{"a":1.50}',
  status: "completed",
}
const reasoning = { id: "rs_1", type: "reasoning", summary: [], encrypted_content: "gAAAAAB" }
const usage = { input_tokens: 3, input_tokens_details: { cached_tokens: 0 }, output_tokens: 4, total_tokens: 7 }

const errors: readonly [object, ...ReadonlyArray<object>] = [
  { type: "error", status: 400, error: { type: "invalid_request_error", code: "x", message: "no", param: "input" } },
  { type: "error", code: "rate_limit_exceeded", message: "slow down", param: null },
  { type: "error", error: { code: "server_error", message: "oops" }, headers: { "retry-after": 3, "X-Odd": "a\r\nb" } },
  { type: "error", status: 401, error: "no" },
  { type: "error", status: 599, error: { code: "websocket_connection_limit_reached", message: "no" } },
  { type: "error", status_code: 404, error: { code: "previous_response_not_found", message: "no" }, status: "200" },
  { type: "error", status: 200, error: null },
  { type: "error", status: 1e21, message: ["no"] },
  { type: "error" },
  { error: { message: "no type" }, type: "error", headers: [1, 2], status: 429.5 },
]

/** The events of a turn with the response's id, well formed. */
export const wellFormed = (random: Random, id: string): Array<string> => {
  const output = [call, reasoning, message].slice(random(4))
  const response = (status: string, more: object = {}) => ({ id, object: "response", status, output: [], ...more })
  const events: Array<object> = [
    { type: "response.created", response: response("in_progress") },
    { type: "response.in_progress", response: response("in_progress") },
  ]
  for (const [output_index, item] of output.entries()) {
    events.push({ type: "response.output_item.added", output_index, item })
    for (let count = item === message ? random(20) : 0; count > 0; count--) {
      events.push({ type: "response.output_text.delta", output_index, delta: "Hé", logprobs: [] })
    }
    events.push({ type: "response.output_item.done", output_index, item })
  }
  if (random(8) === 0) events.push({ type: "response.future_thing.delta", delta: {} })
  if (random(8) === 0) events.push({ type: "codex.rate_limits", rate_limits: { primary: null } })
  const end = pick(random, ["completed", "completed", "completed", "failed", "incomplete", "cancelled", "error"])
  const shown = random(3) === 0 ? {} : { output }
  if (end === "error") events.push(pick(random, errors))
  else events.push({ type: `response.${end}`, response: response(end, { ...shown, usage, error: null }) })
  return events.map((event, sequence_number) => JSON.stringify({ ...event, sequence_number }))
}

/** Values of the wrong type, as JSON texts; some of them no parser likes. */
const odd: readonly [string, ...ReadonlyArray<string>] = [
  "null", "true", "false", "0", "-1", "-0", "1.5", "1e308", "1e999", "9007199254740993", `1${"0".repeat(400)}`,
  '""', '"x"', '"\\u0000"', '"\\ud800"', '"response.completed"', '"error"', '"a\\nevent: b\\ndata: c"', "[]", "{}",
  "[[]]", "[null]", "[1,2]", '{"id":null}', '{"id":"x","id":7}', '[{"type":"message"}]', '{"__proto__":{"a":1}}',
  "undefined", "NaN", "'x'", "01", "[", "}", "",
] // prettier-ignore

/** Undefined where it was mutated before. */
const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Puts an odd text in the place of a random value inside of the event. */
const misshapen = (random: Random, text: string): string => {
  const event = parsed(text)
  const places: Array<readonly [holder: object, key: string]> = []
  const walk = (value: unknown) => {
    if (typeof value !== "object" || value === null) return
    for (const [key, inner] of Object.entries(value)) {
      places.push([value, key])
      walk(inner)
    }
  }
  walk(event)
  const place = places[random(places.length)]
  if (place === undefined) return pick(random, odd)
  const [holder, key] = place
  switch (random(4)) {
    case 0:
      Reflect.deleteProperty(holder, key)
      return JSON.stringify(event)
    case 1: {
      const value: unknown = Reflect.get(holder, key)
      Reflect.set(holder, key, "@twice@")
      const twice = `${JSON.stringify(value) ?? "1"},${JSON.stringify(key)}:${pick(random, odd)}`
      return JSON.stringify(event).replace('"@twice@"', () => twice)
    }
    default:
      Reflect.set(holder, key, "@odd@")
      return JSON.stringify(event).replace('"@odd@"', () => pick(random, odd))
  }
}

const flipped = (random: Random, text: string): string => {
  const bytes = Buffer.from(text)
  for (let flips = 1 + random(3); flips > 0; flips--) {
    const at = random(bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
  }
  // A socket hands on only what is UTF-8.
  return bytes.toString()
}

const spaced = (random: Random, text: string): string =>
  text.replaceAll(/(?<=[[{,:])(?=["[{])/g, () => pick(random, ["", "", " ", "\n", "\r\n", "\t"]))

const mutated = (random: Random, text: string): Fuzzed => {
  switch (random(12)) {
    case 0:
      return { text: text.slice(0, random(text.length)) }
    case 1:
      return { text: text.slice(random(text.length)) }
    case 2:
      return { text: flipped(random, text) }
    case 3:
      return { text: spaced(random, text) }
    case 4:
      return { text: pick(random, odd) }
    case 5:
      return { text: JSON.stringify({ ...pick(random, errors), sequence_number: random(9) }) }
    case 6:
      return { text: text.replace(/"(?=type)/, `"a":${"[".repeat(random(2000))}${"]".repeat(random(2000))},"`) }
    case 7:
      return random(4) === 0
        ? pick(random, ["binary", "overflow", "closed", "closed, 1009"])
        : { text: `\ufeff${text}` }
    default:
      return { text: misshapen(random, text) }
  }
}

/** What an upstream sends for one turn; it may lack an end. */
export const fuzzed = (random: Random, id: string): ReadonlyArray<Fuzzed> => {
  if (random(50) === 0) return ["closed, 1009"]
  const frames: Array<Fuzzed> = wellFormed(random, id).map((text) => ({ text }))
  // Turns that go well must come between, so that connections and memory are in use.
  for (let count = random(4); count > 0; count--) {
    const at = random(frames.length)
    const frame = frames[at]
    if (frame === undefined) continue
    switch (random(6)) {
      case 0:
        frames.splice(at, 0, frame)
        break
      case 1:
        frames.splice(at, 1)
        frames.splice(random(frames.length + 1), 0, frame)
        break
      default:
        if (typeof frame !== "string") frames[at] = mutated(random, frame.text)
    }
  }
  return frames
}
