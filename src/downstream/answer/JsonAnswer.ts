/**
 * A turn's answer as one JSON object: the terminal event's response, in the upstream's own bytes.
 *
 * Nothing is sent before the terminal event, so every error has its real status.
 */
import { Exit } from "effect"
import { HttpServerResponse } from "effect/http"
import type { TurnEnd, TurnRoute, TurnSink } from "../../turn/Executor.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { isLifecycle, isTerminal, responseText } from "../../wire/Event.ts"
import { failureOf, failureResponse } from "./TurnFailure.ts"
import type { TurnReport } from "../../turn/TurnReport.ts"

export class JsonAnswer implements TurnSink {
  #terminal: string | undefined
  #begun = false
  readonly #report: TurnReport
  readonly #decisions: boolean

  constructor(report: TurnReport, decisions: boolean) {
    this.#report = report
    this.#decisions = decisions
  }

  route(route: TurnRoute) {
    this.#report.routed(route)
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#report.upstreamHeaders = headers
  }

  event(type: string, text: string): boolean {
    this.#report.event(type)
    if (isTerminal(type)) this.#terminal = text
    else if (!isLifecycle(type)) this.#begun = true
    return true
  }

  onDrain(resume: () => void) {
    resume()
  }

  response(exit: Exit.Exit<TurnEnd, TurnError>): HttpServerResponse.HttpServerResponse {
    const headers = this.#report.headers(this.#decisions)
    const body = this.#terminal === undefined ? undefined : responseText(this.#terminal)
    if (Exit.isSuccess(exit) && body !== undefined) {
      return HttpServerResponse.text(body, { contentType: "application/json", headers })
    }
    // Whatever the upstream calls its error: the model had begun to answer, so the turn has run.
    if (this.#begun) headers["x-should-retry"] = "false"
    return failureResponse(Exit.isFailure(exit) ? failureOf(exit.cause) : noAnswer, headers)
  }
}

const noAnswer = new TurnError({
  reason: "upstream_protocol",
  delivery: "Accepted",
  message: "the upstream's last event holds no response",
})
