/**
 * Takes notes of a turn for its line in the log. In the chain of sinks it stands right before the answer.
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

  /** `now` reads the clock by which the turn's `startedAt` was taken. */
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

  /** The type of the terminal event; undefined until it was handed on. */
  get ended(): string | undefined {
    return isTerminal(this.#lastType) ? this.#lastType : undefined
  }

  /** The fields of the log line; durations are in milliseconds, sizes in bytes. */
  fields(status: string): Record<string, string | number> {
    const { caller, id, session, startedAt, turnId } = this.#turn
    const route = this.#route
    return {
      request: id,
      // Where the client named none, the request's id is the turn's own.
      ...(turnId === id ? {} : { turn: turnId }),
      scope: caller.label,
      ...(session === undefined ? {} : { session: session.name }),
      ...(route === undefined
        ? {}
        : {
            // The only upstream of a configuration is named `default`, which would tell the reader nothing.
            ...(route.upstream === "default" ? {} : { upstream: route.upstream }),
            transport: route.transport,
            connection: `${route.connection}${route.connectionId === 0 ? "" : ` #${route.connectionId}`}`,
            input: route.input,
            reason: route.reason,
            ...changedFields(route.changed),
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

/** What differs from what is remembered, in plain fields. */
const changedFields = (changed: TurnRoute["changed"]): Record<string, string | number> => ({
  ...(changed?.item === undefined ? {} : { changedItem: changed.item }),
  ...(changed?.kind === undefined ? {} : { changedKind: changed.kind }),
  ...(changed?.members === undefined ? {} : { changedMembers: changed.members.join(",") }),
})
