/**
 * Exclusive use of a chain of a connection for one turn, as a scoped resource.
 *
 * A lease ends once: with `complete` or `release` the connection is idle again, with `evict` it is gone. The finalizer
 * that came with it evicts whatever had not ended by then, so an interrupted turn can't leave its socket behind. After
 * its end a lease does nothing more, however late it is called: it holds a token that only its own turn has.
 */
import type { Scope } from "effect"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { EvictReason, LeaseListener, Worth } from "./ConnectionState.ts"

export interface Lease {
  /** What the turn continues, and is remembered as. */
  readonly chain: ChainId
  /** Its connection, for the log. */
  readonly connectionId: number
  readonly reused: boolean
  /** Headers of the upgrade's answer, lower case; of a connection that was there before none, since they were another's. */
  readonly handshake: Readonly<Record<string, string>>
  /** The connection's own scope, for what must live exactly as long as it does. */
  readonly connectionScope: Scope.Scope
  /** Frames that come before the turn listens belong to no turn, and evict the connection. */
  readonly listen: (listener: LeaseListener) => void
  /** Sends one text frame. False: the socket was closed and nothing was written. */
  readonly send: (frame: Uint8Array) => boolean
  readonly pause: () => void
  readonly resume: () => void
  /** The turn is over and the chain idle. */
  readonly complete: (worth: Worth) => void
  /** Nothing was sent: the chain is idle again as it was. */
  readonly release: () => void
  readonly evict: (reason: EvictReason) => void
}
