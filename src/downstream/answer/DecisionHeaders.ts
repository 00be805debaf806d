/**
 * The headers of a turn's answer: those of the upstream, the client's request id, and what respool decided.
 *
 * They say what is known when the head leaves; the log line of the turn says how it ended.
 */
import type { TurnRequest, TurnRoute } from "../../turn/Executor.ts"

export interface DecisionHeadersOptions {
  /** Reads the clock by which the turn's `startedAt` was taken. */
  readonly now: () => number
  /** False: send only the upstream's headers and the request id. */
  readonly decisions: boolean
}

export class DecisionHeaders {
  /** The headers of the upstream's answer, where the transport has them per turn. */
  upstream: Readonly<Record<string, string>> = {}
  #route: TurnRoute | undefined
  #routedAt = 0
  #firstEventAt: number | undefined
  readonly #turn: TurnRequest
  readonly #options: DecisionHeadersOptions

  constructor(turn: TurnRequest, options: DecisionHeadersOptions) {
    this.#turn = turn
    this.#options = options
  }

  /** Notes that an attempt is about to be sent. True: it is the turn's first. */
  routed(route: TurnRoute): boolean {
    const first = this.#route === undefined
    this.#route = route
    this.#routedAt = this.#options.now()
    return first
  }

  /** Notes when the first event came. */
  begun() {
    this.#firstEventAt ??= this.#options.now()
  }

  /** All headers, as far as they are known now. */
  get all(): Record<string, string> {
    const { decisions, now } = this.#options
    const headers: Record<string, string> = { ...this.upstream, "x-request-id": this.#turn.id }
    const route = this.#route
    if (!decisions || route === undefined) return headers
    headers["x-respool-transport"] = route.transport
    headers["x-respool-connection"] = route.connection
    headers["x-respool-input"] = route.input
    headers["x-respool-reason"] = route.reason
    if (route.node !== undefined) headers["x-respool-node"] = route.node
    if (route.takeover !== undefined) headers["x-respool-takeover"] = route.takeover
    // W3C Server-Timing: the time until a connection was leased, and from there to the upstream's first event.
    const first = this.#firstEventAt ?? now()
    headers["server-timing"] =
      `lease;dur=${this.#routedAt - this.#turn.startedAt}, upstream;dur=${first - this.#routedAt}`
    return headers
  }
}
