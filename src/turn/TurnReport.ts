/**
 * Takes notes of a turn, and makes its record of them when it is over. In the chain of sinks it stands right before the
 * answer.
 */
import { Cause, Exit } from "effect"
import { isTerminal, textAt } from "../wire/Event.ts"
import { inputSize } from "../wire/Frame.ts"
import type { RequestBody } from "../wire/RequestBody.ts"
import { readMember } from "../wire/RequestBody.ts"
import { readResponse } from "../wire/ResponseEvent.ts"
import { toldBy } from "./attempt/OutputCollector.ts"
import type { TurnEnd, TurnRequest, TurnRoute, TurnSink } from "./Executor.ts"
import { followsUp } from "./record/FollowUp.ts"
import type { RunningTurn, Told, TurnRecord } from "./record/TurnRecord.ts"
import type { TurnError } from "./TurnError.ts"
import { failureOf, shownCode } from "./TurnError.ts"

/** A longer name is of no model, in UTF-16 units. */
const longestModel = 128

/** The model that a client names; undefined: none that can be shown. */
export const modelOf = (body: RequestBody): string | undefined => {
  const model = readMember(body, "model")
  return typeof model === "string" && model.length <= longestModel ? model : undefined
}

export class TurnReport implements TurnSink, RunningTurn {
  // What every event needs comes first, so that it lies together in memory.
  events = 0
  #lastType = ""
  #last = ""
  readonly #answer: TurnSink
  way: TurnRoute | undefined
  readonly turn: TurnRequest
  readonly #now: () => number
  #firstEventAt: number | undefined
  #routedAt: number | undefined
  #attempts = 0
  /** What the attempts before the latest one sent. */
  #inputBytes = 0

  /** `now` reads the clock by which the turn's `startedAt` was taken. */
  constructor(turn: TurnRequest, answer: TurnSink, now: () => number) {
    this.turn = turn
    this.#answer = answer
    this.#now = now
  }

  route(route: TurnRoute) {
    // By that reason the attempt before was planned, and nothing of it was written.
    if (this.way !== undefined && route.reason !== "socket_lost_before_send") this.#inputBytes += this.way.inputBytes
    this.way = route
    this.#attempts++
    this.#routedAt = this.#now()
    this.#answer.route(route)
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#answer.head(headers)
  }

  event(type: string, text: string): boolean {
    if (this.events++ === 0) this.#firstEventAt = this.#now()
    this.#lastType = type
    this.#last = text
    return this.#answer.event(type, text)
  }

  onDrain(resume: () => void, taken: () => void) {
    this.#answer.onDrain(resume, taken)
  }

  /** `told`: what the client was told at the turn's end; undefined: it had left, or the front does not say. */
  record(exit: Exit.Exit<TurnEnd, TurnError>, told: Told | undefined): TurnRecord {
    const { body, startedAt } = this.turn
    const failure = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? failureOf(exit.cause) : undefined
    const end = Exit.isSuccess(exit) ? exit.value : this.#endSeen
    const since = (at: number | undefined) => (at === undefined ? undefined : at - startedAt)
    const { way } = this
    return {
      turn: this.turn,
      way,
      events: this.events,
      model: modelOf(body),
      outcome: outcomeOf(end, failure, told),
      told,
      upstreamStatus: failure?.answer?.status,
      upstreamCode: failure === undefined ? shownCode(end?.code) : codeOf(failure),
      usage: end?.usage,
      followsUp: way?.input === "suffix" || followsUp(body),
      clientInputBytes: inputSize(body, 0),
      upstreamInputBytes: this.#inputBytes + (failure?.delivery === "NotSent" ? 0 : (way?.inputBytes ?? 0)),
      attempts: this.#attempts,
      leaseMs: since(this.#routedAt),
      firstMs: since(this.#firstEventAt),
      totalMs: this.#now() - startedAt,
    }
  }

  /** The end that was handed on, of a turn that was interrupted in that moment: nothing of it was cancelled. */
  get #endSeen(): Pick<TurnEnd, "code" | "type" | "usage"> | undefined {
    const type = this.#lastType
    const event = isTerminal(type) ? readResponse(this.#last) : undefined
    return event === undefined ? undefined : { type, ...toldBy(type, event) }
  }
}

/** How the turn ended, in one word. */
const outcomeOf = (
  end: Pick<TurnEnd, "type"> | undefined,
  failure: TurnError | undefined,
  told: Told | undefined,
): string => {
  if (failure !== undefined) return failure.reason
  if (end !== undefined) return end.type.replace("response.", "")
  // A client that was still there when its turn was interrupted has been told why.
  return told === undefined ? "cancelled" : "shutdown"
}

/** The code that the upstream gave its refusal, where it can be shown. */
const codeOf = ({ answer, code }: TurnError): string | undefined => {
  if (code !== undefined || answer === undefined) return shownCode(code)
  const written = textAt(answer.body, ["error", "code"])
  return shownCode(written?.slice(1, -1))
}
