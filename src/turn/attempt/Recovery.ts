/**
 * Decides what becomes of a failed attempt: pure data in, pure data out (docs/life-of-a-turn.md, Retries).
 *
 * It depends on how far the request got, whether the client has been shown anything, who ended it, and the setting. Each
 * kind of retry happens once in a turn. Whatever is not listed here is shown to the client.
 *
 * | the attempt failed before anything was shown | then |
 * |---|---|
 * | nothing was written on a pooled socket | the same on another connection, then HTTP |
 * | no connection could be had | HTTP, but for 401, 403 and 429, which are the client's answer |
 * | the message was too big for the socket | HTTP |
 * | our own suffix was refused: any 4xx but 401, 403, 429 | everything on a new connection |
 * | the connection had reached its limit | the same on a new connection |
 * | the upstream hung up | the same on a new connection; never with `strict`, nor where a `conversation` would grow twice |
 * | we gave up, the upstream broke the protocol, or the client cancelled | nothing |
 */
import type { TurnError } from "../TurnError.ts"

/** Why a turn goes another way than it began; it is the `x-respool-reason` of that way. */
export type RetryReason = "socket_lost_before_send" | "suffix_refused" | "connection_limit" | "upstream_closed"

export type Recovery =
  /** The error is the client's. */
  | { readonly _tag: "Surface" }
  /** Over the socket once more; `fresh`: on a new connection, which remembers nothing, so everything is sent. */
  | { readonly _tag: "Retry"; readonly reason: RetryReason; readonly fresh: boolean }
  | { readonly _tag: "Http"; readonly reason: TurnError["reason"] }

/** What is allowed. */
export interface RetryPolicy {
  /** `strict`: what may have run is never sent again. */
  readonly retry: "standard" | "strict"
  /** The upstream's; with `websocket` there is no HTTP to fall back to. */
  readonly transport: "auto" | "websocket" | "http"
}

export interface Failure {
  readonly error: TurnError
  /** The client has been shown an event of this turn. */
  readonly shown: boolean
  /** The request was cut by us to a suffix of what the client sent. */
  readonly ownSuffix: boolean
  /** A connection that remembers nothing can answer it: there is no anchor of the client's, or a stored one. */
  readonly selfContained: boolean
  /** The turn adds to a conversation that the upstream keeps, so a second run would add to it twice. */
  readonly growsConversation: boolean
  /** Retries that this turn has had. */
  readonly tried: ReadonlySet<RetryReason>
}

/** Answers that the client's own request would have got as well. */
const clientsAnswer: ReadonlySet<number> = new Set([401, 403, 429])

const surface: Recovery = { _tag: "Surface" }

export const recoveryOf = (
  { error, growsConversation, ownSuffix, selfContained, shown, tried }: Failure,
  { retry, transport }: RetryPolicy,
): Recovery => {
  const { answer, delivery, reason } = error
  const once = (reason: RetryReason, fresh: boolean): Recovery | undefined =>
    tried.has(reason) ? undefined : { _tag: "Retry", reason, fresh }
  const overHttp: Recovery = transport === "websocket" ? surface : { _tag: "Http", reason }

  if (shown || reason === "shutdown" || reason === "internal") return surface
  if (reason === "message_too_big") return overHttp
  switch (delivery) {
    case "NotSent":
      if (answer !== undefined && clientsAnswer.has(answer.status)) return surface
      return (reason === "socket_lost_before_send" ? once(reason, false) : undefined) ?? overHttp
    case "Rejected": {
      if (error.code === "websocket_connection_limit_reached" && selfContained) {
        return once("connection_limit", true) ?? surface
      }
      const status = answer?.status ?? 0
      const refusesSuffix = status >= 400 && status < 500 && !clientsAnswer.has(status)
      return (ownSuffix && refusesSuffix ? once("suffix_refused", true) : undefined) ?? surface
    }
    case "Ambiguous":
    case "Accepted": {
      const mayRunTwice = retry === "standard" && selfContained && !growsConversation
      return (reason === "upstream_closed" && mayRunTwice ? once("upstream_closed", true) : undefined) ?? surface
    }
  }
}
