/**
 * Turns of every kind that a proxy counts, with faults among them: streamed and not, over sockets and over HTTP, with and
 * without a session's name, first ones and such that go on, on clients' sockets too.
 */
import { Effect } from "effect"
import type { Fault, FaultTurn } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../src/simulator/JsonText.ts"
import { ask } from "./Ask.ts"
import { eventsOf } from "./Events.ts"
import { user } from "./Items.ts"
import { objectIn } from "./Parsed.ts"
import { socket } from "./SocketClient.ts"
import { TestProxy } from "./TestProxy.ts"

const faultOf = ({ index }: FaultTurn): ReadonlyArray<Fault> => {
  if (index % 13 === 5) return [{ _tag: "Close", at: 0, code: 1011 }]
  if (index % 17 === 3) return [{ _tag: "Error", at: 0, status: 500, code: "server_error", message: "It failed." }]
  if (index % 19 === 7) return [{ _tag: "Incomplete", at: 8, reason: "max_output_tokens" }]
  if (index % 23 === 11) return [{ _tag: "Failed", at: 3, code: "server_error", message: "It failed." }]
  if (index % 29 === 13) return [{ _tag: "Error", at: 5, status: 429, code: "rate_limit_exceeded", message: "Slow." }]
  return []
}

interface Counted {
  turns: number
  inputBytes: number
}

const outputIn = (response: unknown): ReadonlyArray<JsonObject> => {
  const output = isObject(response) ? response["output"] : undefined
  return isArray(output) ? output.filter(isObject) : []
}

/** The response of an answer, streamed or not; undefined: it failed. */
const responseOf = (text: string, stream: boolean): unknown => {
  if (!stream) return objectIn(text)
  const last = text.endsWith("\n\n") ? eventsOf(text).at(-1) : undefined
  return last?.type === "response.completed" ? objectIn(last.data)?.["response"] : undefined
}

const perSession = 10

/** Runs so many turns, and gives what the clients sent. */
export const mixedTurns = Effect.fnUntraced(function* (count: number) {
  const simulator = yield* Simulator
  const { url } = yield* TestProxy
  yield* simulator.configure({ fault: faultOf })
  const counted: Counted = { turns: 0, inputBytes: 0 }
  const sent = (body: JsonObject) => {
    counted.turns++
    counted.inputBytes += Buffer.byteLength(JSON.stringify(body["input"]))
    return body
  }
  const overHttp = Effect.fnUntraced(function* (session: number, turns: number) {
    let input: ReadonlyArray<JsonObject> = []
    for (let turn = 0; turn < turns; turn++) {
      const stream = (session + turn) % 3 !== 0
      input = [...input, user(`Question ${turn} of session ${session}`)]
      const answer = yield* ask(`${url}/responses`, {
        // Without a credential the turn goes over HTTP.
        ...(session % 5 === 4 ? {} : { key: "test-key-a" }),
        ...(session % 4 === 3 ? {} : { headers: { "session-id": `session-${session}` } }),
        body: sent({ model: "gpt-5.5", stream, input: [...input] }),
      })
      input = [...input, ...outputIn(responseOf(answer.text, stream))]
    }
  })
  const onSocket = Effect.fnUntraced(function* (session: number, turns: number) {
    const client = yield* socket({ "session-id": `session-${session}` })
    let input: ReadonlyArray<JsonObject> = []
    for (let turn = 0; turn < turns; turn++) {
      input = [...input, user(`Question ${turn} of session ${session}`)]
      const last = yield* client.turn(sent({ input: [...input] }))
      input = [...input, ...(last.type === "response.completed" ? outputIn(last["response"]) : [])]
    }
  }, Effect.scoped)
  const sessions = Math.ceil(count / perSession)
  yield* Effect.forEach(
    Array.from({ length: sessions }, (_, session) => session),
    (session) => {
      const turns = Math.min(perSession, count - session * perSession)
      return session % 6 === 5 ? onSocket(session, turns) : overHttp(session, turns)
    },
    { concurrency: 8, discard: true },
  )
  return counted
})
