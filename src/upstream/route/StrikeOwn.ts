/**
 * Keeps an upstream's own credential from the clients, who never had it.
 */
import { Effect, Redacted } from "effect"
import type { TurnSink } from "../../turn/Executor.ts"
import type { Strike } from "../../turn/Redaction.ts"
import { strikeOf, struckError, struckSink } from "../../turn/Redaction.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import type { Destination } from "./Routing.ts"

/** Undefined: it is shown the caller's. */
export const strikeOfOwn = ({ own }: Destination): Strike | undefined =>
  own === undefined ? undefined : strikeOf(Redacted.make(Redacted.value(own.headers)["authorization"] ?? ""))

/** Runs an attempt; what the upstream refuses with is told without the credential. */
export const strikeOwn = <A>(
  to: Destination,
  sink: TurnSink,
  run: (sink: TurnSink) => Effect.Effect<A, TurnError>,
): Effect.Effect<A, TurnError> => {
  const strike = strikeOfOwn(to)
  if (strike === undefined) return run(sink)
  return Effect.mapError(run(struckSink(sink, strike)), (error) => struckError(error, strike))
}
