/**
 * Reads the answer to a turn over HTTP: a stream of events, or one JSON object, told apart by the body itself.
 *
 * The content type says which of them only where the body is empty: some upstreams send their events without one, or as
 * JSON. An error that comes with the status 200, as an object or as a line of data, is the upstream's refusal
 * (docs/upstreams.md, What an upstream may do wrong).
 */
import type { Exit } from "effect"
import { Deferred, Duration, Effect, Stream } from "effect"
import { Sse } from "effect/encoding"
import { maxAnswer, tooLarge } from "../../turn/AnswerBody.ts"
import { EventReader } from "../../turn/attempt/EventReader.ts"
import { OutputCollector } from "../../turn/attempt/OutputCollector.ts"
import { Progress } from "../../turn/attempt/Progress.ts"
import type { TurnClock } from "../../turn/attempt/TurnClock.ts"
import type { TurnEnd, TurnSink } from "../../turn/Executor.ts"
import type { ForwardAnswer } from "../../turn/Forwarder.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { isTerminal } from "../../wire/Event.ts"
import { errorFrameOf, errorOf } from "../../wire/UpstreamError.ts"

/** How long the body may go on after the terminal event. */
const lingerAtMost = Duration.seconds(1)

/** The events of an answer that streams: a body is read on only while the client keeps up. */
class HttpEvents extends EventReader {
  readonly end = Deferred.makeUnsafe<TurnEnd, TurnError>()
  #caughtUp: (() => void) | undefined
  /** The name that the stream gave the latest event. */
  #name = ""

  get done(): boolean {
    return this.over
  }

  /** The answer is over the limit. */
  overflowed() {
    this.fail("protocol", tooLarge)
  }

  onData(name: string, text: string) {
    this.#name = name
    this.onText(text)
  }

  /** Waits until the client has caught up; undefined: it has. */
  get catchUp(): Effect.Effect<void> | undefined {
    if (!this.behind || this.over) return undefined
    return Effect.callback((resume) => {
      this.#caughtUp = () => resume(Effect.void)
      if (!this.behind) this.#caughtUp()
    })
  }

  // Nothing to do: the upstream waits because `catchUp` keeps the body from being read on.
  protected pause() {}

  protected resume() {
    this.#caughtUp?.()
  }

  /** Unknown JSON is skipped, but for errors; text that is not JSON means that part of the answer was lost. */
  protected stray(text: string) {
    if (text === "[DONE]") return undefined
    const value = parsed(text)
    if (value === undefined) return "the upstream sent an event that is not JSON"
    const error = errorFrameOf(text, value, this.#name === "error")
    // Read as the event that it stands for, which ends the attempt.
    if (error !== undefined) this.onText(error)
    return undefined
  }

  protected finished() {}

  protected ended(exit: Exit.Exit<TurnEnd, TurnError>) {
    Deferred.doneUnsafe(this.end, exit)
  }
}

export interface ReadOptions {
  readonly sink: TurnSink
  readonly clock: TurnClock
  /** Called once nothing of the body concerns the turn any more. */
  readonly over: () => void
}

type Form = "events" | "object"

/** What a body is, by what it begins with; undefined: nothing has come yet. */
const formOf = (beginning: string, contentType: string): Form | undefined => {
  const first = /\S/.exec(beginning)?.[0]
  if (first === undefined) return undefined
  // No JSON text begins with the letters of the fields of an event stream, nor with a comment's colon.
  if (/[:deir]/.test(first)) return "events"
  return isEventStream(contentType) && first !== "{" ? "events" : "object"
}

const isEventStream = (contentType: string) => contentType.toLowerCase().startsWith("text/event-stream")

/** Hands the answer's events to the sink, and succeeds with the turn's end. */
export const readTurn = Effect.fnUntraced(function* ({ body, headers }: ForwardAnswer, options: ReadOptions) {
  const { clock, over, sink } = options
  const contentType = headers["content-type"] ?? ""
  const reader = new HttpEvents({ sink, clock })
  const said: { whole: string; form: Form | undefined; ended: boolean } = { whole: "", form: undefined, ended: false }
  const parser = Sse.makeParser(
    (message) => {
      if (message._tag !== "Event" || reader.done) return
      // What the end of the body cut off is no event.
      if (said.ended && parsed(message.data) === undefined) return
      reader.onData(message.event, message.data)
    },
    { maxEventSize: maxAnswer },
  )
  const feed = (text: string) => {
    if (parser.feed(text) !== undefined) reader.overflowed()
    if (reader.done) over()
    return reader.catchUp ?? Effect.void
  }
  const take = (text: string): Effect.Effect<void, TurnError> => {
    if (said.form === "events") return feed(text)
    said.whole += text
    if (said.whole.length > maxAnswer) return Effect.fail(tooLarge)
    said.form ??= formOf(said.whole, contentType)
    if (said.form !== "events") return Effect.void
    const { whole } = said
    said.whole = ""
    return feed(whole)
  }
  const end = Effect.suspend(() => {
    if (said.form === "object" || (said.form === undefined && !isEventStream(contentType))) {
      return readObject(said.whole, sink)
    }
    said.ended = true
    // The last event counts without an empty line behind it as well.
    return Effect.andThen(
      feed("\n\n"),
      Effect.suspend(() => (reader.done ? Deferred.await(reader.end) : Effect.fail(cutShort))),
    )
  })
  const read = body.pipe(
    Stream.decodeText(),
    Stream.runForEach(take),
    // What breaks after the terminal event does not concern the turn.
    Effect.catchTag("TurnError", (error) => (reader.done ? Effect.void : Effect.fail(error))),
    Effect.andThen(end),
  )
  // The end of the body frees the connection for the next request, so it is waited for: not for ever, and not at all
  // where the upstream broke the protocol.
  const leave = Deferred.await(reader.end).pipe(Effect.tap(Effect.sleep(lingerAtMost)))
  return yield* Effect.raceFirst(read, leave)
})

/** One JSON object, which arrives at the sink as one event that holds it. */
const readObject = (text: string, sink: TurnSink): Effect.Effect<TurnEnd, TurnError> => {
  const value = parsed(text)
  if (typeof value !== "object" || value === null || Array.isArray(value)) return Effect.fail(noResponse)
  const error = errorFrameOf(text, value, false)
  const refusal = error === undefined ? undefined : errorOf(error)
  if (error !== undefined && refusal !== undefined) return Effect.fail(new Progress().refused(error, refusal))
  const type = endOf("status" in value ? value.status : undefined)
  const frame = `{"type":"${type}","response":${text}}`
  const finish = new OutputCollector().finish(type, frame)
  if (finish === undefined) return Effect.fail(noResponse)
  sink.event(type, frame)
  return Effect.succeed(finish.end)
}

/** The event that tells of a response with this status. One in the background has not ended with its answer. */
const endOf = (status: unknown): string => {
  const type = `response.${String(status)}`
  return isTerminal(type) || type === "response.queued" || type === "response.in_progress" ? type : "response.completed"
}

/** Undefined: the text is no JSON. */
const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const noResponse = new TurnError({
  reason: "upstream_protocol",
  delivery: "Accepted",
  message: "the upstream's answer is no response",
})

const cutShort = new TurnError({
  reason: "upstream_closed",
  delivery: "Accepted",
  message: "the upstream ended its stream without a terminal event",
})
