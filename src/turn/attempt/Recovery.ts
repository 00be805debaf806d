/**
 * Decides what becomes of a failed attempt: pure data in, pure data out (docs/life-of-a-turn.md, Retries).
 *
 * It depends on how far the request got, whether the client has been shown anything, which side ended the attempt, and
 * the setting. Each kind of retry happens once in a turn. A failure that is not listed here is shown to the client.
 *
 * | the attempt failed before anything was shown | then |
 * |---|---|
 * | nothing was written on a pooled socket | the same on another connection, then HTTP |
 * | no connection could be had | HTTP, but for 401, 403 and 429 in the API's own words, which are the client's answer |
 * | the message was too big for the socket, or the socket was closed by policy (1003, 1008) | HTTP |
 * | the suffix that respool made was refused: any 4xx but 401, 403, 429 | everything on a new connection |
 * | anything else was refused likewise, on a connection that had carried other turns | everything on a new connection |
 * | the same, of a suffix behind a response that another lane was continuing | everything, on a lane again |
 * | the upstream turned out to have no lanes | the same on a new connection without them |
 * | the connection had reached its limit | the same on a new connection |
 * | the upstream hung up, or sent an event of another turn | the same on a new connection; never with `strict`, nor where a `conversation` would grow twice |
 * | the same again, on an upstream that closes each socket before it says anything | HTTP, as above |
 * | the upstream hung up on HTTP without an answer, as a kept connection may | over HTTP once more; never with `strict`, nor where a `conversation` would grow twice |
 * | no connection holds the response that the client's socket continues | nothing |
 * | respool gave up, the upstream broke the protocol, or the client cancelled | nothing |
 */
import type { TurnError } from "../TurnError.ts"

/** Why a turn is tried again; the answer's `x-respool-reason` says so. */
export type RetryReason =
  | "socket_lost_before_send"
  | "suffix_refused"
  | "context_refused"
  | "connection_limit"
  | "upstream_closed"
  | "foreign_event"
  | "fork_refused"
  | "lanes_refused"

export type Recovery =
  /** The error is shown to the client. */
  | { readonly _tag: "Surface" }
  /** Over the socket once more; `fresh`: on a new connection, which remembers nothing, so everything is sent. */
  | { readonly _tag: "Retry"; readonly reason: RetryReason; readonly fresh: boolean }
  | { readonly _tag: "Http"; readonly reason: TurnError["reason"] | "sockets_closed" }

/** Which retries the settings allow. */
export interface RetryPolicy {
  /** `strict`: a request that may have run is never sent again. */
  readonly retry: "standard" | "strict"
  /** The upstream's transports; with `websocket` there is no HTTP to fall back to. */
  readonly transport: "auto" | "websocket" | "http"
}

export interface Failure {
  readonly error: TurnError
  /** True: the client has been shown an event of this turn. */
  readonly shown: boolean
  /** True: respool cut the request to a suffix of what the client sent. */
  readonly ownSuffix: boolean
  /** True: that suffix stood behind a response whose own lane another turn had. */
  readonly forked: boolean
  /** True: the connection had carried other turns, of which the upstream may know more than it should. */
  readonly reused: boolean
  /** True: a new connection can answer it, since the client sent no anchor, or that of a stored response. */
  readonly selfContained: boolean
  /** True: the turn adds to a conversation that the upstream keeps, so a second run would add to it twice. */
  readonly growsConversation: boolean
  /** True: the upstream closes sockets before it says anything on them. */
  readonly socketsClosed: boolean
  /** The retries that this turn has had. */
  readonly tried: ReadonlySet<RetryReason>
}

/** Statuses that the client's request would have got without respool as well. */
const clientsAnswer: ReadonlySet<number> = new Set([401, 403, 429])

/** Whether a refused upgrade has an answer of the API's. What stands in front of an API answers with a page, or nothing. */
const isOfTheApi = ({ body }: { readonly body: string }) => body.trimStart().startsWith("{")

const surface: Recovery = { _tag: "Surface" }

export const recoveryOf = (
  { error, forked, growsConversation, ownSuffix, reused, selfContained, shown, socketsClosed, tried }: Failure,
  { retry, transport }: RetryPolicy,
): Recovery => {
  const { answer, delivery, reason } = error
  const once = (reason: RetryReason, fresh: boolean): Recovery | undefined =>
    tried.has(reason) ? undefined : { _tag: "Retry", reason, fresh }
  const overHttp: Recovery = transport === "websocket" ? surface : { _tag: "Http", reason }

  if (shown || reason === "shutdown" || reason === "internal" || reason === "anchor_lost") return surface
  if (reason === "message_too_big" || reason === "policy_close") return overHttp
  switch (delivery) {
    case "NotSent":
      if (answer !== undefined && clientsAnswer.has(answer.status) && isOfTheApi(answer)) return surface
      return (reason === "socket_lost_before_send" ? once(reason, false) : undefined) ?? overHttp
    case "Rejected": {
      if (reason === "lanes_refused") return once(reason, true) ?? surface
      if (error.code === "websocket_connection_limit_reached" && selfContained) {
        return once("connection_limit", true) ?? surface
      }
      const status = answer?.status ?? 0
      const refuses = status >= 400 && status < 500 && !clientsAnswer.has(status)
      // What the client's own request would not have got, it must not get.
      const because = ownSuffix ? "suffix_refused" : reused && selfContained ? "context_refused" : undefined
      if (!refuses || because === undefined) return surface
      return (forked ? once("fork_refused", false) : once(because, true)) ?? surface
    }
    case "Ambiguous":
    case "Accepted": {
      const mayRunTwice = retry === "standard" && selfContained && !growsConversation
      const cutOff = reason === "upstream_closed" || reason === "foreign_event"
      if (!cutOff || !mayRunTwice) return surface
      const another = once(reason, true)
      if (another !== undefined) return another
      return socketsClosed && transport !== "websocket" ? { _tag: "Http", reason: "sockets_closed" } : surface
    }
  }
}

/** Whether a turn that failed over HTTP is sent over HTTP again, where anything may be sent to a new connection. */
export const isSentAgain = (
  {
    error,
    growsConversation,
    shown,
    tried,
  }: Omit<Failure, "forked" | "ownSuffix" | "reused" | "selfContained" | "socketsClosed">,
  { retry }: Pick<RetryPolicy, "retry">,
): boolean =>
  error.reason === "upstream_closed" &&
  error.delivery === "Ambiguous" &&
  retry === "standard" &&
  !shown &&
  !growsConversation &&
  !tried.has("upstream_closed")
