/**
 * What a turn asks of the pool, and what the roster decides.
 */
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { Affinity } from "./Affinity.ts"
import type { Connection } from "./Connection.ts"
import type { Lease } from "./Lease.ts"

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

export type Unavailable = "upstream_http_only" | "dial_backoff" | "sockets_closed"

export type RefuseReason = "anchor_lost" | "session_warm" | "pool_full" | "session_busy" | "shutdown" | Unavailable
