import { describe, it } from "@effect/vitest"
import { OpenAI } from "openai"
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod"
import { toResponseInputItems } from "openai/lib/responses/ResponseInputItems"
import type { ResponsesWebSocketLane } from "openai/lib/responses/responses-websocket-session"
import { ResponsesWebSocketSession } from "openai/lib/responses/responses-websocket-session"
import { ResponsesWS } from "openai/resources/responses/ws"
import { z } from "zod"
import { continues, continuesOnSocket, fallsBack } from "./Continues.ts"
import { answerTool, questions, structuredPlaces } from "./Script.ts"
import { lookUp, measure } from "./Tools.ts"

type Input = OpenAI.Responses.ResponseInputItem
type Request = Omit<OpenAI.Responses.ResponseCreateParamsNonStreaming, "stream">
type Response = Pick<OpenAI.Responses.Response, "id" | "output">

const clientFor = (baseURL: string) => new OpenAI({ baseURL, apiKey: "test-key-a", maxRetries: 0 })

const tools = [
  zodResponsesFunction({ name: "look_up", parameters: lookUp }),
  zodResponsesFunction({ name: "measure", parameters: measure }),
  { type: "web_search" as const },
]
const constant = { model: "gpt-5.5", tools, instructions: "Be brief." }

/** Sends a request and notes all that comes back. */
type Send = (client: OpenAI, request: Request, told: Array<unknown>) => Promise<Response>

const create: Send = async (client, request, told) => {
  const response = await client.responses.create(request)
  told.push(response)
  return response
}

const createStream: Send = async (client, request, told) => {
  const ended: Array<Response> = []
  for await (const event of await client.responses.create({ ...request, stream: true })) {
    told.push(event)
    if (event.type === "response.completed") ended.push(event.response)
  }
  return ended[0]!
}

const stream: Send = async (client, request, told) => {
  const events = client.responses.stream(request)
  for await (const event of events) told.push(event)
  const response = await events.finalResponse()
  told.push(response)
  return response
}

const parse: Send = async (client, request, told) => {
  const format = zodTextFormat(z.object({ answer: z.string() }), "answer")
  const response = await client.responses.parse({ ...request, text: { format } })
  told.push(response, response.output_parsed)
  return response
}

const outputsFor = ({ output }: Response): Array<Input> =>
  output.flatMap((item) =>
    item.type === "function_call"
      ? [
          {
            type: "function_call_output" as const,
            call_id: item.call_id,
            output: answerTool(item.name, JSON.parse(item.arguments)),
          },
        ]
      : [],
  )

const pushedBack = ({ output }: Response): ReadonlyArray<Input> => output as Array<Input>

/** Sends the whole history each time. */
const replays =
  (send: Send, extra: Partial<Request> = {}, inputsOf = pushedBack) =>
  async (baseURL: string) => {
    const told: Array<unknown> = []
    const client = clientFor(baseURL)
    const input: Array<Input> = []
    for (const content of questions) {
      input.push({ role: "user", content })
      for (let outputs: Array<Input> = [], going = true; going; going = outputs.length > 0) {
        const response = await send(client, { ...constant, ...extra, input }, told)
        outputs = outputsFor(response)
        input.push(...inputsOf(response), ...outputs)
      }
    }
    return told
  }

/** Sends the last id and what is new. */
const chains =
  (send: Send, extra: Partial<Request> = {}) =>
  async (baseURL: string) => {
    const told: Array<unknown> = []
    const client = clientFor(baseURL)
    let previous: string | null = null
    for (const content of questions) {
      let input: Array<Input> = [{ role: "user", content }]
      while (input.length > 0) {
        const response: Response = await send(
          client,
          { ...constant, ...extra, input, previous_response_id: previous },
          told,
        )
        previous = response.id
        input = outputsFor(response)
      }
    }
    return told
  }

/** Responses say which `store` was asked for. */
const withoutStore = (told: ReadonlyArray<unknown>): unknown =>
  JSON.parse(JSON.stringify(told, (name, member: unknown) => (name === "store" ? undefined : member)))

const encrypted: Partial<Request> = { include: ["reasoning.encrypted_content"] }

/** Opens the SDK's own socket, for as long as the conversation. */
const onSocket = async <A>(baseURL: string, use: (socket: ResponsesWS) => Promise<A>): Promise<A> => {
  const socket = new ResponsesWS(clientFor(baseURL))
  try {
    const { promise, resolve } = Promise.withResolvers<void>()
    socket.socket.on("open", () => resolve())
    await promise
    return await use(socket)
  } finally {
    socket.close()
  }
}

/** Waits for the answer of a request on the socket itself. */
const createOn = (socket: ResponsesWS, request: Request, told: Array<unknown>) =>
  new Promise<Response>((resolve, reject) => {
    const took = (event: OpenAI.Responses.ResponsesServerEvent) => {
      told.push(event)
      if (event.type !== "response.completed") return
      socket.off("event", took)
      resolve(event.response)
    }
    socket.on("event", took)
    socket.once("error", reject)
    socket.send({ type: "response.create", ...request })
  })

/** Sends the whole history each time, or the last id and what is new. */
const talks =
  (mode: "history" | "chain", extra: Partial<Request> = {}) =>
  async (ask: (request: Request) => Promise<Response>) => {
    const history: Array<Input> = []
    let previous: string | null = null
    for (const content of questions) {
      let news: Array<Input> = [{ role: "user", content }]
      while (news.length > 0) {
        history.push(...news)
        const input = mode === "history" ? history : news
        const chain = mode === "history" ? {} : { previous_response_id: previous }
        const response = await ask({ ...constant, ...extra, ...chain, input: [...input] })
        history.push(...pushedBack(response))
        previous = response.id
        news = outputsFor(response)
      }
    }
  }

const limits = { maxLanes: 8, maxBufferedEvents: 100_000, maxBufferedBytes: 64 * 1024 * 1024 }

describe("the openai SDK", () => {
  it.effect("continues with responses.create and the outputs pushed back", () => continues(replays(create, encrypted)))

  it.effect("continues with responses.create, store: false and encrypted reasoning", () =>
    continues(replays(create, { ...encrypted, store: false })),
  )

  it.effect("continues with responses.create and stream: true, without encrypted reasoning", () =>
    continues(replays(createStream)),
  )

  it.effect("continues with responses.stream() and the outputs of its final response", () =>
    continues(replays(stream, encrypted)),
  )

  it.effect("continues with responses.stream() and what toResponseInputItems makes of its output", () =>
    continues(replays(stream, encrypted, ({ output }) => toResponseInputItems(output))),
  )

  it.effect("continues with responses.parse() and outputs that carry what was parsed", () =>
    continues(replays(parse, encrypted), { script: structuredPlaces }),
  )

  it.effect("continues in a session that it names", () =>
    continues(replays(createStream, { prompt_cache_key: "a conversation" })),
  )

  it.effect("continues its own previous_response_id", () => continues(chains(create)))

  it.effect("continues its own previous_response_id with store: false, which HTTP alone refuses", () =>
    continues(async (baseURL) => withoutStore(await chains(createStream, { store: false })(baseURL)), {
      straight: async (baseURL) => withoutStore(await chains(createStream)(baseURL)),
    }),
  )

  it.effect("gets the same over HTTP where the upstream has no WebSocket", () => fallsBack(replays(create, encrypted)))

  it.effect("gets the same stream over HTTP where the upstream has no WebSocket", () =>
    fallsBack(replays(createStream)),
  )

  for (const mode of ["history", "chain"] as const) {
    for (const store of [true, false]) {
      const extra = { ...encrypted, store }
      it.effect(`continues by its ${mode} on a WebSocket of its own, with store: ${store}`, () =>
        continuesOnSocket((baseURL) =>
          onSocket(baseURL, async (socket) => {
            const told: Array<unknown> = []
            await talks(mode, extra)((request) => createOn(socket, request, told))
            return told
          }),
        ),
      )
    }

    it.effect(`continues by its ${mode} on three lanes of one WebSocket`, () =>
      continuesOnSocket(
        (baseURL) =>
          onSocket(baseURL, async (socket) => {
            const session = new ResponsesWebSocketSession(socket, limits)
            const ask = (lane: ResponsesWebSocketLane, told: Array<unknown>) => async (request: Request) => {
              const { background: _, ...rest } = request
              lane.create(rest)
              const response = await lane.finalResponse()
              told.push(response)
              return response
            }
            const lanes = [session.lane("one"), session.lane("two"), session.lane()]
            return Promise.all(
              lanes.map(async (lane, index) => {
                const told: Array<unknown> = []
                await talks(mode, { ...encrypted, store: false, metadata: { lane: `${index}` } })(ask(lane, told))
                return told
              }),
            )
          }),
        { lanes: 3 },
      ),
    )
  }
})
