/**
 * A turn's answer as server-sent events. The head leaves with the first event, or when `open` ends the wait for one.
 *
 * Until then an upstream error is a status (docs/life-of-a-turn.md, Horizons); from there on it is an event. Events
 * come from the transport's own callback and go straight to the stream's queue: no fiber, no Effect per event. Those that
 * came in one piece go on in one piece.
 */
import { Deferred, Effect, Exit } from "effect"
import type { TurnRoute, TurnSink } from "../../turn/Executor.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { failureOf } from "../../turn/TurnError.ts"
import { isTerminal, textAt, toSse } from "../../wire/Event.ts"
import type { Answer } from "./Answer.ts"
import type { DecisionHeaders } from "./DecisionHeaders.ts"
import { failureAnswer, failureEvent } from "./TurnFailure.ts"

/**
 * The platform takes as much at once and keeps as much besides, and says only then that the client has taken something;
 * so it gets little, and what waits is kept here.
 */
const highWaterMark = 64 * 1024

/** As much text as is put together for one piece, in UTF-16 units. */
const largestPiece = 16 * 1024

export interface ClientEnd {
  /** The request is about to be sent upstream; said once. */
  readonly sent: () => void
  /** The client went away in the middle of the stream. */
  readonly cancel: () => void
  /** The stream is about to close. */
  readonly ended: () => void
}

const encoder = new TextEncoder()
const comment = encoder.encode(": heartbeat\n\n")

/** The head has not left: an error can still be a status. */
interface Waiting {
  readonly _tag: "Waiting"
}

/** Events stream. */
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
  /** Whose text goes on when the transport's callback is over. */
  static readonly #unfinished: Array<SseAnswer> = []
  /** One function for all: a closure of each would be two more objects that an event touches. */
  static readonly #handOnNext = () => {
    const next = SseAnswer.#unfinished.shift()
    if (next !== undefined) next.#handOn()
  }

  // What every event needs comes first, so that it lies together.
  #state: Waiting | Streaming | Ending | Closed = waiting
  #events = 0
  /** The latest event, for the number of one that must follow it, and whether it was the turn's last. */
  #last: string | undefined
  #lastType = ""
  /** Text that goes on when the transport's callback is over. */
  #piece = ""
  #queuedBytes = 0
  readonly #maxBuffered: number
  #queue: Array<Uint8Array> = []
  /** The answer, once its status is certain. */
  readonly answer = Deferred.makeUnsafe<Answer>()
  /** Asks to be pulled again. */
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
    if (this.#state._tag === "Waiting") this.#open(false)
    this.#enqueue(toSse(type, text))
    // Half of what may wait is for what still comes once the upstream has been told, and for the platform's part.
    return this.#queuedBytes < this.#maxBuffered / 2
  }

  onDrain(drained: () => void, taken: () => void) {
    this.#drained = drained
    this.#taken = taken
  }

  /** Lets the head go out; from here on an error is an event. */
  open() {
    // The platform keeps the head back until there is something of the body.
    if (this.#state._tag === "Waiting") this.#open(true)
  }

  #open(empty: boolean) {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#state = { _tag: "Streaming", controller }
          if (empty) controller.enqueue(comment)
        },
        pull: () => {
          this.#taken?.()
          this.#flush()
          // Nothing waits, so further demand says nothing: while this promise is open, no event pays for a `pull`.
          if (this.#queue.length > 0) return
          const { promise, resolve } = Promise.withResolvers<void>()
          this.#behind = resolve
          return promise
        },
        cancel: () => {
          this.#state = closed
          this.#queue = []
          this.#piece = ""
          this.#client.cancel()
        },
      },
      { highWaterMark, size: (chunk) => chunk?.byteLength ?? 0 },
    )
    const headers = {
      ...this.#head.all,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // Asks a reverse proxy not to collect the stream (nginx reads it).
      "x-accel-buffering": "no",
    }
    this.#respond({ status: 200, headers, body })
  }

  /** A comment: it keeps a quiet stream alive, and is no event. */
  heartbeat() {
    this.open()
    if (this.#state._tag === "Streaming" && this.#queue.length === 0) this.#state.controller.enqueue(comment)
  }

  /** The turn has ended. */
  end(exit: Exit.Exit<unknown, TurnError>) {
    // What comes behind the terminal event, be it the shutdown, says nothing to the client any more.
    if (Exit.isFailure(exit) && !isTerminal(this.#lastType)) {
      const error = failureOf(exit.cause)
      if (this.#state._tag === "Waiting") {
        this.#state = closed
        return this.#respond(failureAnswer(error, this.#head.all))
      }
      this.#enqueue(failureEvent(error, nextNumber(this.#last) ?? this.#events))
    }
    this.open()
    if (this.#state._tag !== "Streaming") return
    // From here on the platform ends a connection whose client takes nothing; it can't be told after the close.
    this.#client.ended()
    this.#state = { _tag: "Ending", controller: this.#state.controller }
    this.#handOn()
    this.#flush()
  }

  #enqueue(text: string) {
    if (this.#state._tag !== "Streaming") return
    if (this.#piece === "") {
      SseAnswer.#unfinished.push(this)
      queueMicrotask(SseAnswer.#handOnNext)
    }
    this.#piece += text
    if (this.#piece.length >= largestPiece) this.#handOn()
  }

  #handOn() {
    const state = this.#state
    if (this.#piece === "" || state._tag === "Waiting" || state._tag === "Closed") return
    const bytes = encoder.encode(this.#piece)
    this.#piece = ""
    if (this.#queuedBytes === 0 && (state.controller.desiredSize ?? 0) > 0) return state.controller.enqueue(bytes)
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.#behind?.()
    this.#behind = undefined
  }

  /** Hands on what the platform takes. */
  #flush() {
    const state = this.#state
    if (state._tag === "Waiting" || state._tag === "Closed") return
    const { controller } = state
    let count = 0
    for (; count < this.#queue.length && (controller.desiredSize ?? 0) > 0; count++) {
      const bytes = this.#queue[count]
      if (bytes === undefined) break
      this.#queuedBytes -= bytes.length
      controller.enqueue(bytes)
    }
    this.#queue.splice(0, count)
    if (state._tag === "Ending" && this.#queue.length === 0) {
      // An `enqueue` may ask for more while it runs, so that the end is reached twice.
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
