/**
 * A turn's answer as one JSON object: the last event's response, as the upstream wrote it.
 *
 * Nothing is sent before the terminal event, so every error has its real status.
 */
import { Exit } from "effect"
import type { TurnEnd, TurnRoute, TurnSink } from "../../turn/Executor.ts"
import { failureOf, TurnError } from "../../turn/TurnError.ts"
import { isLifecycle, isTerminal, responseText } from "../../wire/Event.ts"
import type { Answer } from "./Answer.ts"
import type { DecisionHeaders } from "./DecisionHeaders.ts"
import { failureAnswer } from "./TurnFailure.ts"

export class JsonAnswer implements TurnSink {
  /** The latest event that may end the turn; one in the background ends with `response.queued`. */
  #last: string | undefined
  #begun = false
  readonly #head: DecisionHeaders

  constructor(head: DecisionHeaders) {
    this.#head = head
  }

  route(route: TurnRoute) {
    this.#head.routed(route)
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#head.upstream = headers
  }

  event(type: string, text: string): boolean {
    this.#head.begun()
    if (isTerminal(type) || isLifecycle(type)) this.#last = text
    else this.#begun = true
    return true
  }

  onDrain(resume: () => void) {
    resume()
  }

  answer(exit: Exit.Exit<TurnEnd, TurnError>): Answer {
    const headers = this.#head.all
    const body = this.#last === undefined ? undefined : responseText(this.#last)
    if (Exit.isSuccess(exit) && body !== undefined) {
      return { status: 200, headers: { ...headers, "content-type": "application/json" }, body }
    }
    // The model had begun to answer, so the turn has run, even where the upstream calls its error a refusal.
    if (this.#begun) headers["x-should-retry"] = "false"
    return failureAnswer(Exit.isFailure(exit) ? failureOf(exit.cause) : noAnswer, headers)
  }
}

const noAnswer = new TurnError({
  reason: "upstream_protocol",
  delivery: "Accepted",
  message: "the upstream's last event holds no response",
})
