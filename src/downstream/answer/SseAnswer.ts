/**
 * A turn's answer as server-sent events. The head leaves with the first events, or when `open` ends the wait for one.
 *
 * Until then an upstream error is a status (docs/life-of-a-turn.md, Horizons); from there on it is an event. Events
 * come from the transport's callback and go straight to the stream's queue, without a fiber or an Effect per event.
 * Those that came in one callback are put together in one piece, which goes on in a microtask behind it.
 *
 * The queue is by hand, because it must say how many bytes wait, so that a slow client makes the upstream wait. An
 * Effect `Queue` read as a `Stream` takes 1.4 times the CPU for events that come one by one, and 1.0 to 1.2 times in
 * bursts; a plain `enqueue` of each event, without a bound and without pieces, takes 0.8 to 1.0 times. A `pull` that
 * stays open while the client keeps up took a paced event from 34.9 to 28 thousand instructions (test/bench/README.md,
 * Bun 1.4.5).
 */
import { Deferred, Effect, Exit } from "effect"
import type { TurnRoute, TurnSink } from "../../turn/Executor.ts"
import type { Told } from "../../turn/record/TurnRecord.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { failureOf } from "../../turn/TurnError.ts"
import { isTerminal, textAt, toSse } from "../../wire/Event.ts"
import type { Answer } from "./Answer.ts"
import { buffered } from "./Buffered.ts"
import type { DecisionHeaders } from "./DecisionHeaders.ts"
import { failureAnswer } from "./TurnFailure.ts"

/**
 * So many bytes the platform takes at once. It keeps as many again before it tells that the client has taken something,
 * so it is given little, and the rest waits here.
 */
const highWaterMark = 64 * 1024

/** A piece with so much text goes on at once; in UTF-16 units. */
const largestPiece = 16 * 1024

export interface ClientEnd {
  /** The text that tells of an error in the stream. */
  readonly failure: (error: TurnError, sequence: number) => string
  /** Called once, when the request is about to be sent upstream. */
  readonly sent: () => void
  /** Called when the client goes away in the middle of the stream. */
  readonly cancel: () => void
  /** Called when the stream is about to close. */
  readonly ended: () => void
}

const encoder = new TextEncoder()
/** Without an empty line behind it: some decoders dispatch an event at each one, and fail at one that has no data. */
const comment = encoder.encode(": heartbeat\n")

/** The head has not left: an error can still be a status. */
interface Waiting {
  readonly _tag: "Waiting"
}

/** The head has left, and events go out as they come. */
interface Streaming {
  readonly _tag: "Streaming"
  readonly controller: ReadableStreamDefaultController<Uint8Array>
}

/** The turn is over; what waits still goes out, and then the stream closes. */
interface Ending {
  readonly _tag: "Ending"
  readonly controller: ReadableStreamDefaultController<Uint8Array>
}

/** Nothing goes out any more: the client left, the stream has closed, or an answer without one was given. */
interface Closed {
  readonly _tag: "Closed"
}

const waiting: Waiting = { _tag: "Waiting" }
const closed: Closed = { _tag: "Closed" }

export class SseAnswer implements TurnSink {
  /** The answers with a piece that goes on when the transport's callback is over. */
  static readonly #unfinished: Array<SseAnswer> = []
  /** One function for all answers, since a closure for each would be two more objects that an event touches. */
  static readonly #handOnNext = () => {
    const next = SseAnswer.#unfinished.shift()
    if (next !== undefined) next.#handOn()
  }

  // The fields that every event needs come first, so that they lie together in memory.
  #state: Waiting | Streaming | Ending | Closed = waiting
  #events = 0
  /** The text of the latest event; an error event that must follow it gets the next number. */
  #last: string | undefined
  #lastType = ""
  /** The text that goes on when the transport's callback is over. */
  #piece = ""
  #queuedBytes = 0
  readonly #maxBuffered: number
  #queue: Array<Uint8Array> = []
  /** The answer, once its status is certain. */
  readonly answer = Deferred.makeUnsafe<Answer>()
  /** Ends the open `pull`, so that the platform pulls again. */
  #behind: (() => void) | undefined
  #drained: (() => void) | undefined
  #taken: (() => void) | undefined
  readonly #head: DecisionHeaders
  readonly #client: ClientEnd

  constructor(head: DecisionHeaders, maxBuffered: number, client: ClientEnd) {
    this.#maxBuffered = maxBuffered
    this.#head = head
    this.#client = client
  }

  route(route: TurnRoute) {
    if (this.#head.routed(route)) this.#client.sent()
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#head.upstream = headers
  }

  event(type: string, text: string): boolean {
    if (this.#state._tag === "Closed") return true
    if (this.#events++ === 0) this.#head.begun()
    this.#last = text
    this.#lastType = type
    this.#enqueue(toSse(type, text))
    // The other half of the buffer is for events that still come once the upstream is paused, and for the platform's
    // share.
    return this.#queuedBytes < this.#maxBuffered / 2
  }

  onDrain(drained: () => void, taken: () => void) {
    this.#drained = drained
    this.#taken = taken
  }

  /** Lets the head go out; from here on an error is an event. */
  open() {
    if (this.#state._tag !== "Waiting") return
    if (this.#piece !== "") return this.#handOn()
    // The platform keeps the head back until there is something of the body.
    this.#open(comment)
  }

  /** The head goes out, and what comes first with it in one write. */
  #open(first: Uint8Array) {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#state = { _tag: "Streaming", controller }
          controller.enqueue(first)
        },
        pull: () => {
          this.#taken?.()
          this.#flush()
          // Nothing waits, so the platform's demand need not be known: while this promise is open, no event costs a
          // `pull`.
          if (this.#queue.length > 0) return
          const { promise, resolve } = Promise.withResolvers<void>()
          this.#behind = resolve
          return promise
        },
        cancel: () => {
          this.#state = closed
          this.#queue = []
          buffered.bytes -= this.#queuedBytes
          this.#queuedBytes = 0
          this.#piece = ""
          this.#client.cancel()
        },
      },
      { highWaterMark, size: (chunk) => chunk?.byteLength ?? 0 },
    )
    this.#respond({ status: 200, headers: this.#headers, body })
  }

  get #headers(): Record<string, string> {
    const headers = this.#head.all
    headers["content-type"] = "text/event-stream; charset=utf-8"
    // What transforms an answer may collect it, as compressing middleware does.
    headers["cache-control"] = "no-cache, no-transform"
    // Asks a reverse proxy not to collect the stream (nginx reads it).
    headers["x-accel-buffering"] = "no"
    return headers
  }

  /** Sends a comment, which keeps a quiet stream alive and is not an event. */
  heartbeat() {
    this.open()
    if (this.#state._tag === "Streaming" && this.#queue.length === 0) this.#state.controller.enqueue(comment)
  }

  /**
   * Ends the answer with the turn: with its error, where there is one to tell, and the close of the stream. Gives what
   * the client was told; undefined: it had left.
   */
  end(exit: Exit.Exit<unknown, TurnError>): Told | undefined {
    if (this.#state._tag === "Closed") return undefined
    // After the terminal event the client is told no error any more, not even of the shutdown.
    const failed = Exit.isFailure(exit) && !isTerminal(this.#lastType)
    if (failed) {
      const error = failureOf(exit.cause)
      if (this.#state._tag === "Waiting" && this.#piece === "") {
        this.#state = closed
        const answer = failureAnswer(error, this.#head.all)
        this.#respond(answer)
        return { status: answer.status, inStream: false }
      }
      this.#enqueue(this.#client.failure(error, nextNumber(this.#last) ?? this.#events))
    }
    const told = { status: 200, inStream: failed }
    if (this.#state._tag === "Waiting" && this.#piece !== "") {
      this.#endAtOnce()
      return told
    }
    this.open()
    if (this.#state._tag !== "Streaming") return told
    // From here on the platform ends the connection of a client that takes nothing; it must be told before the close.
    this.#client.ended()
    this.#state = { _tag: "Ending", controller: this.#state.controller }
    this.#handOn()
    this.#flush()
    return told
  }

  /** The whole turn came in one callback, so the answer needs no stream. */
  #endAtOnce() {
    this.#state = closed
    this.#client.ended()
    this.#respond({ status: 200, headers: this.#headers, body: this.#piece })
    this.#piece = ""
  }

  #enqueue(text: string) {
    if (this.#state._tag !== "Streaming" && this.#state._tag !== "Waiting") return
    if (this.#piece === "") {
      SseAnswer.#unfinished.push(this)
      queueMicrotask(SseAnswer.#handOnNext)
    }
    this.#piece += text
    if (this.#piece.length >= largestPiece) this.#handOn()
  }

  #handOn() {
    const state = this.#state
    if (this.#piece === "" || state._tag === "Closed") return
    const bytes = encoder.encode(this.#piece)
    this.#piece = ""
    if (state._tag === "Waiting") return this.#open(bytes)
    if (this.#queuedBytes === 0 && (state.controller.desiredSize ?? 0) > 0) return state.controller.enqueue(bytes)
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    buffered.bytes += bytes.length
    this.#behind?.()
    this.#behind = undefined
  }

  /** Gives the platform as much of the queue as it takes. */
  #flush() {
    const state = this.#state
    if (state._tag === "Waiting" || state._tag === "Closed") return
    const { controller } = state
    let count = 0
    for (; count < this.#queue.length && (controller.desiredSize ?? 0) > 0; count++) {
      const bytes = this.#queue[count]
      if (bytes === undefined) break
      this.#queuedBytes -= bytes.length
      buffered.bytes -= bytes.length
      controller.enqueue(bytes)
    }
    this.#queue.splice(0, count)
    if (state._tag === "Ending" && this.#queue.length === 0) {
      // An `enqueue` may call `pull` while it runs, so that the end is reached twice.
      if (this.#state === state) {
        this.#state = closed
        controller.close()
      }
      return
    }
    if (this.#queuedBytes > this.#maxBuffered / 4) return
    const drained = this.#drained
    this.#drained = undefined
    this.#taken = undefined
    drained?.()
  }

  #respond(answer: Answer) {
    Deferred.doneUnsafe(this.answer, Effect.succeed(answer))
  }
}

/** The `sequence_number` that follows an event's. */
const nextNumber = (event: string | undefined): number | undefined => {
  const number = event === undefined ? undefined : Number(textAt(event, ["sequence_number"]))
  return number !== undefined && Number.isSafeInteger(number) ? number + 1 : undefined
}
