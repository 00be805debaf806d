/**
 * The headers of a turn's answer: the upstream's own, the client's request id, and what respool decided.
 *
 * They say what is known when the head leaves; the log line has the final words.
 */
import type { TurnRequest, TurnRoute } from "../../turn/Executor.ts"

export interface DecisionHeadersOptions {
  /** The clock that the turn's `startedAt` is of. */
  readonly now: () => number
  /** False: only the upstream's headers and the request id. */
  readonly decisions: boolean
}

export class DecisionHeaders {
  /** The upstream's own answer headers, where the transport has them per turn. */
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

  /** The attempt is about to be sent. True: it is the turn's first. */
  routed(route: TurnRoute): boolean {
    const first = this.#route === undefined
    this.#route = route
    this.#routedAt = this.#options.now()
    return first
  }

  /** The first event has come. */
  begun() {
    this.#firstEventAt ??= this.#options.now()
  }

  /** As known now. */
  get all(): Record<string, string> {
    const { decisions, now } = this.#options
    const headers: Record<string, string> = { ...this.upstream, "x-request-id": this.#turn.id }
    const route = this.#route
    if (!decisions || route === undefined) return headers
    headers["x-respool-transport"] = route.transport
    headers["x-respool-connection"] = route.connection
    headers["x-respool-input"] = route.input
    headers["x-respool-reason"] = route.reason
    // W3C Server-Timing: until the connection was had, and from there to the upstream's first event.
    const first = this.#firstEventAt ?? now()
    headers["server-timing"] =
      `lease;dur=${this.#routedAt - this.#turn.startedAt}, upstream;dur=${first - this.#routedAt}`
    return headers
  }
}
