/**
 * Reads the events of one attempt, over any transport: hands them on, and ends the attempt where one ends it.
 *
 * An `error` fails the attempt, a terminal event ends the turn, everything else is handed on. A sink that is behind
 * makes the upstream wait. A transport says how it makes the upstream wait, and what the attempt's end means for it.
 *
 * It is written by hand, and transports inherit from it instead of holding one, because many turns wait at a time and
 * each has few events a second: an event finds the caches cold, and pays some hundred cycles for each object on its way.
 * Objects with methods in place of a chain of closures, and a short way for a chunk that is one text, took an event from
 * 47.5 to 36.8 thousand cycles of user code, where the benchmark's floor takes 32.6 (test/bench/README.md, Bun 1.4.5).
 */
import { Exit } from "effect"
import type { TurnEnd, TurnSink } from "../Executor.ts"
import { TurnError } from "../TurnError.ts"
import { OutputCollector } from "./OutputCollector.ts"
import type { Binding } from "./Binding.ts"
import { kindOf } from "./Binding.ts"
import type { Refusal } from "./Progress.ts"
import { lostAnchorOf, Progress } from "./Progress.ts"
import type { TurnClock } from "./TurnClock.ts"
import { eventType, isLifecycle, isTerminal } from "../../wire/Event.ts"
import { outputIn, responseIdIn, withoutAnchor } from "../../wire/ResponseEvent.ts"
import { errorOf } from "../../wire/UpstreamError.ts"
import { together } from "../record/Usage.ts"

export interface EventReaderOptions {
  readonly sink: TurnSink
  readonly clock: TurnClock
  /** The `previous_response_id` that respool set and the client did not send; undefined: none. */
  readonly ownAnchor?: string | undefined
  /** Tells the turn's events from others', where several turns follow each other on one connection. */
  readonly binding?: Binding | undefined
  /** The one that the client sent, though the request went up without it. */
  readonly clientAnchor?: string | undefined
}

/**
 * Why an attempt fails. `protocol`: the upstream broke the protocol. `unsolicited`: it sent an event of another turn.
 * `failed`: the upstream refused, or respool has a defect. `lost`: the transport failed or was given up, which only the
 * transport itself tells.
 */
export type Fault = "protocol" | "unsolicited" | "failed" | "lost"

/** So many events, no longer than this in UTF-16 units, are kept that came before the turn's first one. */
const maxEarly = 16
const maxEarlyText = 64 * 1024

/** The most that is held back of a turn that only its end can prove, in UTF-16 units. */
const maxHeld = 1024 * 1024

/** What a delta that names no item lacks. */
const unnamed = '"item_id"'

export abstract class EventReader {
  /** The type of the latest delta. Further events of that type change nothing here, and are only handed on. */
  #passing = ""
  /** What stands in every one of them, or in none. */
  #mark = ""
  #marked = true
  /** The latest event of the turn. */
  #latest = ""
  readonly #clock: TurnClock
  readonly #sink: TurnSink
  /** True from the terminal event or the failure on: later events do not count. */
  #over = false
  #ended = false
  #behind = false
  /** Events of kinds that respool does not know, before the turn's first one. */
  #early: Array<readonly [type: string, text: string]> = []
  /** Events that only the turn's end can prove to be its own; undefined: all were its own. */
  #held: Array<readonly [type: string, text: string]> | undefined
  #heldText = 0
  readonly #progress = new Progress()
  #collector = new OutputCollector()
  /** The response before this one, where the turn is a successor's; its end can't end the turn again. */
  #parent: TurnEnd | undefined
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
  /** Whether a successor follows to the response that ends now, by itself, on the same connection. */
  protected goesOn(): boolean {
    return false
  }
  /** Takes the type of an event that ends nothing. True: no successor follows to the response that has ended. */
  protected stays(_type: string): boolean {
    return false
  }
  /** Called when the turn is over, right before its terminal event is handed on. */
  protected abstract finished(end: TurnEnd): void
  /** Called once, with the attempt's end; `detail` is for the log. */
  protected abstract ended(exit: Exit.Exit<TurnEnd, TurnError>, fault?: Fault, detail?: string): void

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
      if (type === this.#passing && text.includes(this.#mark) === this.#marked) {
        this.#latest = text
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

  #end(exit: Exit.Exit<TurnEnd, TurnError>, fault?: Fault, detail?: string) {
    if (this.#ended) return
    this.#over = true
    this.#ended = true
    this.ended(exit, fault, detail)
  }

  /** Reads what the turn needs of an event, and hands it on. */
  #look(type: string, text: string) {
    const { binding, ownAnchor } = this.#options
    if (type === "error") {
      const error = errorOf(text)
      if (error === undefined) this.#violated(this.stray(text) ?? "the upstream sent an error that is not JSON")
      else if (binding?.judgeError(error, text, this.#latest) === "foreign") this.#foreign(type)
      else this.#refused(text, error)
    } else if (isTerminal(type)) {
      this.#finish(type, text)
    } else {
      if (this.stays(type) && this.#parent !== undefined) return this.#stayed(type, text, this.#parent)
      const verdict = binding?.judge(type, text) ?? "ours"
      if (verdict === "foreign") return this.#foreign(type)
      this.#latest = text
      if (verdict === "drop") return
      if (verdict === "early") {
        if (this.#early.length < maxEarly && text.length <= maxEarlyText) this.#early.push([type, text])
        return
      }
      if (this.#early.length > 0) this.#lead(text)
      if (verdict === "doubt") {
        this.#held ??= []
        this.#passing = ""
      }
      const shown = this.#hides && ownAnchor !== undefined && isLifecycle(type) ? withoutAnchor(text, ownAnchor) : text
      this.#hand(type, text, shown)
    }
  }

  /** The response must not name the anchor, which the client does not know. */
  get #hides(): boolean {
    const { clientAnchor, ownAnchor } = this.#options
    return ownAnchor !== undefined && ownAnchor !== clientAnchor
  }

  #hand(type: string, text: string, shown: string) {
    this.#progress.saw(type)
    this.#collector.add(type, text)
    if (this.#held !== undefined) return this.#hold(type, shown)
    if (type.endsWith(".delta")) this.#pass(type, text)
    if (!this.#sink.event(type, shown)) this.#wait()
  }

  /** Hands on what came before the turn's first event, if that shows that it is the turn's. */
  #lead(first: string) {
    const early = this.#early
    this.#early = []
    if (this.#options.binding?.leads(early, first) !== true) return
    for (const [type, text] of early) this.#hand(type, text, text)
  }

  /** Lets the further deltas of this one's run pass without a look. */
  #pass(type: string, text: string) {
    const { binding } = this.#options
    const mark = binding === undefined ? "" : binding.markOf(text)
    this.#passing = type
    this.#mark = mark ?? unnamed
    this.#marked = mark !== undefined
  }

  /** Keeps an event back until the turn's end proves it. */
  #hold(type: string, text: string) {
    this.#held?.push([type, text])
    this.#heldText += text.length
    if (this.#heldText > maxHeld) this.#foreign(type)
  }

  #finish(type: string, text: string) {
    const { binding, ownAnchor } = this.#options
    const finish = this.#collector.finish(type, text, this.#hides)
    if (finish === undefined) return this.#violated("the upstream's last event holds no response")
    const { event, frame } = finish
    const before = this.#parent?.usage
    const end = before === undefined ? finish.end : { ...finish.end, usage: together(before, finish.end.usage) }
    if (this.#parent !== undefined && end.responseId !== undefined && end.responseId === this.#parent.responseId) {
      return this.#violated("the upstream ended the response before this one twice")
    }
    if (binding?.judgeEnd(responseIdIn(event), () => outputIn(event)) === "foreign") return this.#foreign(type)
    const failedAtOnce = ownAnchor !== undefined && !this.#progress.content && type === "response.failed"
    const lostAnchor = failedAtOnce ? lostAnchorOf(event) : undefined
    if (lostAnchor !== undefined) return this.#refused(text, lostAnchor)
    if (this.goesOn()) {
      binding?.goesOn()
      this.#parent = end
      this.#passing = ""
      this.#collector = new OutputCollector()
      this.#prove()
      if (!this.#sink.event(type, frame)) this.#wait()
      return
    }
    this.#over = true
    binding?.end()
    this.finished(end)
    this.#prove()
    this.#sink.event(type, frame)
    this.#end(Exit.succeed(end))
  }

  /** Hands on what was kept back until the response's end. */
  #prove() {
    for (const [type, text] of this.#held ?? []) this.#sink.event(type, text)
    this.#held = undefined
    this.#heldText = 0
  }

  /** Ends the turn with a response that ended before, as no successor follows. */
  #stayed(type: string, text: string, parent: TurnEnd) {
    this.#over = true
    this.finished(parent)
    this.#sink.event(type, text)
    this.#end(Exit.succeed(parent))
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

  #foreign(type: string) {
    const { delivery } = this.#clock
    const message = "the upstream sent an event of another turn"
    const error = new TurnError({ reason: "foreign_event", delivery, message })
    if (!this.#over) this.#end(Exit.fail(error), "unsolicited", `${message} (${kindOf(type)})`)
  }

  #violated(message: string) {
    this.fail("protocol", new TurnError({ reason: "upstream_protocol", delivery: "Accepted", message }))
  }

  #refused(text: string, refusal: Refusal) {
    this.fail("failed", this.#progress.refused(text, refusal))
  }
}
