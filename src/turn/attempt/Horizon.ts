/**
 * The retry horizon: holds a turn's events back until its answer begins, so that the client does not see a retry.
 *
 * Until the first event that is not mere lifecycle the client is shown nothing of an attempt, and another attempt can
 * replace it as a whole. From there on every event passes as it comes. What is held is bounded (docs/life-of-a-turn.md,
 * Horizons).
 */
import { isLifecycle } from "../../wire/Event.ts"
import type { TurnRoute, TurnSink } from "../Executor.ts"

const maxHeldEvents = 64
/** In UTF-16 units. */
const maxHeldText = 1024 * 1024

export class Horizon implements TurnSink {
  /** True: the client has been shown an event. */
  shown = false
  /** How the latest attempt travels; undefined until it is about to be sent. */
  attempt: TurnRoute | undefined
  #because: string | undefined
  #held: Array<readonly [type: string, text: string]> = []
  #heldText = 0
  readonly #sink: TurnSink

  constructor(sink: TurnSink) {
    this.#sink = sink
  }

  /** Begins another attempt; `because` is the reason that its route is given. */
  restart(because: string) {
    this.#because = because
    this.attempt = undefined
    this.#forget()
  }

  route(route: TurnRoute) {
    this.attempt = route
    this.#forget()
    const because = this.#because
    this.#sink.route(because === undefined ? route : { ...route, reason: because, changed: undefined })
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#sink.head(headers)
  }

  event(type: string, text: string): boolean {
    if (this.shown) return this.#sink.event(type, text)
    this.#heldText += text.length
    if (isLifecycle(type) && this.#held.length < maxHeldEvents && this.#heldText <= maxHeldText) {
      this.#held.push([type, text])
      return true
    }
    this.end()
    return this.#sink.event(type, text)
  }

  /** Hands on what is held: the answer begins, or it has ended without more, as one in the background does. */
  end() {
    this.shown = true
    const held = this.#held
    this.#forget()
    for (const [type, text] of held) this.#sink.event(type, text)
  }

  onDrain(resume: () => void, taken: () => void) {
    this.#sink.onDrain(resume, taken)
  }

  #forget() {
    this.#held = []
    this.#heldText = 0
  }
}
