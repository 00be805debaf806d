/**
 * What a page or a terminal is sent of what goes on: types alone, which both ends share. A frame holds all that changes, so
 * one that is left out for a slow reader is missed by nobody; only turns and minutes are told once.
 */
import type { TurnEntry } from "./TurnEntry.ts"

/** A record of a bounded set of names. */
export type Counts = Readonly<Record<string, number>>

/** Sums since the proxy started: the same that `/metrics` shows. */
export interface Totals {
  readonly turns: number
  /** Of them, how many were sent as a suffix, and how many went over HTTP since no socket could be had. */
  readonly suffix: number
  readonly fallbacks: number
  readonly clientBytes: number
  readonly upstreamBytes: number
  readonly inputTokens: number
  readonly cachedTokens: number
  /** The same of turns after the first of their conversation. */
  readonly followUpInputTokens: number
  readonly followUpCachedTokens: number
  readonly outcomes: Counts
  readonly reasons: Counts
  readonly evictions: Counts
  /** Turns that were handed to another node, by outcome, and how long until they were taken, all together. */
  readonly forwards: Counts
  readonly forwardMs: number
  /** Turns that their owner did not take, by why. */
  readonly takeovers: Counts
}

/** One minute of the last hour. */
export interface Minute {
  /** Its number on the proxy's clock: that of `now` is `Math.floor(now / 60_000)`. */
  readonly minute: number
  readonly turns: number
  readonly suffix: number
  readonly fallbacks: number
  readonly followUpInputTokens: number
  readonly followUpCachedTokens: number
  readonly saved: number
  /** Of the time to the first event, in milliseconds and to within 3 %; undefined: none came. */
  readonly p50: number | undefined
  readonly p95: number | undefined
  readonly evictions: Counts
}

export interface ShownTurn {
  readonly turn: string
  readonly session: string | undefined
  readonly model: string | undefined
  /** How its latest attempt travels; undefined: it is not sent yet. */
  readonly transport: string | undefined
  readonly input: string | undefined
  readonly reason: string | undefined
  readonly connectionId: number | undefined
  readonly events: number
  /** In milliseconds since the request came in. */
  readonly age: number
}

export interface ShownUpstream {
  readonly name: string
  readonly url: string
  readonly transport: string
  readonly models: ReadonlyArray<string>
}

export interface ShownSetting {
  readonly name: string
  /** Of a secret only whether it is set. */
  readonly value: string
  readonly isDefault: boolean
}

interface Row {
  readonly id: number
  readonly upstream: string
  readonly state: "connecting" | "leased" | "idle"
  readonly age?: number | undefined
  readonly session?: string | undefined
  readonly turns: number
}

export interface Frame {
  /** In milliseconds of the proxy's clock, of which only differences mean anything. */
  readonly now: number
  /** In milliseconds since the process started. */
  readonly up: number
  readonly totals: Totals
  /** Gauges as `/metrics` has them, without `respool_`; the states of connections are added, as in `connections_idle`. */
  readonly gauges: Counts
  /** Those that are new or changed since the last frame, the oldest first. */
  readonly minutes: ReadonlyArray<Minute>
  readonly turns: ReadonlyArray<TurnEntry>
  /** The longest first, and no more than `mostRunning`. */
  readonly running: ReadonlyArray<ShownTurn>
  /** One page of the connections that fit the view. */
  readonly connections: {
    readonly from: number
    readonly fitting: number
    readonly rows: ReadonlyArray<Row>
  }
  readonly upstreams: ReadonlyArray<ShownUpstream>
  /** In the first frame alone. */
  readonly settings?: ReadonlyArray<ShownSetting>
}

/** What of the connections a reader wants to see. */
export interface View {
  /** How many of those that fit are passed over. */
  readonly from: number
  /** A state; undefined: all. */
  readonly state?: string | undefined
}

export const mostRunning = 50
export const rowsPerPage = 50
/** So many turns the first frame tells at most, and a later one. */
export const mostTurns = 100
