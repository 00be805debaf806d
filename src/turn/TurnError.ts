/**
 * Why a turn got no answer, and how far it had gone: the one error of every executor.
 *
 * `delivery` says what the upstream may have seen, because that decides what may be tried again
 * (docs/life-of-a-turn.md, Retries):
 * - `NotSent`: nothing was written.
 * - `Ambiguous`: the request was written, and no answer came.
 * - `Accepted`: the upstream had begun to answer.
 * - `Rejected`: the upstream refused the request. `answer` is its refusal, to be shown to the client as it is.
 */
import { Cause, Schema } from "effect"

export const Delivery = Schema.Literals(["NotSent", "Ambiguous", "Accepted", "Rejected"])
export type Delivery = typeof Delivery.Type

export const TurnErrorReason = Schema.Literals([
  // These end a turn before anything was sent.
  "no_scope",
  "credential_unavailable",
  "credential_missing",
  "dial_failed",
  "dial_timeout",
  "dial_backoff",
  "sockets_closed",
  "upgrade_refused",
  "upstream_http_only",
  "pool_full",
  "session_busy",
  "message_too_big",
  "policy_close",
  "socket_lost_before_send",
  "anchor_lost",
  "session_warm",
  // These end a turn after the request was sent.
  "upstream_error",
  "upstream_closed",
  "upstream_protocol",
  // What came on the connection was of another turn, so nothing that follows on it can be believed.
  "foreign_event",
  // The upstream takes no names of lanes, so nothing of the turn has run.
  "lanes_refused",
  "upstream_unreachable",
  "first_event_timeout",
  "event_timeout",
  "turn_timeout",
  "ping_timeout",
  "slow_client",
  // Another node had the turn, and was lost with it.
  "turn_outcome_unknown",
  "shutdown",
  "internal",
])
export type TurnErrorReason = typeof TurnErrorReason.Type

/** All of it that can be told to another process. */
export const turnErrorTold = {
  reason: TurnErrorReason,
  delivery: Delivery,
  /** Respool's words, never the upstream's. */
  message: Schema.String,
  /** The upstream's refusal: HTTP status, headers (lower case) and body text, as an HTTP client would have got it. */
  answer: Schema.optionalKey(
    Schema.Struct({
      status: Schema.Number,
      headers: Schema.Record(Schema.String, Schema.String),
      body: Schema.String,
    }),
  ),
  /** The code that the upstream gave its refusal. */
  code: Schema.optionalKey(Schema.String),
  /** The upstream's `error` event as it came, for a client that already reads a stream. */
  event: Schema.optionalKey(Schema.String),
}

const fields = { ...turnErrorTold, cause: Schema.optionalKey(Schema.Defect()) }

export class TurnError extends Schema.TaggedError<TurnError>()("TurnError", fields) {
  /** A copy of the error with some fields changed. */
  with(change: Partial<Pick<TurnError, keyof typeof fields>>): TurnError {
    const { answer, cause, code, delivery, event, message, reason } = this
    const known = Object.entries({ answer, cause, code, event }).filter(([, value]) => value !== undefined)
    return new TurnError({ reason, delivery, message, ...Object.fromEntries(known), ...change })
  }
}

/**
 * The error to tell the client. An interruption of which a client can still be told means that the proxy is stopping.
 */
export const failureOf = (cause: Cause.Cause<TurnError>): TurnError => {
  const error = Cause.findErrorOption(cause)
  if (error._tag === "Some") return error.value
  return Cause.hasInterruptsOnly(cause)
    ? new TurnError({ reason: "shutdown", delivery: "Ambiguous", message: "the proxy is shutting down" })
    : new TurnError({ reason: "internal", delivery: "Ambiguous", message: "the proxy failed", cause })
}

/**
 * Describes an upstream's refusal in logs and spans. The upstream's words must not go there, since they may repeat what
 * it was sent; its code may, if it looks like one of the API's.
 */
export const refusedWith = (code: string | undefined): string =>
  shownCode(code) === undefined
    ? "the upstream answered with an error"
    : `the upstream answered with an error (${code})`

/** An upstream's code, if it looks like one of the API's; undefined: it may be anything, and is not shown. */
export const shownCode = (code: string | undefined): string | undefined =>
  code !== undefined && /^[a-z_]{1,64}$/.test(code) ? code : undefined
