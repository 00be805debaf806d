/**
 * A turn's answer as server-sent events. The head leaves with the first event, or when `open` ends the wait for one.
 *
 * Until then an upstream error is a real HTTP status (design.md 3.6, status horizon); from there on it is an event. Events
 * come from the transport's own callback and go straight to the stream's queue: no fiber, no Effect per event. Those that
 * came in one piece go on in one piece.
 */
import { Deferred, Effect, Exit } from "effect"
import { HttpServerResponse } from "effect/http"
import type { TurnRoute, TurnSink } from "../../turn/Executor.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { textAt, toSse } from "../../wire/Event.ts"
import { failureEvent, failureOf, failureResponse } from "./TurnFailure.ts"
import type { TurnReport } from "../../turn/TurnReport.ts"

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

export class SseAnswer implements TurnSink {
  /** Whose text goes on when the transport's callback is over. */
  static readonly #unfinished: Array<SseAnswer> = []
  /** One function for all: a closure of each would be two more objects that an event touches. */
  static readonly #handOnNext = () => {
    const next = SseAnswer.#unfinished.shift()
    if (next !== undefined) next.#handOn()
  }

  // What every event needs comes first, so that it lies together.
  #closed = false
  #opened = false
  readonly #report: TurnReport
  /** The latest event, for the number of one that must follow it. */
  #last: string | undefined
  /** Text that goes on when the transport's callback is over. */
  #piece = ""
  #waitingBytes = 0
  readonly #maxBuffered: number
  #waiting: Array<Uint8Array> = []
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  /** The response, once its status is certain. */
  readonly response = Deferred.makeUnsafe<HttpServerResponse.HttpServerResponse>()
  #over = false
  /** Asks to be pulled again. */
  #behind: (() => void) | undefined
  #drained: (() => void) | undefined
  #taken: (() => void) | undefined
  readonly #decisions: boolean
  readonly #client: ClientEnd

  constructor(report: TurnReport, decisions: boolean, maxBuffered: number, client: ClientEnd) {
    this.#maxBuffered = maxBuffered
    this.#report = report
    this.#decisions = decisions
    this.#client = client
  }

  route(route: TurnRoute) {
    const first = this.#report.route === undefined
    this.#report.routed(route)
    if (first) this.#client.sent()
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#report.upstreamHeaders = headers
  }

  event(type: string, text: string): boolean {
    if (this.#closed) return true
    this.#report.event(type)
    this.#last = text
    if (!this.#opened) this.#open(false)
    this.#enqueue(toSse(type, text))
    // Half of what may wait is for what still comes once the upstream has been told, and for the platform's part.
    return this.#waitingBytes < this.#maxBuffered / 2
  }

  onDrain(drained: () => void, taken: () => void) {
    this.#drained = drained
    this.#taken = taken
  }

  /** Lets the head go out; from here on an error is an event. */
  open() {
    // The platform keeps the head back until there is something of the body.
    this.#open(true)
  }

  #open(empty: boolean) {
    if (this.#opened) return
    this.#opened = true
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
          if (empty) controller.enqueue(comment)
        },
        pull: () => {
          this.#taken?.()
          this.#flush()
          // Nothing waits, so nobody need hear of further demand: while this promise is open, no event pays for a `pull`.
          if (this.#waiting.length > 0) return
          const { promise, resolve } = Promise.withResolvers<void>()
          this.#behind = resolve
          return promise
        },
        cancel: () => {
          this.#closed = true
          this.#waiting = []
          this.#piece = ""
          this.#client.cancel()
        },
      },
      { highWaterMark, size: (chunk) => chunk?.byteLength ?? 0 },
    )
    const headers = {
      ...this.#report.headers(this.#decisions),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // Asks a reverse proxy not to collect the stream (nginx reads it).
      "x-accel-buffering": "no",
    }
    this.#respond(HttpServerResponse.raw(stream, { headers }))
  }

  /** A comment: it keeps a quiet stream alive, and is no event. */
  heartbeat() {
    this.open()
    if (!this.#closed && this.#waiting.length === 0) this.#controller?.enqueue(comment)
  }

  /** The turn has ended. */
  end(exit: Exit.Exit<unknown, TurnError>) {
    // What comes behind the terminal event, be it the shutdown, says nothing to the client any more.
    if (Exit.isFailure(exit) && this.#report.ended === undefined) {
      const error = failureOf(exit.cause)
      if (!this.#opened) {
        this.#closed = true
        return this.#respond(failureResponse(error, this.#report.headers(this.#decisions)))
      }
      this.#enqueue(failureEvent(error, nextNumber(this.#last) ?? this.#report.events))
    }
    this.open()
    if (this.#closed) return
    this.#closed = true
    // From here on the platform ends a connection whose client takes nothing; it can't be told after the close.
    this.#client.ended()
    this.#over = true
    this.#handOn()
    this.#flush()
  }

  #enqueue(text: string) {
    if (this.#closed) return
    if (this.#piece === "") {
      SseAnswer.#unfinished.push(this)
      queueMicrotask(SseAnswer.#handOnNext)
    }
    this.#piece += text
    if (this.#piece.length >= largestPiece) this.#handOn()
  }

  #handOn() {
    if (this.#piece === "") return
    const bytes = encoder.encode(this.#piece)
    this.#piece = ""
    if (this.#waitingBytes === 0 && (this.#controller?.desiredSize ?? 0) > 0) return this.#controller?.enqueue(bytes)
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    this.#behind?.()
    this.#behind = undefined
  }

  /** Hands on what the platform takes. */
  #flush() {
    const controller = this.#controller
    if (controller === undefined) return
    let count = 0
    for (; count < this.#waiting.length && (controller.desiredSize ?? 0) > 0; count++) {
      const bytes = this.#waiting[count]
      if (bytes === undefined) break
      this.#waitingBytes -= bytes.length
      controller.enqueue(bytes)
    }
    this.#waiting.splice(0, count)
    if (this.#over && this.#waiting.length === 0) {
      // An `enqueue` may ask for more while it runs, so that the end is reached twice.
      this.#controller = undefined
      return controller.close()
    }
    if (this.#waitingBytes > this.#maxBuffered / 4) return
    const drained = this.#drained
    this.#drained = undefined
    this.#taken = undefined
    drained?.()
  }

  #respond(response: HttpServerResponse.HttpServerResponse) {
    Deferred.doneUnsafe(this.response, Effect.succeed(response))
  }
}

/** The `sequence_number` that follows an event's. */
const nextNumber = (event: string | undefined): number | undefined => {
  const number = event === undefined ? undefined : Number(textAt(event, ["sequence_number"]))
  return number !== undefined && Number.isSafeInteger(number) ? number + 1 : undefined
}
