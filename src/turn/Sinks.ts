/**
 * The chain of sinks through which an event goes from the upstream to the client, in this order:
 *
 *     reader ─▶ redact ─▶ dialect ─▶ horizon ─▶ observe ─▶ view ─▶ report ─▶ answer
 *               └── each attempt ──┘ └──────────────── the turn ────────────────┘
 *
 * - The reader (`attempt/EventReader`) tells events from other texts, and ends the turn.
 * - `redact` takes out a credential that the caller must not read (`Redaction`). Over HTTP the answer's bytes go
 *   through it before they are read.
 * - The dialect of an upstream hides events that its client does not know (`upstream/route/CodexRules`).
 * - The horizon (`attempt/Horizon`) holds lifecycle events back while a retry is possible.
 * - `observe` records the ids that the turn made (`tenants/Tenant`).
 * - `view` takes out what a caller must not read of the account it shares (`tenants/Account`).
 * - The report (`TurnReport`) takes notes for the log.
 * - The answer is what the client reads: SSE, JSON, or a sink that an app brings.
 *
 * Each is called by the one before, in the step in which the transport received the event, so an event costs no fiber.
 */
import { Effect } from "effect"
import { Horizon } from "./attempt/Horizon.ts"
import type { Credential } from "./Caller.ts"
import type { TurnExecutor, TurnRequest, TurnSink } from "./Executor.ts"
import { redactionOf } from "./Redaction.ts"
import type { TurnError } from "./TurnError.ts"

/** The attempt's part of the chain: the sink that its reader calls. `dialect` hands on to the horizon. */
export const ofAttempt = (shown: Credential | undefined, dialect: TurnSink): TurnSink =>
  redactionOf(shown)?.sink(dialect) ?? dialect

/** The attempt, with the credential taken out of its failure as well. */
export const failureOfAttempt = <A>(shown: Credential | undefined, attempt: Effect.Effect<A, TurnError>) => {
  const redaction = redactionOf(shown)
  return redaction === undefined ? attempt : Effect.mapError(attempt, redaction.error)
}

/** The turn's part of the chain behind the horizon. `report` hands on to the answer. */
export const ofTurn = ({ observe, view }: TurnRequest, report: TurnSink): TurnSink =>
  observe === undefined && view === undefined
    ? report
    : {
        route: (route) => report.route(route),
        head: (headers) => report.head(view === undefined ? headers : view.head(headers)),
        event: (type, text) => {
          observe?.(type, text)
          const seen = view === undefined ? text : view.event(type, text)
          return seen === undefined || report.event(type, seen)
        },
        onDrain: (resume, taken) => report.onDrain(resume, taken),
      }

/** The turn's failure, told as its caller may read it. */
export const failureOfTurn = <A>({ view }: TurnRequest, turn: Effect.Effect<A, TurnError>) =>
  view === undefined ? turn : Effect.mapError(turn, view.failure)

/** An executor that holds lifecycle events back until the answer begins, so that a failure before can be a status. */
export const withHorizon = ({ execute }: TurnExecutor): TurnExecutor => ({
  execute: (turn, sink) =>
    Effect.suspend(() => {
      const horizon = new Horizon(sink)
      return Effect.map(execute(turn, horizon), (end) => {
        horizon.end()
        return end
      })
    }),
})
