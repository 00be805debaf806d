/**
 * The answer to a turn that another node has handed over: frames on a stream, as its events come, and sealed.
 *
 * Frames that come in one callback go out in one piece, as in a client's answer. What the entry node does not take waits
 * here, is counted, and makes the upstream wait.
 */
import { Exit } from "effect"
import type { TurnEnd, TurnRoute, TurnSink } from "../turn/Executor.ts"
import type { TurnError } from "../turn/TurnError.ts"
import { failureOf } from "../turn/TurnError.ts"
import { endTold, failureTold } from "./Envelope.ts"
import { eventFrame, frame, Kind } from "./Frames.ts"
import type { AnswerSeal } from "./sealed/Answers.ts"

/** So many bytes the platform takes at once. */
const highWaterMark = 64 * 1024

/** A piece with so much text goes on at once; in UTF-16 units. */
const largestPiece = 16 * 1024

export class OwnerAnswer implements TurnSink {
  /** The answers with a piece that goes on when the transport's callback is over. */
  static readonly #unfinished: Array<OwnerAnswer> = []
  static readonly #handOnNext = () => {
    const next = OwnerAnswer.#unfinished.shift()
    if (next !== undefined) next.#handOn()
  }

  readonly body: ReadableStream<Uint8Array>
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #piece = ""
  #queue: Array<Uint8Array> = []
  #queuedBytes = 0
  /** Something went out since the last `beat`. */
  #spoke = true
  #ending = false
  #behind: (() => void) | undefined
  #drained: (() => void) | undefined
  #taken: (() => void) | undefined
  readonly #maxBuffered: number
  readonly #seal: AnswerSeal

  /** `left` is called when the entry node goes away in the middle. */
  constructor(seal: AnswerSeal, maxBuffered: number, left: () => void) {
    this.#seal = seal
    this.#maxBuffered = maxBuffered
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => {
          this.#taken?.()
          this.#flush()
          if (this.#queue.length > 0 || this.#controller === undefined) return
          const { promise, resolve } = Promise.withResolvers<void>()
          this.#behind = resolve
          return promise
        },
        cancel: () => {
          this.#close()
          left()
        },
      },
      { highWaterMark, size: (chunk) => chunk?.byteLength ?? 0 },
    )
  }

  say(kind: string, text: string) {
    this.#enqueue(frame(kind, text))
  }

  route(route: TurnRoute) {
    this.say(Kind.route, JSON.stringify(route))
  }

  head(headers: Readonly<Record<string, string>>) {
    this.say(Kind.head, JSON.stringify(headers))
  }

  event(type: string, text: string): boolean {
    this.#enqueue(eventFrame(type, text))
    return this.#queuedBytes < this.#maxBuffered / 2
  }

  onDrain(drained: () => void, taken: () => void) {
    this.#drained = drained
    this.#taken = taken
  }

  /** Shows that this node lives, unless something else has shown it since the last time. */
  beat() {
    if (!this.#spoke && this.#queue.length === 0) this.say(Kind.alive, "")
    this.#spoke = false
  }

  end(exit: Exit.Exit<TurnEnd, TurnError>) {
    if (Exit.isSuccess(exit)) this.say(Kind.end, endTold(exit.value))
    else this.say(Kind.failure, failureTold(failureOf(exit.cause)))
    this.#handOn()
    this.#ending = true
    this.#flush()
  }

  #enqueue(text: string) {
    if (this.#controller === undefined) return
    if (this.#piece === "") {
      OwnerAnswer.#unfinished.push(this)
      queueMicrotask(OwnerAnswer.#handOnNext)
    }
    this.#piece += text
    if (this.#piece.length >= largestPiece) this.#handOn()
  }

  #handOn() {
    const controller = this.#controller
    if (this.#piece === "" || controller === undefined) return
    const bytes = this.#seal.seal(this.#piece)
    this.#piece = ""
    this.#spoke = true
    if (this.#queuedBytes === 0 && (controller.desiredSize ?? 0) > 0) return controller.enqueue(bytes)
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.#behind?.()
    this.#behind = undefined
  }

  #flush() {
    const controller = this.#controller
    if (controller === undefined) return
    let count = 0
    for (; count < this.#queue.length && (controller.desiredSize ?? 0) > 0; count++) {
      const bytes = this.#queue[count]
      if (bytes === undefined) break
      this.#queuedBytes -= bytes.length
      controller.enqueue(bytes)
    }
    this.#queue.splice(0, count)
    if (this.#ending && this.#queue.length === 0) {
      // An `enqueue` may call `pull` while it runs, so that the end is reached twice.
      if (this.#controller === controller) {
        this.#controller = undefined
        controller.close()
        this.#behind?.()
      }
      return
    }
    if (this.#queuedBytes > this.#maxBuffered / 4) return
    const drained = this.#drained
    this.#drained = undefined
    this.#taken = undefined
    drained?.()
  }

  #close() {
    this.#controller = undefined
    this.#queue = []
    this.#queuedBytes = 0
    this.#piece = ""
  }
}
