/**
 * Conversations by the `openai` SDK, on sockets that it opens itself; also by a program that Node runs, which knows no
 * syntax of TypeScript's but types.
 */
import { OpenAI } from "openai"
import { zodResponsesFunction } from "openai/helpers/zod"
import type { ResponsesWebSocketLane } from "openai/lib/responses/responses-websocket-session"
import { ResponsesWebSocketSession } from "openai/lib/responses/responses-websocket-session"
import { ResponsesWS } from "openai/resources/responses/ws"
import { answerTool, questions } from "./Script.ts"
import { lookUp, measure } from "./Tools.ts"

export type Input = OpenAI.Responses.ResponseInputItem
export type Request = Omit<OpenAI.Responses.ResponseCreateParamsNonStreaming, "stream">
export type Response = Pick<OpenAI.Responses.Response, "id" | "output">

export const clientFor = (baseURL: string) => new OpenAI({ baseURL, apiKey: "test-key-a", maxRetries: 0 })

const tools = [
  zodResponsesFunction({ name: "look_up", parameters: lookUp }),
  zodResponsesFunction({ name: "measure", parameters: measure }),
  { type: "web_search" as const },
]
export const constant = { model: "gpt-5.5", tools, instructions: "Be brief." }

export const outputsFor = ({ output }: Response): Array<Input> =>
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

export const pushedBack = ({ output }: Response): ReadonlyArray<Input> => output as Array<Input>

export const encrypted: Partial<Request> = { include: ["reasoning.encrypted_content"] }

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

export type Mode = "history" | "chain"

/** Sends the whole history each time, or the last id and what is new. */
const talks =
  (mode: Mode, extra: Partial<Request> = {}) =>
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

/** By the events of one socket, one turn after the other. */
export const onOneSocket = (mode: Mode, store: boolean) => (baseURL: string) =>
  onSocket(baseURL, async (socket) => {
    const told: Array<unknown> = []
    await talks(mode, { ...encrypted, store })((request) => createOn(socket, request, told))
    return told
  })

/** By the SDK's session helper: three conversations beside each other, each on a lane. */
export const onLanes = (mode: Mode) => (baseURL: string) =>
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
  })
