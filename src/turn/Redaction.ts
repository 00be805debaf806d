/**
 * Takes a credential out of what an upstream says, before it reaches a caller to whom the credential does not belong.
 *
 * An upstream may repeat what it was sent, anywhere: in a refusal, in a header, in an event, in a list of models. So
 * all that goes out is searched for the credential, in each of its spellings (`Spellings`). A caller that brought the
 * credential itself reads everything as it is, and its turns pay nothing.
 */
import { Effect, Redacted, Stream } from "effect"
import { readRefusal } from "./AnswerBody.ts"
import type { Credential } from "./Caller.ts"
import type { TurnSink } from "./Executor.ts"
import type { ForwardAnswer } from "./Forwarder.ts"
import { spellingsOf } from "./Spellings.ts"
import type { TurnError } from "./TurnError.ts"

export interface Redaction {
  readonly text: (text: string) => string
  readonly error: (error: TurnError) => TurnError
  /** A sink that hands everything on to the given one, without the credential. */
  readonly sink: (sink: TurnSink) => TurnSink
  /** The answer without the credential. Its body streams on; that of a refusal is read first, as far as it comes. */
  readonly answer: (answer: ForwardAnswer) => Effect.Effect<ForwardAnswer>
}

/** The secret in the value of an `authorization` header, which an upstream may repeat with or without the scheme. */
const withoutScheme = (value: string) => value.replace(/^\S+\s+/, "")

/** Replaces the secret, without its scheme, in each of its spellings. */
export const redactorOf = (secret: Redacted.Redacted<string>): ((text: string) => string) =>
  spellingsOf(withoutScheme(Redacted.value(secret))).redacted

const known = new WeakMap<Credential, Redaction>()

/** Undefined: the upstream is shown no credential, or one that the caller brought itself. */
export const redactionOf = (credential: Credential | undefined): Redaction | undefined => {
  if (credential === undefined || credential.owner === "caller") return undefined
  let redaction = known.get(credential)
  if (redaction === undefined) known.set(credential, (redaction = make(credential)))
  return redaction
}

const make = ({ headers }: Credential): Redaction => {
  const secret = withoutScheme(Redacted.value(headers)["authorization"] ?? "")
  const { pieces: makePieces, redacted: text } = spellingsOf(secret)
  const ofHeaders = (headers: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(headers)
        // A name has no other spelling, and none that could be replaced.
        .filter(([name]) => secret === "" || !name.toLowerCase().includes(secret.toLowerCase()))
        .map(([name, value]) => [name, text(value)]),
    )

  return {
    text,
    error: (error) =>
      error.with({
        ...(error.event === undefined ? {} : { event: text(error.event) }),
        ...(error.answer === undefined
          ? {}
          : {
              answer: {
                status: error.answer.status,
                headers: ofHeaders(error.answer.headers),
                body: text(error.answer.body),
              },
            }),
      }),
    sink: (sink) => ({
      route: (route) => sink.route(route),
      head: (headers) => sink.head(ofHeaders(headers)),
      event: (type, event) => {
        const shown = text(event)
        return sink.event(shown === event ? type : text(type), shown)
      },
      onDrain: (drained, taken) => sink.onDrain(drained, taken),
    }),
    answer: Effect.fnUntraced(function* (answer) {
      const headers = ofHeaders(answer.headers)
      const { status } = answer
      // The caller needs the status of a refusal even where its body breaks off, so the body is read first.
      if (status < 200 || status >= 300) {
        return { status, headers, body: Stream.make(Buffer.from(text(yield* readRefusal(answer)))) }
      }
      const body = Stream.suspend(() => {
        const pieces = makePieces()
        return Stream.concat(
          Stream.filter(
            Stream.map(answer.body, (piece) => pieces.next(piece)),
            (piece) => piece.length > 0,
          ),
          Stream.suspend(() => Stream.fromIterable(pieces.rest())),
        )
      })
      return { status, headers, body }
    }),
  }
}
