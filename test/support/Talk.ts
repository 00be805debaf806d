/**
 * A conversation over HTTP as an agent holds it: each turn posts the whole history and one message more.
 *
 * Every message has a mark of its own, by which an upstream's records tell how often the turn ran.
 */
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { Answer } from "./Ask.ts"
import { ask, outputOf } from "./Ask.ts"

export interface Talk {
  readonly session: string
  readonly headers: Readonly<Record<string, string>>
  /** What was said and answered so far. */
  readonly history: Array<JsonObject>
}

export const talkOf = (
  session: string,
  headers: Readonly<Record<string, string>> = { "session-id": session },
): Talk => ({
  session,
  headers,
  history: [],
})

/** Several, each with a session's name of its own. */
export const talksOf = (count: number, prefix = "session"): ReadonlyArray<Talk> =>
  Array.from({ length: count }, (_, index) => talkOf(`${prefix}-${index}`))

/** What stands in the message of that turn of a conversation, and nowhere else. */
export const markOf = ({ session }: Talk, turn: number | string): string => `[[${session} ${turn}]]`

export const messageOf = (talk: Talk, turn: number | string): JsonObject => ({
  role: "user",
  content: `${markOf(talk, turn)} in 3 words`,
})

/** Says the next thing at this base URL. Where it is answered, the answer is part of the history. */
export const say = Effect.fnUntraced(function* (base: string, talk: Talk, turn: number | string) {
  const message = messageOf(talk, turn)
  const answer: Answer = yield* ask(`${base}/responses`, {
    key: "test-key-a",
    headers: talk.headers,
    body: { model: "gpt-5.5", store: false, input: [...talk.history, message] },
  })
  if (answer.status === 200) talk.history.push(message, ...outputOf(answer))
  return answer
})
