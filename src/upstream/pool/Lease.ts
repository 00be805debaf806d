/**
 * Exclusive use of a chain of a connection for one turn, as a scoped resource.
 *
 * A lease ends once: with `complete` or `release` the connection is idle again, with `evict` it is gone. The finalizer
 * that came with the lease evicts the connection if the lease has not ended by then, so an interrupted turn can't leave
 * its socket behind. After its end a lease does nothing more, however late it is called: its token is out of date.
 */
import type { Scope } from "effect"
import type { EndedTurns } from "../../turn/attempt/EndedTurns.ts"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { EvictReason, LeaseListener, Worth } from "./ConnectionState.ts"

export interface Lease {
  /** The chain that the turn continues, and under which it is remembered. */
  readonly chain: ChainId
  /** The number of the connection, for the log. */
  readonly connectionId: number
  readonly reused: boolean
  /** How long it took to open the connection, in milliseconds; undefined: it was open. */
  readonly dialMs: number | undefined
  /**
   * Headers of the upgrade's answer, names in lower case; none on a reused connection: they belonged to its first turn.
   */
  readonly handshake: Readonly<Record<string, string>>
  /** True: the chain begins with this lease. */
  readonly isNew: boolean
  /** The chain's own scope, for what must live exactly as long as it does. */
  readonly chainScope: Scope.Scope
  /** The `stream_id` under which the turn must be sent; undefined: it has the connection for itself. */
  readonly lane: string | undefined
  /** The chain that the new one begins from, since a turn is running on that; undefined: it begins from nothing. */
  readonly source: ChainId | undefined
  /** The turns that have ended on the chain. */
  readonly ended: EndedTurns
  /** Frames that come before the turn listens belong to no turn, and evict the connection. */
  readonly listen: (listener: LeaseListener) => void
  /** Sends one text frame. False: the socket was closed and nothing was written. */
  readonly send: (frame: Uint8Array) => boolean
  readonly pause: () => void
  readonly resume: () => void
  /** The upstream has refused the lane's name: it has no lanes. */
  readonly noLanes: () => void
  /** The turn is over and the chain idle. */
  readonly complete: (worth: Worth) => void
  /** Nothing was sent: the chain is idle again as it was. */
  readonly release: () => void
  /** `detail` is for the log, in words of respool's. */
  readonly evict: (reason: EvictReason, detail?: string) => void
}

/** How a lease begins. */
export interface Beginning {
  /** Headers of the upgrade's answer; undefined: the connection was open. */
  readonly handshake?: Readonly<Record<string, string>>
  /** How long it took to open the connection, in milliseconds. */
  readonly dialMs?: number
  /** The chain that a new lane begins from. */
  readonly source?: ChainId | undefined
}
