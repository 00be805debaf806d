import { describe, it } from "@effect/vitest"
import type { OpenAI } from "openai"
import { zodTextFormat } from "openai/helpers/zod"
import { toResponseInputItems } from "openai/lib/responses/ResponseInputItems"
import { z } from "zod"
import { leftOut, saying } from "../support/ByName.ts"
import { continues, continuesOnSocket, fallsBack } from "./Continues.ts"
import { onNode } from "./OnNode.ts"
import type { Input, Request, Response } from "./OpenAiSdkTalk.ts"
import { clientFor, constant, encrypted, outputsFor, pushedBack } from "./OpenAiSdkTalk.ts"
import { questions, structuredPlaces } from "./Script.ts"
import type { Talk } from "./Talks.ts"
import { talkOf } from "./Talks.ts"

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

const onSockets = (["history", "chain"] as const).flatMap(
  (mode): ReadonlyArray<readonly [what: string, talk: Talk, lanes: number]> => [
    [`by its ${mode} on a WebSocket of its own, with store: true`, { client: "openai", mode, store: true }, 1],
    [`by its ${mode} on a WebSocket of its own, with store: false`, { client: "openai", mode, store: false }, 1],
    [`by its ${mode} on three lanes of one WebSocket`, { client: "openai lanes", mode }, 3],
  ],
)

const why = leftOut(import.meta.url, "it starts Node")

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

  for (const [what, talk, lanes] of onSockets) {
    it.effect(`continues ${what}`, () => continuesOnSocket(talkOf(talk), { lanes }))

    it.effect.skipIf(why !== undefined)(`continues ${what}, on Node${saying(why)}`, () =>
      continuesOnSocket(onNode(talk), { lanes }),
    )
  }
})
