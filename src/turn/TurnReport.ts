/**
 * What is known of a turn as it goes: it becomes the response headers when the head leaves, and the log line at the end.
 */
import type { TurnRequest, TurnRoute } from "./Executor.ts"
import { isTerminal } from "../wire/Event.ts"

export class TurnReport {
  route: TurnRoute | undefined
  /** The upstream's own answer headers, over HTTP. */
  upstreamHeaders: Readonly<Record<string, string>> = {}
  events = 0
  #lastType = ""
  readonly turn: TurnRequest
  readonly #now: () => number
  #routedAt: number | undefined
  #firstEventAt: number | undefined

  /** `now` is the clock that the turn's `startedAt` is of. */
  constructor(turn: TurnRequest, now: () => number) {
    this.turn = turn
    this.#now = now
  }

  routed(route: TurnRoute) {
    this.route = route
    this.#routedAt = this.#now()
  }

  event(type: string) {
    if (this.events++ === 0) this.#firstEventAt = this.#now()
    this.#lastType = type
  }

  /** Type of the terminal event, once it was handed on; none follows it. */
  get ended(): string | undefined {
    return isTerminal(this.#lastType) ? this.#lastType : undefined
  }

  /** Headers of the turn's response, as known now. */
  headers(decisions: boolean): Record<string, string> {
    const headers: Record<string, string> = { ...this.upstreamHeaders, "x-request-id": this.turn.id }
    const { route } = this
    if (!decisions || route === undefined) return headers
    headers["x-respool-transport"] = route.transport
    headers["x-respool-connection"] = route.connection
    headers["x-respool-input"] = route.input
    headers["x-respool-reason"] = route.reason
    headers["server-timing"] = this.#timing()
    return headers
  }

  /** Fields of the log line; durations in milliseconds, sizes in bytes. */
  fields(status: string): Record<string, string | number> {
    const { route, turn } = this
    return {
      request: turn.id,
      scope: turn.scopeLabel,
      ...(turn.sessionName === undefined ? {} : { session: turn.sessionName }),
      ...(route === undefined
        ? {}
        : {
            // Where there is one only, its name says nothing.
            ...(route.upstream === "default" ? {} : { upstream: route.upstream }),
            transport: route.transport,
            connection: `${route.connection}${route.connectionId === 0 ? "" : ` #${route.connectionId}`}`,
            input: route.input,
            reason: route.reason,
            items: `${route.itemsSent}/${route.items}`,
            bytesUp: route.bytesUp,
          }),
      status,
      events: this.events,
      ...(this.#firstEventAt === undefined ? {} : { firstMs: this.#firstEventAt - this.turn.startedAt }),
      totalMs: this.#now() - this.turn.startedAt,
    }
  }

  /** W3C Server-Timing: until the connection was had, and from there to the upstream's first event. */
  #timing(): string {
    const routed = this.#routedAt ?? this.#now()
    const first = this.#firstEventAt ?? this.#now()
    return `lease;dur=${routed - this.turn.startedAt}, upstream;dur=${first - routed}`
  }
}
