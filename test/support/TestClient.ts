/** A client of the simulator that hides nothing: one socket, its frames in order, its close code. */
import type { Scope } from "effect"
import { Deferred, Effect, Queue } from "effect"
import type { Json, JsonObject } from "../../src/simulator/JsonText.ts"
import type { SimulatorService } from "../../src/simulator/Simulator.ts"
import { ask } from "./Ask.ts"
import { talker } from "./Talker.ts"

export interface Event extends JsonObject {
  readonly type: string
}

export interface Client {
  readonly send: (request: JsonObject | string) => Effect.Effect<void>
  /** The next text frame as it came. */
  readonly text: Effect.Effect<string>
  readonly next: Effect.Effect<Event>
  /** Frames up to and with the next terminal one. */
  readonly answer: Effect.Effect<ReadonlyArray<Event>>
  /** Sends a create request and gives the last frame of its answer. */
  readonly turn: (request: JsonObject) => Effect.Effect<Event>
  /** A frame that is not of text. */
  readonly binary: (bytes: Uint8Array<ArrayBuffer>) => Effect.Effect<void>
  readonly ping: Effect.Effect<void>
  readonly closed: Effect.Effect<number>
  readonly close: Effect.Effect<void>
  /** Ends the connection without a word. */
  readonly terminate: Effect.Effect<void>
}

const terminal = new Set(["response.completed", "response.failed", "response.incomplete", "error"])

export const connect = (
  { url }: Pick<SimulatorService, "url">,
  headers: Record<string, string> = {},
): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.gen(function* () {
    const frames = yield* Queue.unbounded<string>()
    const closed = yield* Deferred.make<number>()
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocket(`${url.replace("http", "ws")}/responses`, { headers })),
      (socket) => Effect.sync(() => socket.terminate()),
    )
    yield* Effect.callback<void>((resume) => {
      socket.onopen = () => resume(Effect.void)
      socket.onmessage = ({ data }) => {
        Queue.offerUnsafe(frames, typeof data === "string" ? data : JSON.stringify({ type: "binary" }))
      }
      socket.onclose = ({ code }) => {
        Deferred.doneUnsafe(closed, Effect.succeed(code))
        resume(Effect.void)
      }
    })
    const text = Queue.take(frames)
    const next = Effect.map(text, (frame) => JSON.parse(frame) as Event)
    const send = (request: JsonObject | string) =>
      Effect.sync(() =>
        socket.send(
          typeof request === "string"
            ? request
            : JSON.stringify({ type: "response.create", model: "gpt-5.5", ...request }),
        ),
      )
    const answer = Effect.gen(function* () {
      const events: Array<Event> = []
      for (;;) {
        const event = yield* next
        events.push(event)
        if (terminal.has(event.type)) return events
      }
    })
    return {
      send,
      text,
      next,
      answer,
      turn: (request) =>
        send(request).pipe(
          Effect.andThen(answer),
          Effect.map((events) => events.at(-1) ?? { type: "nothing" }),
        ),
      binary: (bytes) => Effect.sync(() => socket.send(bytes)),
      ping: Effect.sync(() => socket.ping()),
      closed: Deferred.await(closed),
      close: Effect.sync(() => socket.close()),
      terminate: Effect.sync(() => socket.terminate()),
    }
  })

/** The value at a path of keys, or undefined. */
export const at = (value: Json | undefined, ...path: ReadonlyArray<string | number>): Json | undefined =>
  path.reduce<Json | undefined>(
    (inner, key) =>
      inner !== null && typeof inner === "object"
        ? (inner as Record<string | number, Json | undefined>)[key]
        : undefined,
    value,
  )

export const idOf = (event: Event): string => String(at(event, "response", "id"))
export const codeOf = (event: Event): Json | undefined => at(event, "error", "code")
export const messageOf = (event: Event): string => String(at(event, "error", "message"))

export const post = (
  { url }: Pick<SimulatorService, "url">,
  body: JsonObject | string,
  init: { readonly path?: string; readonly headers?: Record<string, string> } = {},
) =>
  Effect.map(
    ask(`${url}${init.path ?? "/responses"}`, {
      headers: init.headers ?? {},
      body: typeof body === "string" ? body : { model: "gpt-5.5", ...body },
    }),
    (answer) => ({ ...answer, json: () => JSON.parse(answer.text) as JsonObject }),
  )

/**
 * All that a raw socket gets of an answer: its body, with ` broken` behind it where the connection ended in the middle;
 * `no answer` where there was no head.
 */
export const outcome = ({ port }: Pick<SimulatorService, "port">, body: JsonObject): Effect.Effect<string> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { closed, received, say } = yield* talker(`http://127.0.0.1:${port}`)
      const text = JSON.stringify({ model: "gpt-5.5", ...body })
      const head = "POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
      say(`${head}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
      yield* closed
      return bodyOf(received().toString("latin1"))
    }),
  )

/** The head that answers an upgrade; the connection is gone then. */
export const upgrade = ({ url }: Pick<SimulatorService, "url">, headers: Record<string, string> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { say, until } = yield* talker(url)
      const own = {
        host: "127.0.0.1",
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
      }
      const asked = Object.entries({ ...own, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
      say(`GET ${new URL(url).pathname}/responses HTTP/1.1\r\n${asked.join("")}\r\n`)
      const got = yield* until((text) => text.includes("\r\n\r\n"))
      const [line = "", ...lines] = got.slice(0, got.indexOf("\r\n\r\n")).split("\r\n")
      const pairs = lines.map((text): [string, string] => [text.split(": ")[0] ?? "", text.split(": ")[1] ?? ""])
      return { status: Number(line.split(" ")[1]), headers: new Headers(pairs) }
    }),
  )

/** The body of a whole or broken answer. */
const bodyOf = (answer: string): string => {
  const end = answer.indexOf("\r\n\r\n")
  if (end < 0) return "no answer"
  const head = answer.slice(0, end).toLowerCase()
  let rest = answer.slice(end + 4)
  const length = /content-length: (\d+)/.exec(head)?.[1]
  if (length !== undefined) return rest.length < Number(length) ? `${rest} broken` : rest
  let body = ""
  for (;;) {
    const chunk = /^([0-9a-f]+)\r\n/.exec(rest)
    if (chunk?.[1] === undefined) return `${body} broken`
    const size = Number.parseInt(chunk[1], 16)
    if (size === 0) return body
    body += rest.slice(chunk[0].length, chunk[0].length + size)
    rest = rest.slice(chunk[0].length + size + 2)
  }
}

export const get = (
  { url }: Pick<SimulatorService, "url">,
  path: string,
  method = "GET",
  headers: Record<string, string> = {},
) =>
  Effect.map(ask(`${url}${path}`, { method, headers }), ({ status, text }) => ({
    status,
    body: JSON.parse(text) as JsonObject,
  }))

export const weather: Json = {
  type: "function",
  name: "get_weather",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
}

export const outputFor = (callId: string, output = "sunny"): JsonObject => ({
  type: "function_call_output",
  call_id: callId,
  output,
})

/** The calls among the output of a terminal event. */
export const callIds = (event: Event): ReadonlyArray<string> => {
  const output = at(event, "response", "output")
  return (Array.isArray(output) ? (output as ReadonlyArray<Json>) : [])
    .map((item) => at(item, "call_id"))
    .filter((id): id is string => typeof id === "string")
}
