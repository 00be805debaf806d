/**
 * The floor: the least code that turns HTTP+SSE turns into one WebSocket per session with suffix sends. A client's own
 * WebSocket is a session, and gets the frames as they are.
 *
 * No checks, no limits, no recovery: it trusts that a follow-up's head is what it saw before. It stands for the practical
 * limit, it is not a proxy to use. `FLOOR_STREAM=direct` uses Bun's direct streams for the body instead of a standard
 * `ReadableStream`; `coalesce` writes once per event-loop round.
 *
 *     PORT=4110 UPSTREAM_WS=ws://127.0.0.1:4100/v1/responses bun test/bench/floor.ts
 */
import { setImmediate } from "node:timers"

const upstream = Bun.env["UPSTREAM_WS"] ?? "ws://127.0.0.1:4100/v1/responses"
const direct = Bun.env["FLOOR_STREAM"] === "direct"
const coalesce = Bun.env["FLOOR_STREAM"] === "coalesce"

interface Sink {
  readonly write: (chunk: string) => void
  readonly end: () => void
  /** Events go out as they came in. */
  readonly bare?: true
}

interface Session {
  readonly ws: WebSocket
  ready: Promise<void>
  count: number
  lastId: string | null
  produced: number
  sink: Sink | null
}

const sessions = new Map<string, Session>()

const connect = (id: string, authorization: string): Session => {
  const ws = new WebSocket(upstream, { headers: { authorization }, perMessageDeflate: false })
  const ready = new Promise<void>((open, fail) => {
    ws.onopen = () => open()
    ws.onerror = () => fail(new Error("upstream"))
  })
  const session: Session = { ws, ready, count: 0, lastId: null, produced: 0, sink: null }
  ws.onclose = () => {
    sessions.delete(id)
    session.sink?.end()
  }
  ws.onmessage = ({ data }) => {
    const frame = data as string
    const type = frame.slice(9, frame.indexOf('"', 9)) // {"type":"…"
    if (session.sink?.bare) session.sink.write(frame)
    else session.sink?.write("event: " + type + "\ndata: " + frame + "\n\n")
    if (type === "response.output_item.done") session.produced++
    else if (
      type === "response.completed" ||
      type === "response.failed" ||
      type === "response.incomplete" ||
      type === "error"
    ) {
      session.lastId = type === "response.completed" ? (JSON.parse(frame).response.id as string) : null
      session.count += session.produced
      session.sink?.end()
      session.sink = null
    }
  }
  sessions.set(id, session)
  return session
}

/** A stream that the client has left can't be closed once more. */
const abandon = (session: Session) => {
  session.sink = null
  session.ws.close()
}

const coalescing = (sink: Sink): Sink => {
  let pending = ""
  const flush = () => {
    if (pending !== "") sink.write(pending)
    pending = ""
  }
  return {
    write: (chunk) => {
      if (pending === "") setImmediate(flush)
      pending += chunk
    },
    end: () => {
      flush()
      sink.end()
    },
  }
}

/** What is sent upstream: what is new of the input, where the rest is known. */
const frameOf = (session: Session, text: string): string => {
  const body = JSON.parse(text) as { readonly input: ReadonlyArray<unknown> }
  const frame =
    session.lastId !== null && body.input.length > session.count
      ? JSON.stringify({
          type: "response.create",
          ...body,
          previous_response_id: session.lastId,
          input: body.input.slice(session.count),
        })
      : '{"type":"response.create",' + text.slice(text.indexOf("{") + 1)
  session.count = body.input.length
  session.produced = 0
  return frame
}

interface Client {
  readonly authorization: string
  session: Session | undefined
}

const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" }
const server = Bun.serve<Client>({
  hostname: "127.0.0.1",
  port: Number(Bun.env["PORT"] ?? 4110),
  idleTimeout: 0,
  maxRequestBodySize: 256 << 20,
  websocket: {
    idleTimeout: 0,
    maxPayloadLength: 256 << 20,
    async message(client, text) {
      const session = (client.data.session ??= connect(crypto.randomUUID(), client.data.authorization))
      await session.ready
      session.sink = { write: (frame) => client.send(frame), end: () => {}, bare: true }
      session.ws.send(frameOf(session, text as string))
    },
    close: (client) => client.data.session?.ws.close(),
  },
  async fetch(req, server) {
    const authorization = req.headers.get("authorization") ?? ""
    if (req.method === "GET" && server.upgrade(req, { data: { authorization, session: undefined } })) return undefined
    const text = await req.text()
    const id = req.headers.get("session-id") ?? crypto.randomUUID()
    const session = sessions.get(id) ?? connect(id, authorization)
    await session.ready
    const frame = frameOf(session, text)
    const stream = direct
      ? new ReadableStream({
          type: "direct",
          pull: (controller) =>
            new Promise<void>((done) => {
              session.sink = {
                write: (chunk) => {
                  void controller.write(chunk)
                  void controller.flush()
                },
                end: () => {
                  void controller.close()
                  done()
                },
              }
              session.ws.send(frame)
            }),
          cancel: () => abandon(session),
        })
      : new ReadableStream<string>({
          start: (controller) => {
            const sink: Sink = { write: (chunk) => controller.enqueue(chunk), end: () => controller.close() }
            session.sink = coalesce ? coalescing(sink) : sink
            session.ws.send(frame)
          },
          cancel: () => abandon(session),
        })
    return new Response(stream, { headers })
  },
})
console.log(`floor http://${server.hostname}:${server.port}/v1`)
