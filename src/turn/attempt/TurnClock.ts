/**
 * Watches one sent request for the time-outs of its turn, over any transport.
 *
 * An event costs one write to a field: only one deadline is set at a time, and it is checked when it has come, never
 * per event. The first of these ends the watch:
 * - `first_event_timeout`: no event since the request was sent;
 * - `event_timeout`: no event since the last one, counted only while the upstream may send;
 * - `slow_client`: the upstream was made to wait, and the client took nothing for `clientTimeout`;
 * - `turn_timeout`: counted from when the request came in, so it survives a retry and a fallback.
 */
import type { Clock } from "effect"
import type { Deadline, Deadlines } from "../Deadlines.ts"
import { monotonicMillisOf } from "../Elapsed.ts"
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
  /** When the turn's request came in, as `monotonicMillis` has it. */
  readonly startedAt: number
  /** True: the answer comes in one piece at the turn's end, so that only the whole turn is timed. */
  readonly atOnce?: boolean
}

export class TurnClock {
  /** When the last event came, or the upstream could go on after a pause; undefined until the first event. */
  #heardAt: number | undefined
  readonly #clock: Clock.Clock
  #accepted = false
  readonly #options: TurnClockOptions
  readonly #sentAt: number
  /** Since when the client has been behind and taken nothing; undefined: it is not behind. */
  #stuckAt: number | undefined

  /** To be called right before the request is sent. */
  constructor(options: TurnClockOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#sentAt = this.#now()
  }

  /** Notes that an event came. */
  heard() {
    this.#heardAt = this.#now()
  }

  /** Notes that the upstream has taken the request, which is not an event. */
  accepted() {
    this.#accepted = true
  }

  /** Notes that the client is behind, so that the upstream is made to wait. */
  paused() {
    this.#stuckAt ??= this.#now()
  }

  /** Notes that the client took something; it may still be behind. */
  taken() {
    if (this.#stuckAt !== undefined) this.#stuckAt = this.#now()
  }

  /** Notes that the upstream may send again; its time for the next event starts anew. */
  resumed() {
    this.#stuckAt = undefined
    if (this.#heardAt !== undefined) this.#heardAt = this.#now()
  }

  /** How far the request got, once it was written. */
  get delivery(): "Accepted" | "Ambiguous" {
    return this.#accepted || this.#heardAt !== undefined ? "Accepted" : "Ambiguous"
  }

  /**
   * Calls `ended` at most once, and in this step if the time is over already. The function returned stops the watch.
   */
  watch(deadlines: Deadlines, ended: (error: TurnError) => void): () => void {
    const { clientTimeout } = this.#options.times
    let deadline: Deadline | undefined
    const look = () => {
      const left = this.#deadline() - this.#now()
      if (left <= 0) return ended(this.#error())
      // A pause sets no deadline. To look again within `clientTimeout` is soon enough to see every pause before it is
      // due.
      deadline = deadlines.after(Math.min(left, clientTimeout), look)
    }
    look()
    return () => deadline?.cancel()
  }

  #now() {
    return monotonicMillisOf(this.#clock)
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
