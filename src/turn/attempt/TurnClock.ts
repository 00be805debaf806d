/**
 * Watches one sent request for the time-outs of its turn; the same watch for every way a turn can travel.
 *
 * What happens on the hot path is a field write each. One deadline at a time is set, and looked at when it has come, never
 * per event. The first of these ends the watch:
 * - `first_event_timeout`: no event since the request was sent;
 * - `event_timeout`: no event since the last one, counted only while the upstream may send;
 * - `slow_client`: the upstream was made to wait, and the client took nothing for `clientTimeout`;
 * - `turn_timeout`: counted from when the request came in, so it survives a retry and a fallback.
 */
import type { Clock } from "effect"
import type { Deadline, Deadlines } from "../Deadlines.ts"
import { TurnError } from "../TurnError.ts"

/** How long a turn may take, and its parts, in milliseconds. */
interface TurnTimes {
  readonly firstEventTimeout: number
  readonly eventTimeout: number
  readonly turnTimeout: number
  readonly clientTimeout: number
}

export interface TurnClockOptions {
  readonly clock: Clock.Clock
  readonly times: TurnTimes
  /** When the turn's request came in, in milliseconds of the clock. */
  readonly startedAt: number
  /** True: the answer comes in one piece at its end, so that only the whole turn is timed. */
  readonly atOnce?: boolean
}

export class TurnClock {
  /** Since when the upstream has had the word; the first event is waited for from the start. */
  #heardAt: number | undefined
  readonly #clock: Clock.Clock
  #accepted = false
  readonly #options: TurnClockOptions
  readonly #sentAt: number
  /** Since when the client is behind without having taken anything. */
  #stuckAt: number | undefined

  /** Made right before the request is sent. */
  constructor(options: TurnClockOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#sentAt = this.#now()
  }

  /** An event came. */
  heard() {
    this.#heardAt = this.#now()
  }

  /** The upstream has taken the request, but that is no event. */
  accepted() {
    this.#accepted = true
  }

  /** The client is behind, so the upstream is kept waiting. */
  paused() {
    this.#stuckAt ??= this.#now()
  }

  /** The client took something, and may still be behind. */
  taken() {
    if (this.#stuckAt !== undefined) this.#stuckAt = this.#now()
  }

  /** The upstream may send again: it has its whole time for that. */
  resumed() {
    this.#stuckAt = undefined
    if (this.#heardAt !== undefined) this.#heardAt = this.#now()
  }

  /** What the upstream has seen of the request, once it was written. */
  get delivery(): "Accepted" | "Ambiguous" {
    return this.#accepted || this.#heardAt !== undefined ? "Accepted" : "Ambiguous"
  }

  /** Calls `ended` at most once, at once if the time is over already. What it returns stops the watch. */
  watch(deadlines: Deadlines, ended: (error: TurnError) => void): () => void {
    const { clientTimeout } = this.#options.times
    let deadline: Deadline | undefined
    const look = () => {
      const left = this.#deadline() - this.#now()
      if (left <= 0) return ended(this.#error())
      // A pause wakes nobody. Looking again within the client's time is soon enough to see every one before it is due.
      deadline = deadlines.after(Math.min(left, clientTimeout), look)
    }
    look()
    return () => deadline?.cancel()
  }

  #now() {
    return this.#clock.currentTimeMillisUnsafe()
  }

  #turnEnd() {
    return this.#options.startedAt + this.#options.times.turnTimeout
  }

  #deadline() {
    return Math.min(this.#turnEnd(), this.#silenceEnd())
  }

  #silenceEnd() {
    const { atOnce, times } = this.#options
    if (this.#stuckAt !== undefined) return this.#stuckAt + times.clientTimeout
    if (atOnce === true) return Infinity
    return this.#heardAt === undefined ? this.#sentAt + times.firstEventTimeout : this.#heardAt + times.eventTimeout
  }

  #error() {
    if (this.#turnEnd() <= this.#silenceEnd()) {
      return new TurnError({
        reason: "turn_timeout",
        delivery: this.delivery,
        message: "the turn took longer than it may",
      })
    }
    if (this.#stuckAt !== undefined) {
      return new TurnError({
        reason: "slow_client",
        delivery: "Accepted",
        message: "the client did not take its answer in time",
      })
    }
    return new TurnError({
      reason: this.#heardAt === undefined ? "first_event_timeout" : "event_timeout",
      delivery: this.delivery,
      message: "the upstream sent no event in time",
    })
  }
}
