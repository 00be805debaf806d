/**
 * What is noted of a turn as it goes, for its log line: it stands before the answer in the chain of sinks.
 */
import type { TurnRequest, TurnRoute, TurnSink } from "./Executor.ts"
import { isTerminal } from "../wire/Event.ts"

export class TurnReport implements TurnSink {
  #events = 0
  #lastType = ""
  readonly #answer: TurnSink
  #route: TurnRoute | undefined
  readonly #turn: TurnRequest
  readonly #now: () => number
  #firstEventAt: number | undefined

  /** `now` is the clock that the turn's `startedAt` is of. */
  constructor(turn: TurnRequest, answer: TurnSink, now: () => number) {
    this.#turn = turn
    this.#answer = answer
    this.#now = now
  }

  route(route: TurnRoute) {
    this.#route = route
    this.#answer.route(route)
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#answer.head(headers)
  }

  event(type: string, text: string): boolean {
    if (this.#events++ === 0) this.#firstEventAt = this.#now()
    this.#lastType = type
    return this.#answer.event(type, text)
  }

  onDrain(resume: () => void, taken: () => void) {
    this.#answer.onDrain(resume, taken)
  }

  /** Type of the terminal event, once it was handed on; none follows it. */
  get ended(): string | undefined {
    return isTerminal(this.#lastType) ? this.#lastType : undefined
  }

  /** Fields of the log line; durations in milliseconds, sizes in bytes. */
  fields(status: string): Record<string, string | number> {
    const { caller, id, session, startedAt, turnId } = this.#turn
    const route = this.#route
    return {
      request: id,
      turn: turnId,
      scope: caller.label,
      ...(session === undefined ? {} : { session: session.name }),
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
      events: this.#events,
      ...(this.#firstEventAt === undefined ? {} : { firstMs: this.#firstEventAt - startedAt }),
      totalMs: this.#now() - startedAt,
    }
  }
}
