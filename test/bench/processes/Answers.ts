/**
 * The fast upstream's answers, serialised once: as WebSocket frames and as chunks of an SSE stream.
 *
 * Of a turn only its number changes, which stands in a fixed width inside the ids; it is written over the old one right
 * before a piece is sent, so that a turn allocates nothing.
 */
import type { AnswerScript } from "../Protocol.ts"

/** Bytes that are sent in one write. */
export interface Piece {
  readonly bytes: Buffer
  /** Where the turn's number stands in them. */
  readonly marks: ReadonlyArray<number>
}

/** A whole answer, in both forms. */
export interface Answer {
  readonly frames: ReadonlyArray<Piece>
  readonly chunks: ReadonlyArray<Piece>
}

const mark = "@@@@@@@@@@@@@@@@"
const width = mark.length

export const numberText = (turn: number): string => String(turn).padStart(width, "0")

/** Writes the turn's number into the piece. */
export const stamp = ({ bytes, marks }: Piece, number: string): Buffer => {
  for (const at of marks) bytes.write(number, at, width, "latin1")
  return bytes
}

const pieceOf = (bytes: Buffer): Piece => {
  const marks: Array<number> = []
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + width)) marks.push(at)
  return { bytes, marks }
}

const frameOf = (text: string): Buffer => {
  const payload = Buffer.from(text)
  const { length } = payload
  const head =
    length < 126
      ? Buffer.from([0x81, length])
      : length < 65_536
        ? Buffer.from([0x81, 126, length >> 8, length & 255])
        : Buffer.from([0x81, 127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255])
  return Buffer.concat([head, payload])
}

const chunkOf = (type: string, text: string): Buffer => {
  const event = Buffer.from(`event: ${type}\ndata: ${text}\n\n`)
  return Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from("\r\n")])
}

const httpHead = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
)
const lastChunk = Buffer.from("0\r\n\r\n")

interface Event {
  readonly type: string
  readonly [member: string]: unknown
}

const words = "the quick brown fox jumps over a lazy dog while nobody in the yard looks at it".split(" ")

/** A delta of about 178 bytes, as one token's is. */
const delta = (sequence: number): Event => ({
  type: "response.output_text.delta",
  sequence_number: sequence,
  item_id: `msg_${mark}`,
  output_index: 0,
  content_index: 0,
  delta: ` ${words[sequence % words.length]}`,
  logprobs: [],
})

const message = {
  id: `msg_${mark}`,
  type: "message",
  status: "completed",
  role: "assistant",
  phase: "final_answer",
  content: [{ type: "output_text", annotations: [], logprobs: [], text: "It is done." }],
}

const reasoning = {
  id: `rs_${mark}`,
  type: "reasoning",
  summary: [],
  encrypted_content: `${mark}${"gAAAAABp3kQvZ8s1XnY0".repeat(50)}`,
}

const call = {
  id: `fc_${mark}`,
  type: "function_call",
  status: "completed",
  name: "read_file",
  call_id: `call_${mark}`,
  arguments: '{"path":"src/upstream/Connection.ts","limit":200,"offset":0}',
}

const response = (status: string, output: ReadonlyArray<unknown>) => ({
  id: `resp_${mark}`,
  object: "response",
  created_at: 1_780_000_000,
  status,
  model: "gpt-5.5",
  output,
  parallel_tool_calls: true,
  store: false,
  usage:
    status === "completed"
      ? {
          input_tokens: 1000,
          input_tokens_details: { cached_tokens: 900 },
          output_tokens: 100,
          output_tokens_details: { reasoning_tokens: 50 },
          total_tokens: 1100,
        }
      : null,
})

const begun: ReadonlyArray<Event> = [
  { type: "response.created", sequence_number: 0, response: response("in_progress", []) },
  { type: "response.in_progress", sequence_number: 1, response: response("in_progress", []) },
]

const eventsOf = ({ deltas, kind }: AnswerScript): ReadonlyArray<Event> => {
  const streamed = Array.from({ length: deltas }, (_, index) => delta(index + 3))
  const added = (item: { readonly type: string }, index: number): Event => ({
    type: "response.output_item.added",
    output_index: index,
    item: { ...item, status: "in_progress" },
  })
  const done = (item: { readonly type: string }, index: number): Event => ({
    type: "response.output_item.done",
    output_index: index,
    item,
  })
  const completed = (output: ReadonlyArray<unknown>): Event => ({
    type: "response.completed",
    response: response("completed", output),
  })
  switch (kind) {
    case "single":
      return [completed([message])]
    case "message":
      return [...begun, added(message, 0), ...streamed, done(message, 0), completed([message])]
    case "call":
      return [
        ...begun,
        added(reasoning, 0),
        done(reasoning, 0),
        added(call, 1),
        ...streamed,
        { type: "response.function_call_arguments.done", output_index: 1, arguments: call.arguments },
        done(call, 1),
        completed([reasoning, call]),
      ]
    case "endless":
      return [...begun, added(message, 0), delta(3)]
  }
}

/** The events of one turn; in one piece where the script says `burst`. */
export const answerOf = (script: AnswerScript): Answer => {
  const numbered = eventsOf(script).map((event, index) => JSON.stringify({ ...event, sequence_number: index }))
  const types = eventsOf(script).map(({ type }) => type)
  const frames = numbered.map(frameOf)
  const chunks = numbered.map((text, index) => chunkOf(types[index] ?? "", text))
  chunks[0] = Buffer.concat([httpHead, chunks[0] ?? Buffer.alloc(0)])
  if (script.kind !== "endless") chunks.push(Buffer.concat([chunks.pop() ?? Buffer.alloc(0), lastChunk]))
  const pieces = (parts: ReadonlyArray<Buffer>) => (script.burst ? [Buffer.concat(parts)] : parts).map(pieceOf)
  return { frames: pieces(frames), chunks: pieces(chunks) }
}

/** Events of one turn. */
export const eventCount = (script: AnswerScript): number => eventsOf(script).length
