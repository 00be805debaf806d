/**
 * The states of an upstream connection and the named reasons why one ends (docs/life-of-a-turn.md, Connection states).
 *
 * | from | event | to |
 * |---|---|---|
 * | – | lease, none fits, capacity reserved | Connecting |
 * | Connecting | open / fails or is interrupted | Open, its chain leased / Evicted |
 * | Open, leased | completed, or released unharmed | Open, idle |
 * | Open, leased | any other end | Evicted |
 * | Open, idle | lease, young enough | Open, leased |
 * | Open, idle | ttl, age, capacity, scope revoked, upstream replaced, credential refused, unowned frame, peer closed, shutdown | Evicted |
 */
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import type { Socket } from "../dialer/Dialer.ts"

export type EvictReason =
  | "cancelled"
  | "failed"
  | "timeout"
  | "overflow"
  | "slow_client"
  | "protocol"
  | "idle"
  | "age"
  | "capacity"
  | "revoked"
  | "replaced"
  | "credential_refused"
  | "unsolicited"
  | "closed"
  | "message_too_big"
  | "ping_timeout"
  | "dial_failed"
  | "shutdown"

/**
 * What a chain's conversation is worth: `none` nothing to continue, `once` one turn that nothing has continued yet,
 * `continued` a conversation that is in use.
 */
export type Worth = "none" | "once" | "continued"

/** What the turn hears of its connection, from the socket's own callbacks. */
export interface LeaseListener {
  readonly onText: (text: string) => void
  /** The connection is gone under the turn; nothing follows. */
  readonly onLost: (reason: EvictReason, detail: string) => void
}

interface Leased {
  readonly _tag: "Leased"
  /** Only the lease that has it may end it. */
  readonly token: number
  readonly listener: LeaseListener
}

export interface Idle {
  readonly _tag: "Idle"
  /** In milliseconds of the clock. */
  readonly since: number
}

/** Responses that continue each other on one connection: the unit of lease and memory. */
export interface Chain {
  readonly id: ChainId
  state: Leased | Idle
  /** When it was last idle. */
  worth: Worth
  /** How often it was leased; the latest lease has this as its token. */
  leases: number
}

export interface Open {
  readonly _tag: "Open"
  readonly socket: Socket
  /** In milliseconds of the clock. */
  readonly openedAt: number
  /** One, until turns share a socket as lanes. A list and not a map, since every frame looks its chain up. */
  readonly chains: readonly [Chain]
  /** A sign of life since the last ping: a frame, a pong, or progress of an upload. */
  alive: boolean
  /** Consecutive looks that saw no sign of life. */
  silentLooks: number
  /** Bytes that waited to be sent at the last look. */
  buffered: number
  /** The upstream is made to wait. */
  paused: boolean
}

export type ConnectionState =
  | { readonly _tag: "Connecting" }
  | Open
  | { readonly _tag: "Evicted"; readonly reason: EvictReason }
