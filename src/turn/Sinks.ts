/**
 * The way of an event from the upstream to the client, and all that looks at it there, in this order:
 *
 *     reader ─▶ redact ─▶ dialect ─▶ horizon ─▶ observe ─▶ report ─▶ answer
 *               └── each attempt ──┘ └──────────── the turn ────────────┘
 *
 * - The reader (`attempt/EventReader`) knows events from other texts, and ends the turn.
 * - `redact` takes out what the caller must not read of a credential (`Redaction`). Over HTTP the bytes of the answer have
 *   passed it before they are read.
 * - The dialect of an upstream hides events that its client does not know (`upstream/route/CodexRules`).
 * - The horizon (`attempt/Horizon`) holds lifecycle events back while a retry is possible.
 * - `observe` is who records what the turn made (`tenants/Tenant`).
 * - The report (`TurnReport`) takes notes for the log.
 * - The answer is what the client reads: SSE, JSON, or a sink of an app's own.
 *
 * Each is a call from the one before, in the step in which the transport received the event: an event costs no fiber.
 */
import { Effect } from "effect"
import { Horizon } from "./attempt/Horizon.ts"
import type { Credential } from "./Caller.ts"
import type { TurnExecutor, TurnRequest, TurnSink } from "./Executor.ts"
import { redactionOf } from "./Redaction.ts"
import type { TurnError } from "./TurnError.ts"

/** An attempt's part: what its reader reads into. `dialect` hands on to the horizon. */
export const ofAttempt = (shown: Credential | undefined, dialect: TurnSink): TurnSink =>
  redactionOf(shown)?.sink(dialect) ?? dialect

/** The attempt's failure, told without the credential as well. */
export const failureOfAttempt = <A>(shown: Credential | undefined, attempt: Effect.Effect<A, TurnError>) => {
  const redaction = redactionOf(shown)
  return redaction === undefined ? attempt : Effect.mapError(attempt, redaction.error)
}

/** The turn's part behind the horizon. `report` hands on to the answer. */
export const ofTurn = ({ observe }: TurnRequest, report: TurnSink): TurnSink =>
  observe === undefined
    ? report
    : {
        route: (route) => report.route(route),
        head: (headers) => report.head(headers),
        event: (type, text) => {
          observe(type, text)
          return report.event(type, text)
        },
        onDrain: (resume, taken) => report.onDrain(resume, taken),
      }

/** An executor of single attempts as one whose events begin with the answer: until then its failure can be a status. */
export const withHorizon = ({ execute }: TurnExecutor): TurnExecutor => ({
  execute: (turn, sink) => execute(turn, new Horizon(sink)),
})
