/**
 * An upstream that repeats the credential it was sent wherever an upstream can say something, as some do.
 */
import { Context, Effect, Layer } from "effect"
import { utf8 } from "./Bytes.ts"

/** How it answers a message on a socket. */
export type OnSocket =
  | "answers"
  | "repeats"
  | "flat error"
  | "error"
  | "error after content"
  | "failed"
  | "close"
  | "close after content"
  | "no event"
  | "silence"

/** How it answers a request over HTTP. */
export type OnHttp = "answers" | "repeats" | "error event" | "no response" | "cut" | 302 | 401 | 429 | 500

export interface Manner {
  /** Status of the answer to an upgrade. 101 takes it. */
  readonly upgrade: number
  readonly socket: OnSocket
  readonly http: OnHttp
}

const created = `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","output":[]}}`
const delta = `{"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hi"}`
const message = `{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}`
const response = `{"id":"resp_1","object":"response","status":"completed","output":[${message}]}`
const completed = `{"type":"response.completed","sequence_number":2,"response":${response}}`

/** A whole answer that repeats the words in every event, in the ways in which JSON can hold them. */
const repeating = (words: string): ReadonlyArray<string> => {
  const said = JSON.stringify(words)
  const encoded = JSON.stringify(Buffer.from(words.split(" ").at(-1) ?? "").toString("base64"))
  const item = `{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":${said}}]}`
  const members = `"id":"resp_1","object":"response","instructions":${said},"metadata":{"said":${encoded}}`
  return [
    `{"type":"response.created","sequence_number":0,"response":{${members},"status":"in_progress","output":[]}}`,
    `{"type":"response.unheard_of","sequence_number":1,"said":${said}}`,
    `{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":${item}}`,
    `{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"a"}`,
    `{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":${said}}`,
    `{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":${item}}`,
    `{"type":"response.completed","sequence_number":6,"response":{${members},"status":"completed","output":[${item}]}}`,
  ]
}

const errorOf = (words: string) =>
  JSON.stringify({ message: words, type: "invalid_request_error", param: null, code: "invalid_api_key" })

const envelope = (words: string) =>
  `{"type":"error","status":401,"error":${errorOf(words)},"headers":${JSON.stringify({ "x-echo": words })}}`

const failed = (words: string) =>
  `{"type":"response.failed","sequence_number":1,"response":{"id":"resp_1","status":"failed","error":{"code":"server_error","message":${JSON.stringify(words)}},"output":[]}}`

const frames = (manner: OnSocket, words: string): ReadonlyArray<string> => {
  switch (manner) {
    case "answers":
      return [created, delta, completed]
    case "repeats":
      return repeating(words)
    case "flat error":
      return [`{"type":"error","code":"invalid_api_key","message":${JSON.stringify(words)},"param":null}`]
    case "error":
      return [created, envelope(words)]
    case "error after content":
      return [created, delta, envelope(words)]
    case "failed":
      return [created, failed(words)]
    case "close after content":
      return [created, delta]
    case "no event":
      return [words]
    case "close":
    case "silence":
      return []
  }
}

const sse = (...events: ReadonlyArray<string>) =>
  new Response(events.map((event) => `data: ${event}\n\n`).join(""), {
    headers: { "content-type": "text/event-stream" },
  })

const json = (body: string, status = 200, headers: Readonly<Record<string, string>> = {}) =>
  new Response(body, { status, headers: { "content-type": "application/json", ...headers } })

const refusal = (status: number, words: string) =>
  json(`{"error":${errorOf(words)}}`, status, {
    "x-echo": words,
    "www-authenticate": `Bearer error_description="${words}"`,
    location: `https://elsewhere.invalid/?said=${encodeURIComponent(words)}`,
  })

const overHttp = (manner: OnHttp, stream: boolean, words: string): Response => {
  switch (manner) {
    case "answers":
      return stream ? sse(created, delta, completed) : json(response)
    case "repeats": {
      const events = repeating(words)
      const last = JSON.parse(events.at(-1) ?? "") as { readonly response: unknown }
      return stream ? sse(...events) : json(JSON.stringify(last.response), 200, { "x-echo": words })
    }
    case "error event":
      return sse(created, envelope(words))
    case "no response":
      return json(words)
    case "cut":
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(utf8(`data: ${created}\n\ndata: ${delta}\n\n`)),
          pull: (controller) => controller.error(undefined),
        }),
        { headers: { "content-type": "text/event-stream" } },
      )
    default:
      return refusal(manner, words)
  }
}

export class EchoingUpstream extends Context.Service<
  EchoingUpstream,
  {
    readonly url: string
    /** What it does from now on. */
    readonly behave: (manner: Partial<Manner>) => Effect.Effect<void>
    /** The `authorization` of every request, upgrades included. */
    readonly credentials: ReadonlyArray<string>
    /** Waits until as many messages or requests have come in all. */
    readonly heard: (count: number) => Effect.Effect<void>
    readonly count: () => number
  }
>()("test/server/EchoingUpstream") {
  static readonly layer = Layer.effect(
    EchoingUpstream,
    Effect.gen(function* () {
      const honest: Manner = { upgrade: 101, socket: "answers", http: "answers" }
      let manner = honest
      let count = 0
      const waiting = new Set<() => void>()
      const credentials: Array<string> = []
      const hear = () => {
        count++
        for (const look of waiting) look()
      }
      const server = yield* Effect.acquireRelease(
        Effect.sync(() =>
          Bun.serve<{ readonly words: string }>({
            hostname: "127.0.0.1",
            port: 0,
            fetch: async (request, server) => {
              const credential = request.headers.get("authorization") ?? ""
              credentials.push(credential)
              const words = `No, ${credential}, which is ${credential.replace(/^Bearer /, "")}`
              if (request.headers.get("upgrade") === "websocket") {
                if (manner.upgrade !== 101) return refusal(manner.upgrade, words)
                return server.upgrade(request, { data: { words } }) ? undefined : refusal(400, words)
              }
              const body = await request.text()
              hear()
              return overHttp(manner.http, body.includes('"stream":true'), words)
            },
            websocket: {
              message: (socket) => {
                hear()
                const { words } = socket.data
                for (const frame of frames(manner.socket, words)) socket.send(frame)
                if (manner.socket.startsWith("close")) socket.close(1008, words)
              },
            },
          }),
        ),
        (server) => Effect.promise(() => server.stop(true)),
      )
      return EchoingUpstream.of({
        url: `http://127.0.0.1:${server.port}/v1`,
        credentials,
        count: () => count,
        behave: (changes) =>
          Effect.sync(() => {
            manner = { ...honest, ...changes }
          }),
        heard: (wanted) =>
          Effect.callback<void>((resume) => {
            const look = () => {
              if (count >= wanted) resume(Effect.void)
            }
            waiting.add(look)
            look()
            return Effect.sync(() => waiting.delete(look))
          }),
      })
    }),
  )
}
