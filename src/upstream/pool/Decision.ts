/**
 * What a turn asks of the pool, and what the roster decides.
 */
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { Affinity } from "./Affinity.ts"
import type { Connection, Eviction } from "./Connection.ts"
import type { Lease } from "./Lease.ts"
import type { Sharing } from "./SharedTurns.ts"

export interface LeaseRequest {
  readonly affinity: Affinity
  /** The session's key inside its scope; undefined: the client named none. */
  readonly session: string | undefined
  /** Gives the chain that holds the anchor which the client sent; undefined: none does. Called inside the step. */
  readonly anchor: (() => ChainId | undefined) | undefined
  /** True: only the connection that holds the anchor can answer. */
  readonly onlyHolder?: boolean
  /** Gives the chains that remember a turn which this request continues, the best first. Called inside the step. */
  readonly recall: () => ReadonlyArray<ChainId>
  /** Headers of the turn's trace, for the dial if it needs one: they tell nothing that two turns would have to share. */
  readonly trace?: Readonly<Record<string, string>> | undefined
  /** True: the turn needs a new connection. */
  readonly fresh?: boolean
  /** True: the turn only warms a connection up, so it needs none where its session has one. */
  readonly warmUp?: boolean
}

/** `Dial` comes with its capacity reserved. */
export type Decision =
  | { readonly _tag: "Lease"; readonly lease: Lease }
  | { readonly _tag: "Dial"; readonly connection: Connection }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Refuse"; readonly reason: RefuseReason }

type Unavailable = "upstream_http_only" | "dial_backoff" | "sockets_closed"

export type RefuseReason = "anchor_lost" | "session_warm" | "pool_full" | "session_busy" | "shutdown" | Unavailable

/** What the pool hears, synchronously. */
export interface RosterHooks {
  readonly now: () => number
  /** Why nothing should be dialled there now. */
  readonly trouble: (affinity: Affinity) => Unavailable | undefined
  /** How turns share what is dialled there; undefined: they don't. */
  readonly sharing: (affinity: Affinity) => Sharing | undefined
  readonly onIdle: (connection: Connection) => void
  /** A turn is over that took its lane along. */
  readonly onLaneGone: (connection: Connection) => void
  readonly onEvicted: (connection: Connection, eviction: Eviction) => void
}

/** What a refusal says to the client. */
export const refusals: Readonly<Record<RefuseReason, string>> = {
  anchor_lost: "no connection holds the response that the request continues",
  session_warm: "the session has a warm connection",
  pool_full: "every connection is in use",
  session_busy: "every connection of the session is in use",
  shutdown: "the proxy is shutting down",
  upstream_http_only: "the upstream takes no WebSocket",
  sockets_closed: "the upstream closes its sockets before it says anything on them",
  dial_backoff: "the upstream could not be reached just now",
}
