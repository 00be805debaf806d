/**
 * Says what a pool has to offer to be tested: little enough that any pool of connections can offer it.
 *
 * Its layer opens connections through `ScriptedUpstream`, takes time from Effect's `Clock`, and closes everything with
 * its own scope: closing that is the shutdown.
 */
import { Context, type Effect, type Scope } from "effect"
import type { Key, Outcome } from "./schedule/Schedule.ts"

export interface LeaseRequest {
  readonly turn: number
  readonly key: Key
  /** The conversation that the turn belongs to; undefined: none. A pool that knows no conversations ignores it. */
  readonly line: number | undefined
}

export interface Lease {
  /** The number that the scripted upstream gave the connection. */
  readonly connection: number
  /**
   * Called before the scope closes when the turn ended well. A pool without it has only the scope's `Exit` to go by.
   */
  readonly finish?: (outcome: Exclude<Outcome, "failed">) => Effect.Effect<void>
}

/** What the pool says of one of its connections. Leave out what it does not know. */
export interface PoolConnection {
  readonly connection: number
  readonly phase: "Connecting" | "Leased" | "Idle"
  readonly line?: number | undefined
  /** The turn that the connection remembers. */
  readonly checkpoint?: number | undefined
}

/** What the pool says of itself, as far as it can. It is compared with what the upstream and the turns show. */
export interface PoolReport {
  readonly connections?: ReadonlyArray<PoolConnection>
  readonly waiting?: number
  /** How many other entries it keeps for connections, such as checkpoints; none may be left after its end. */
  readonly entries?: number
}

export class PoolUnderTest extends Context.Service<
  PoolUnderTest,
  {
    /**
     * Leases a connection to the scope. A scope that closes with success gives the connection back; after any other
     * exit it must not be used again. Fails, with any error, when no connection can be had.
     */
    readonly lease: (request: LeaseRequest) => Effect.Effect<Lease, object | string, Scope.Scope>
    /** Evicts what is idle under the key, at once. */
    readonly evictIdle?: (key: Key) => void
    readonly report?: () => PoolReport
  }
>()("respool/testing/PoolUnderTest") {}
