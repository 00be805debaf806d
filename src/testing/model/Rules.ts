/**
 * Says what a pool promises beyond its caps: times, and which idle connections suit a turn. The model and some checks
 * need it.
 */
import type { Key } from "../schedule/Schedule.ts"

/** An idle connection of the turn's key, as `candidates` sees it. */
export interface IdleConnection {
  readonly id: number
  readonly key: Key
  /** True: it is past its time, and is closed when it is met. */
  readonly expired: boolean
  /** The turn that it remembers; undefined: it holds no conversation. */
  readonly checkpoint: { readonly turn: number; readonly line: number | undefined; readonly order: number } | undefined
}

/** Times in milliseconds of the clock; `Infinity` where the pool has no such limit. */
export interface Rules {
  /** How long a turn waits with `full=wait`. */
  readonly waitFor: number
  readonly connectWithin: number
  readonly idleTtl: number
  /** No turn starts on a connection older than this. */
  readonly maxAge: number
  /** Expired connections are closed at multiples of this; a lease may close them earlier. */
  readonly sweepEvery: number
  /** At a cap, the connection that has been idle longest in the scope (or the line) gives way. */
  readonly makesRoom: boolean
  /** At a cap, a turn takes over what is idle of its key, the longest idle first, before anything is closed. */
  readonly takesOver?: boolean
  /**
   * At the total cap, what has been idle longest in the scope that has most above its share gives way first, to a scope
   * that has no more than its share after that, or nothing before. A share is the cap by the number of scopes that have
   * a connection or ask for one.
   */
  readonly sharesFairly?: boolean
  /** A completed turn's connection remembers it. */
  readonly remembers: boolean
  /** Whether waiting turns are served in the order in which they came; else in any order. */
  readonly fair: boolean
  /**
   * Which of the idle connections of the key (the longest idle first) suit a turn, the best first. One past its time is
   * closed when it is met, one that would take its line over the cap is passed over.
   */
  readonly candidates: (
    idle: ReadonlyArray<IdleConnection>,
    request: { readonly line: number | undefined },
  ) => ReadonlyArray<IdleConnection>
}
