/**
 * Strikes the shared account's credential out of the upstream's own words, before a tenant reads them.
 *
 * An upstream that refuses may repeat what it was sent. What it completes is the model's and passes as it is.
 */
import { Effect, Redacted, Stream } from "effect"
import { readRefusal } from "./AnswerBody.ts"
import type { TurnSink } from "./Executor.ts"
import type { ForwardAnswer } from "./Forwarder.ts"
import { TurnError } from "./TurnError.ts"
import { isTerminal } from "../wire/Event.ts"

export type Strike = (text: string) => string

/** Strikes an `authorization` header's value, with and without its scheme, however it is written in a header or in JSON. */
export const strikeOf = (credential: Redacted.Redacted<string> | undefined): Strike => {
  if (credential === undefined) return (text) => text
  const secret = Redacted.value(credential).replace(/^\S+\s+/, "")
  if (secret === "") return (text) => text
  const spellings = [
    secret,
    encodeURIComponent(secret),
    encodeURI(secret),
    JSON.stringify(secret).slice(1, -1),
    JSON.stringify(secret).slice(1, -1).replaceAll("/", "\\/"),
    Buffer.from(secret).toString("base64"),
    Buffer.from(secret).toString("base64url"),
  ]
  return (text) => spellings.reduce((struck, spelling) => struck.replaceAll(spelling, "[redacted]"), text)
}

const struckHeaders = (headers: Readonly<Record<string, string>>, strike: Strike) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, strike(value)]))

export const struckError = (error: TurnError, strike: Strike): TurnError => {
  const { answer, code, delivery, event, message, reason } = error
  return new TurnError({
    reason,
    delivery,
    message,
    ...(code === undefined ? {} : { code }),
    ...(error.cause === undefined ? {} : { cause: error.cause }),
    ...(event === undefined ? {} : { event: strike(event) }),
    ...(answer === undefined
      ? {}
      : {
          answer: { status: answer.status, headers: struckHeaders(answer.headers, strike), body: strike(answer.body) },
        }),
  })
}

/** The same sink, told the ends that are no completion without the credential. */
export const struckSink = (sink: TurnSink, strike: Strike): TurnSink => ({
  route: (route) => sink.route(route),
  head: (headers) => sink.head(headers),
  event: (type, text) => sink.event(type, isTerminal(type) && type !== "response.completed" ? strike(text) : text),
  onDrain: (drained, taken) => sink.onDrain(drained, taken),
})

/** An answer that is no success is read whole, as far as it comes, since a credential may lie across its parts. */
export const struckAnswer = Effect.fnUntraced(function* (answer: ForwardAnswer, strike: Strike) {
  const { headers, status } = answer
  if (status >= 200 && status < 300) return answer
  const text = strike(yield* readRefusal(answer))
  return { status, headers: struckHeaders(headers, strike), body: Stream.make(Buffer.from(text)) }
})
