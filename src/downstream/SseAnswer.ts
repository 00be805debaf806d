/**
 * A turn's answer as server-sent events: holds them until the status is certain, then streams them.
 *
 * Until the first event that is not mere lifecycle nothing is shown, so an upstream error is still a real HTTP status
 * (design.md 3.6, status horizon). What is held is bounded; `open` ends the wait. Events come from the transport's own
 * callback and go straight to the stream's queue: no fiber, no Effect per event.
 */
import { Deferred, Effect, Exit } from "effect"
import { HttpServerResponse } from "effect/http"
import type { TurnRoute, TurnSink } from "../turn/Executor.ts"
import type { TurnError } from "../turn/TurnError.ts"
import { isLifecycle, toSse } from "../wire/Event.ts"
import { failureEvent, failureOf, failureResponse } from "./TurnFailure.ts"
import type { TurnReport } from "./TurnReport.ts"

const maxHeldEvents = 64
const maxHeldBytes = 1024 * 1024

/** The stream asks its source to pause when this many bytes wait for the client. */
const highWaterMark = 1024 * 1024

export interface ClientEnd {
  /** The client went away in the middle of the stream. */
  readonly cancel: () => void
  /** The stream is about to close. */
  readonly ended: () => void
}

const encoder = new TextEncoder()
const comment = encoder.encode(": heartbeat\n\n")

export class SseAnswer implements TurnSink {
  /** The response, once its status is certain. */
  readonly response = Deferred.makeUnsafe<HttpServerResponse.HttpServerResponse>()
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #held: Array<string> = []
  #heldBytes = 0
  #opened = false
  #closed = false
  #resume: (() => void) | undefined
  readonly #report: TurnReport
  readonly #decisions: boolean
  readonly #client: ClientEnd

  constructor(report: TurnReport, decisions: boolean, client: ClientEnd) {
    this.#report = report
    this.#decisions = decisions
    this.#client = client
  }

  route(route: TurnRoute) {
    this.#report.routed(route)
    if (this.#opened) return
    this.#held = []
    this.#heldBytes = 0
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#report.upstreamHeaders = headers
  }

  event(type: string, text: string): boolean {
    if (this.#closed) return true
    this.#report.event()
    const chunk = toSse(type, text)
    if (this.#controller !== undefined) {
      this.#controller.enqueue(encoder.encode(chunk))
      return (this.#controller.desiredSize ?? 1) > 0
    }
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (!isLifecycle(type) || this.#held.length >= maxHeldEvents || this.#heldBytes >= maxHeldBytes) this.open()
    return true
  }

  onDrain(resume: () => void) {
    this.#resume = resume
  }

  /** Lets the head go out with what is held; from here on an error is an event. */
  open() {
    if (this.#opened) return
    this.#opened = true
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
          // The platform keeps the head back until there is something of the body.
          if (this.#held.length === 0) controller.enqueue(comment)
          for (const chunk of this.#held) controller.enqueue(encoder.encode(chunk))
          this.#held = []
        },
        pull: () => {
          const resume = this.#resume
          this.#resume = undefined
          resume?.()
        },
        cancel: () => {
          this.#closed = true
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
    this.#respond(HttpServerResponse.raw(new Response(stream, { headers }), { headers }))
  }

  /** A comment: it keeps a quiet stream alive, and is no event. */
  heartbeat() {
    this.open()
    if (!this.#closed) this.#controller?.enqueue(comment)
  }

  /** The turn has ended. */
  end(exit: Exit.Exit<unknown, TurnError>) {
    if (Exit.isFailure(exit)) {
      const error = failureOf(exit.cause)
      if (!this.#opened) {
        this.#closed = true
        return this.#respond(failureResponse(error, this.#report.headers(this.#decisions)))
      }
      this.#enqueue(failureEvent(error, this.#report.events))
    }
    this.open()
    if (this.#closed) return
    this.#closed = true
    this.#client.ended()
    this.#controller?.close()
  }

  #enqueue(chunk: string) {
    if (!this.#closed) this.#controller?.enqueue(encoder.encode(chunk))
  }

  #respond(response: HttpServerResponse.HttpServerResponse) {
    Deferred.doneUnsafe(this.response, Effect.succeed(response))
  }
}
