/**
 * The HTTP side: the Responses endpoints, their storage and their error bodies.
 */
import { gunzipSync } from "node:zlib"
import { arrivalOf } from "../request/Arrival.ts"
import { json, makeHttpAnswers, refused } from "./HttpAnswers.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid, refusalOf } from "../Refusal.ts"
import { readRequest } from "../request/Rules.ts"
import type { SimulatorState } from "../SimulatorState.ts"
import type { Runtime } from "./Sockets.ts"
import { compact } from "../turn/Compact.ts"
import { arrive, begin, evict, forget, refuse } from "../turn/Turn.ts"

const notFound = (request: Request, path: string): Refusal =>
  invalid(`Invalid URL (${request.method} ${path})`, { status: 404 })

const responseNotFound = (id: string): Refusal =>
  invalid(`Response with id '${id}' not found.`, { status: 404, param: "response_id" })

export const headersOf = (request: Request): Readonly<Record<string, string>> => Object.fromEntries(request.headers)

const decoded = async (request: Request): Promise<string | Refusal> => {
  const bytes = new Uint8Array(await request.arrayBuffer())
  const encoding = request.headers.get("content-encoding")
  if (encoding === null || encoding === "identity") return new TextDecoder().decode(bytes)
  if (encoding !== "gzip") return invalid(`Unsupported Content-Encoding '${encoding}'.`, { status: 415 })
  try {
    return new TextDecoder().decode(gunzipSync(bytes))
  } catch {
    return invalid("The request body is not valid gzip.")
  }
}

export const makeHttpApi = (state: SimulatorState, runtime: Runtime) => {
  const answers = makeHttpAnswers(state, runtime)

  const create = async (request: Request): Promise<Response> => {
    const arrival = arrivalOf(state.faults)
    if (arrival.deaf || arrival.unread !== undefined) {
      state.counters.unread++
      state.changed()
      return arrival.deaf ? Promise.withResolvers<Response>().promise : answers.none()
    }
    const text = await decoded(request)
    if (typeof text !== "string") return refused(text)
    const read = readRequest(state, text, "http")
    const record = arrive(state, { transport: "http", connection: -1, headers: headersOf(request) }, text, read)
    if (read._tag === "Refusal") {
      evict(state, undefined, record.request?.previous_response_id)
      return refused(refuse(state, record, read))
    }
    if (arrival.forget !== undefined) forget(state, [], arrival.forget.stored === true)
    if (arrival.refuse !== undefined) {
      evict(state, undefined, read.previousResponseId)
      return refused(refuse(state, record, refusalOf(arrival.refuse)))
    }
    const turn = begin(state, record, read, undefined, undefined, arrival.faults)
    if (turn._tag === "Refusal") return refused(turn)
    state.changed()
    return read.stream ? answers.streamed(turn, request.signal) : answers.whole(turn, request.signal)
  }

  const compaction = async (request: Request): Promise<Response> => {
    const text = await decoded(request)
    if (typeof text !== "string") return refused(text)
    const read = readRequest(state, text, "http")
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

  const model = (name: string) => ({ id: name, object: "model", created: 1_760_000_000, owned_by: "simulator" })

  /** A model's name may hold slashes. */
  const models = (name: string): Response => {
    if (name === "") return json(JSON.stringify({ object: "list", data: state.models.map(model) }))
    if (state.models.includes(name)) return json(JSON.stringify(model(name)))
    const details = { status: 404, code: "model_not_found", param: "model" }
    return refused(invalid(`The model '${name}' does not exist.`, details))
  }

  /** Answers a request below the base path that is no upgrade. */
  const handle = async (request: Request, url: URL): Promise<Response> => {
    const { method } = request
    const { basePath, compact } = state.profile
    if (!url.pathname.startsWith(`${basePath}/`)) return refused(notFound(request, url.pathname))
    const [resource, id, sub, ...more] = url.pathname.slice(basePath.length + 1).split("/")
    if (more.length === 0 && resource === "responses") {
      if (id === undefined && method === "POST") return create(request)
      if (compact && id === "compact" && sub === undefined && method === "POST") return compaction(request)
      if (id !== undefined && sub === "input_items" && method === "GET") return inputItems(id, url.searchParams)
      if (id !== undefined && sub === undefined && (method === "GET" || method === "DELETE")) {
        const found = state.stored.get(id)
        if (found === undefined) return refused(responseNotFound(id))
        if (method === "GET") return json(found.response)
        state.stored.delete(id)
        return json(JSON.stringify({ id, object: "response", deleted: true }))
      }
    }
    if (resource === "models" && method === "GET") {
      return models(url.pathname.slice(`${basePath}/models/`.length).replaceAll(/%2f/gi, "/"))
    }
    return refused(notFound(request, url.pathname))
  }

  return { handle }
}
