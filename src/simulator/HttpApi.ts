/**
 * The HTTP side: the Responses endpoints, their storage and their error bodies.
 */
import type { Fiber } from "effect"
import { readCreateRequest } from "./CreateRequest.ts"
import type { Frame } from "./Faults.ts"
import type { Sink } from "./Play.ts"
import { isImmediate, play, playNow } from "./Play.ts"
import type { Refusal } from "./Refusal.ts"
import { errorBody, errorEvent, invalid } from "./Refusal.ts"
import type { SimulatorState } from "./SimulatorState.ts"
import type { Runtime } from "./Sockets.ts"
import type { Turn } from "./Turn.ts"
import { arrive, begin, compact, refuse } from "./Turn.ts"

export const json = (body: string, status = 200, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(body, { status, headers: { "content-type": "application/json", ...headers } })

export const refused = (refusal: Refusal): Response => json(errorBody(refusal), refusal.status, refusal.headers)

const notFound = (request: Request, path: string): Refusal =>
  invalid(`Invalid URL (${request.method} ${path})`, { status: 404 })

const responseNotFound = (id: string): Refusal =>
  invalid(`Response with id '${id}' not found.`, { status: 404, param: "response_id" })

const sse = (frame: Frame): string => `event: ${frame.event}\ndata: ${frame.data}\n\n`
const eventStream = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" }

export const headersOf = (request: Request): Readonly<Record<string, string>> => Object.fromEntries(request.headers)

const decoded = async (request: Request): Promise<string | Refusal> => {
  const bytes = await request.bytes()
  const encoding = request.headers.get("content-encoding")
  if (encoding === null || encoding === "identity") return new TextDecoder().decode(bytes)
  if (encoding !== "gzip") return invalid(`Unsupported Content-Encoding '${encoding}'.`, { status: 415 })
  try {
    return new TextDecoder().decode(Bun.gunzipSync(new Uint8Array(bytes)))
  } catch {
    return invalid("The request body is not valid gzip.")
  }
}

/** A body that ends in the middle: the peer sees the connection break. Bun would print a reason, so there is none. */
const cut = (text: string): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: (controller) => {
      if (text !== "") controller.enqueue(new TextEncoder().encode(text))
    },
    pull: (controller) => controller.error(undefined),
  })

export const makeHttpApi = (state: SimulatorState, runtime: Runtime) => {
  const playInto = (turn: Turn, sink: Sink, ended: () => void): Fiber.Fiber<void> | undefined => {
    if (isImmediate(turn, state.switches)) {
      playNow(turn, sink)
      ended()
      return undefined
    }
    const fiber = runtime.fork(play(state.switches, turn, sink, runtime.held))
    fiber.addObserver(ended)
    return fiber
  }

  const errorFrame = (refusal: Refusal, sent: number): string =>
    sse({ event: "error", data: errorEvent(refusal, sent), token: false })

  /** Settles with the head: a status where the turn ends with an error before any frame, else the stream. */
  const streamed = (turn: Turn, signal: AbortSignal): Promise<Response> =>
    new Promise((resolve) => {
      let sent = 0
      let text = ""
      let controller: ReadableStreamDefaultController<Uint8Array> | undefined
      let broken = false
      let over = false
      const encoder = new TextEncoder()
      const write = (chunk: string): void => {
        if (controller === undefined) text += chunk
        else controller.enqueue(encoder.encode(chunk))
      }
      const open = (): void => {
        if (controller !== undefined || isImmediate(turn, state.switches)) return
        const body = new ReadableStream<Uint8Array>({
          start: (started) => {
            controller = started
          },
          cancel: () => fiber?.interruptUnsafe(),
        })
        resolve(new Response(body, { headers: eventStream }))
      }
      const fail = (): void => {
        broken = true
        if (controller === undefined) return resolve(new Response(cut(text), { headers: eventStream }))
        controller.error(undefined)
      }
      const sink: Sink = {
        send: (frame) => {
          if (over) return
          open()
          sent++
          write(sse(frame))
        },
        end: (step) => {
          if (step.refusal !== undefined && sent === 0) {
            over = true
            return resolve(refused(step.refusal))
          }
          open()
          write(step.refusal === undefined ? sse(step.frame) : errorFrame(step.refusal, sent))
        },
        text: (chunk) => {
          open()
          write(`data: ${chunk}\n\n`)
        },
        binary: () => undefined,
        close: fail,
        reset: fail,
      }
      const fiber = playInto(turn, sink, () => {
        if (over || broken) return
        over = true
        if (controller === undefined) return resolve(new Response(text, { headers: eventStream }))
        try {
          controller.close()
        } catch {
          // The client has gone and taken the stream with it.
        }
      })
      signal.addEventListener("abort", () => fiber?.interruptUnsafe())
    })

  const whole = (turn: Turn, signal: AbortSignal): Promise<Response> =>
    new Promise((resolve) => {
      const nothing = (): void => undefined
      const fail = (): void => resolve(new Response(cut(""), { headers: { "content-type": "application/json" } }))
      const sink: Sink = {
        send: nothing,
        end: (step) => resolve(step.refusal === undefined ? json(step.response ?? "") : refused(step.refusal)),
        text: nothing,
        binary: nothing,
        close: fail,
        reset: fail,
      }
      const fiber = playInto(turn, sink, fail)
      signal.addEventListener("abort", () => fiber?.interruptUnsafe())
    })

  const create = async (request: Request): Promise<Response> => {
    const text = await decoded(request)
    if (typeof text !== "string") return refused(text)
    const read = readCreateRequest(text, "http")
    const record = arrive(state, { transport: "http", connection: -1, headers: headersOf(request) }, text, read)
    if (read._tag === "Refusal") return refused(refuse(state, record, read))
    const turn = begin(state, record, read, undefined, [])
    if (turn._tag === "Refusal") return refused(turn)
    state.changed()
    return read.stream ? streamed(turn, request.signal) : whole(turn, request.signal)
  }

  const compaction = async (request: Request): Promise<Response> => {
    const text = await decoded(request)
    if (typeof text !== "string") return refused(text)
    const read = readCreateRequest(text, "http")
    if (read._tag === "Refusal") return refused(read)
    const body = compact(state, read)
    return typeof body === "string" ? json(body) : refused(body)
  }

  const inputItems = (id: string, query: URLSearchParams): Response => {
    const found = state.stored.get(id)
    if (found === undefined) return refused(responseNotFound(id))
    const inputs = found.chain.entries.slice(0, found.inputs)
    const ordered = query.get("order") === "asc" ? inputs : inputs.toReversed()
    const after = query.get("after")
    const from = after === null ? 0 : ordered.findIndex(({ value }) => value.id === after) + 1
    const limit = Number(query.get("limit") ?? 20)
    const page = ordered.slice(from, from + limit)
    const idAt = (index: number) => JSON.stringify(page.at(index)?.value.id ?? null)
    return json(
      `{"object":"list","data":[${page.map(({ raw }) => raw).join(",")}],"first_id":${idAt(0)},"last_id":${idAt(-1)},"has_more":${from + limit < ordered.length}}`,
    )
  }

  /** Answers a request below `/v1` that is no upgrade. */
  const handle = async (request: Request, url: URL): Promise<Response> => {
    const [, , resource, id, sub, ...more] = url.pathname.split("/")
    const { method } = request
    if (more.length === 0 && resource === "responses") {
      if (id === undefined && method === "POST") return create(request)
      if (id === "compact" && sub === undefined && method === "POST") return compaction(request)
      if (id !== undefined && sub === "input_items" && method === "GET") return inputItems(id, url.searchParams)
      if (id !== undefined && sub === undefined && (method === "GET" || method === "DELETE")) {
        const found = state.stored.get(id)
        if (found === undefined) return refused(responseNotFound(id))
        if (method === "GET") return json(found.response)
        state.stored.delete(id)
        return json(JSON.stringify({ id, object: "response", deleted: true }))
      }
    }
    if (resource === "models" && method === "GET" && more.length === 0 && sub === undefined) {
      const model = (name: string) => ({ id: name, object: "model", created: 1_760_000_000, owned_by: "simulator" })
      return json(
        JSON.stringify(
          id === undefined ? { object: "list", data: [model("gpt-5.5"), model("gpt-5.5-mini")] } : model(id),
        ),
      )
    }
    return refused(notFound(request, url.pathname))
  }

  return { handle }
}
