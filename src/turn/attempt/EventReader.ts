/**
 * Reads the events of one attempt, over any transport: hands them on, and ends the attempt where one ends it.
 *
 * An `error` fails the attempt, a terminal event ends the turn, everything else is handed on. A sink that is behind
 * makes the upstream wait. A transport says how it makes the upstream wait, and what the attempt's end means for it.
 *
 * It is written by hand, and transports inherit from it instead of holding one, because many turns wait at a time and
 * each has few events a second: an event finds the caches cold and pays some 100 ns for each object on its way. Objects
 * with methods in place of a chain of closures, and a short way for a chunk that is one text, took an event from 47.5
 * to 36.8 thousand cycles of user code, where the benchmark's floor takes 32.6 (test/bench/README.md, Bun 1.4.5).
 */
import { Exit } from "effect"
import type { TurnEnd, TurnSink } from "../Executor.ts"
import { TurnError } from "../TurnError.ts"
import { OutputCollector } from "./OutputCollector.ts"
import type { Refusal } from "./Progress.ts"
import { lostAnchorOf, Progress } from "./Progress.ts"
import type { TurnClock } from "./TurnClock.ts"
import { eventType, isLifecycle, isTerminal } from "../../wire/Event.ts"
import { withoutAnchor } from "../../wire/ResponseEvent.ts"
import { errorOf } from "../../wire/UpstreamError.ts"

export interface EventReaderOptions {
  readonly sink: TurnSink
  readonly clock: TurnClock
  /** The `previous_response_id` that respool set and the client did not send; undefined: none. */
  readonly ownAnchor?: string | undefined
  /** The id of the last response on the same connection; an event that ends that one can't end this turn. */
  readonly lastResponseId?: string | undefined
}

/**
 * Why an attempt fails. `protocol`: the upstream broke the protocol. `failed`: the upstream refused, or respool has a
 * defect. `lost`: the transport failed or was given up, which only the transport itself tells.
 */
export type Fault = "protocol" | "failed" | "lost"

export abstract class EventReader {
  /** The type of the latest delta. Further events of that type change nothing here, and are only handed on. */
  #passing = ""
  readonly #clock: TurnClock
  readonly #sink: TurnSink
  /** True from the terminal event or the failure on: later events do not count. */
  #over = false
  #ended = false
  #behind = false
  readonly #progress = new Progress()
  readonly #collector = new OutputCollector()
  readonly #options: EventReaderOptions

  constructor(options: EventReaderOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#sink = options.sink
  }

  /** Makes the upstream wait. */
  protected abstract pause(): void
  /** Lets the upstream go on. */
  protected abstract resume(): void
  /** The error's message for a text that is not an event; undefined: the text is skipped. */
  protected abstract stray(text: string): string | undefined
  /** Called when the turn is over, right before its terminal event is handed on. */
  protected abstract finished(end: TurnEnd): void
  /** Called once, with the attempt's end. */
  protected abstract ended(exit: Exit.Exit<TurnEnd, TurnError>, fault?: Fault): void

  /** True: the attempt has ended, and later events do not count. */
  protected get over(): boolean {
    return this.#over
  }

  /** True: the client has not caught up. */
  protected get behind(): boolean {
    return this.#behind
  }

  /** Called by the transport with each text, which need not be an event. */
  onText(text: string) {
    try {
      const type = eventType(text)
      if (type === undefined) return this.#strayed(text)
      this.#clock.heard()
      if (type === this.#passing) {
        if (!this.#sink.event(type, text)) this.#wait()
      } else this.#look(type, text)
    } catch (cause) {
      // A defect of respool must end only this turn. Thrown on, it would reach the transport's callback.
      const message = "the proxy failed"
      this.#end(Exit.fail(new TurnError({ reason: "internal", delivery: "Accepted", message, cause })), "failed")
    }
  }

  /** Ends the attempt, unless it has ended. */
  protected fail(fault: Fault, error: TurnError) {
    if (!this.#over) this.#end(Exit.fail(error), fault)
  }

  #end(exit: Exit.Exit<TurnEnd, TurnError>, fault?: Fault) {
    if (this.#ended) return
    this.#over = true
    this.#ended = true
    this.ended(exit, fault)
  }

  /** Reads what the turn needs of an event, and hands it on. */
  #look(type: string, text: string) {
    if (type === "error") {
      const error = errorOf(text)
      if (error === undefined) this.#violated(this.stray(text) ?? "the upstream sent an error that is not JSON")
      else this.#refused(text, error)
    } else if (isTerminal(type)) {
      this.#finish(type, text)
    } else {
      this.#progress.saw(type)
      this.#collector.add(type, text)
      if (type.endsWith(".delta")) this.#passing = type
      const { ownAnchor } = this.#options
      const shown = ownAnchor !== undefined && isLifecycle(type) ? withoutAnchor(text, ownAnchor) : text
      if (!this.#sink.event(type, shown)) this.#wait()
    }
  }

  #finish(type: string, text: string) {
    const { lastResponseId, ownAnchor } = this.#options
    const finish = this.#collector.finish(type, text, ownAnchor !== undefined)
    if (finish === undefined) return this.#violated("the upstream's last event holds no response")
    const { end, event, frame } = finish
    if (end.responseId !== undefined && end.responseId === lastResponseId) {
      return this.#violated("the upstream ended the turn before this one twice")
    }
    const failedAtOnce = ownAnchor !== undefined && !this.#progress.content && type === "response.failed"
    const lostAnchor = failedAtOnce ? lostAnchorOf(event) : undefined
    if (lostAnchor !== undefined) return this.#refused(text, lostAnchor)
    this.#over = true
    this.finished(end)
    this.#sink.event(type, frame)
    this.#end(Exit.succeed(end))
  }

  #wait() {
    if (this.#behind) return
    this.#behind = true
    this.pause()
    this.#clock.paused()
    // In the same step, since the client may catch up before the next step of a fiber.
    this.#sink.onDrain(
      () => {
        this.#behind = false
        this.#clock.resumed()
        this.resume()
      },
      () => this.#clock.taken(),
    )
  }

  #strayed(text: string) {
    const message = this.stray(text)
    if (message !== undefined) this.#violated(message)
  }

  #violated(message: string) {
    this.fail("protocol", new TurnError({ reason: "upstream_protocol", delivery: "Accepted", message }))
  }

  #refused(text: string, refusal: Refusal) {
    this.fail("failed", this.#progress.refused(text, refusal))
  }
}
