/**
 * Reads the events of one attempt, whatever transport they come by: what each is, what it ends, and who has to wait.
 *
 * An `error` fails the attempt, a terminal event ends the turn, everything else goes on. A sink that is behind makes the
 * upstream wait. What a transport does differently is left to it: how it waits, and what an end means for it.
 *
 * Transports inherit from it instead of holding one, and it is written by hand, for the sake of a delta: many turns wait at
 * a time and each has few events a second, so an event finds the caches cold and pays some 100 ns for each object on its
 * way. A run of deltas of one type is told apart by its beginning, without a parse.
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
  /** What the turn before was answered with on the same way; no event of it can end this turn. */
  readonly lastResponseId?: string | undefined
}

/**
 * Why an attempt fails: the upstream broke the `protocol`; it refused, or a defect of ours (`failed`); or the transport
 * was `lost` under it, or given up, which the transport knows best.
 */
export type Fault = "protocol" | "failed" | "lost"

export abstract class EventReader {
  /** Type of events that say nothing new any more, but are handed on. */
  #passing = ""
  readonly #clock: TurnClock
  readonly #sink: TurnSink
  /** Nothing that comes counts any more. */
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
  /** What is to be said of a text that is no event; undefined: it says nothing, and is skipped. */
  protected abstract stray(text: string): string | undefined
  /** The turn is over, and its terminal event about to be handed on. */
  protected abstract finished(end: TurnEnd): void
  /** How the attempt ends; called once. */
  protected abstract ended(exit: Exit.Exit<TurnEnd, TurnError>, fault?: Fault): void

  /** The attempt has ended; nothing that comes counts any more. */
  protected get over(): boolean {
    return this.#over
  }

  /** The sink has not caught up. */
  protected get behind(): boolean {
    return this.#behind
  }

  /** A text came; it need not be an event. */
  onText(text: string) {
    try {
      const type = eventType(text)
      if (type === undefined) return this.#strayed(text)
      this.#clock.heard()
      if (type === this.#passing) {
        if (!this.#sink.event(type, text)) this.#wait()
      } else this.#look(type, text)
    } catch (cause) {
      // A defect of ours must end this turn alone: thrown on, it would end up in the transport's own callback.
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
    // Asked for at once, since the client may have caught up before the next step of a fiber.
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
