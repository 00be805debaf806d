/**
 * The states of an upstream connection and the named reasons why one ends (docs/life-of-a-turn.md, Connection states).
 *
 * | from | event | to |
 * |---|---|---|
 * | – | lease, none fits, capacity reserved | Connecting |
 * | Connecting | open / fails or is interrupted | Open, its chain leased / Evicted |
 * | Open, leased | completed, or released unharmed | Open, idle |
 * | Open, leased | completed by an upstream whose ids don't tell its turns apart; any other end | Evicted |
 * | Open, idle | lease, young enough | Open, leased |
 * | Open, idle | ttl, age, capacity, scope revoked, upstream replaced, credential refused, frame of no turn, peer closed, shutdown | Evicted |
 */
import type { EndedTurns } from "../../turn/attempt/EndedTurns.ts"
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
  | "single_use"
  | "closed"
  | "policy_close"
  | "message_too_big"
  | "ping_timeout"
  | "dial_failed"
  | "shutdown"

/**
 * What a chain's conversation is worth. `none`: there is nothing to continue. `once`: it has one turn, which none has
 * continued yet. `continued`: the conversation is in use.
 */
export type Worth = "none" | "once" | "continued"

/** What the turn hears of its connection, from the socket's own callbacks. */
export interface LeaseListener {
  readonly onText: (text: string) => void
  /** The connection ended while the turn was using it; no call follows. */
  readonly onLost: (reason: EvictReason, detail: string) => void
}

interface Leased {
  readonly _tag: "Leased"
  /** Only the lease with this token may end the use of the chain. */
  readonly token: number
  readonly listener: LeaseListener
}

export interface Idle {
  readonly _tag: "Idle"
  /** When the chain became idle, in milliseconds of `ageOf`. */
  readonly since: number
}

/** Responses that continue each other on one connection: the unit of lease and memory. */
export interface Chain {
  readonly id: ChainId
  state: Leased | Idle
  /** As it was when the chain was last idle. */
  worth: Worth
  /** How often it was leased; the latest lease has this as its token. */
  leases: number
  /** So that a late frame of theirs is known. */
  readonly ended: EndedTurns
}

export interface Open {
  readonly _tag: "Open"
  readonly socket: Socket
  /** In milliseconds of `ageOf`. */
  readonly openedAt: number
  /** A connection has one chain. A list, since every frame looks its chain up and an index is the cheapest way. */
  readonly chains: readonly [Chain]
  /** Whether there was a sign of life since the last look: a frame, a ping or a pong. */
  alive: boolean
  /** How many looks in a row saw no sign of life. */
  silentLooks: number
  /** How many bytes waited to be sent at the last look; fewer now are a sign of life. */
  buffered: number
  /** Whether the socket is not read, so that the upstream has to wait. */
  paused: boolean
}

export type ConnectionState =
  | { readonly _tag: "Connecting" }
  | Open
  | { readonly _tag: "Evicted"; readonly reason: EvictReason }
