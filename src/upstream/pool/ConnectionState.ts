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
 *
 * Where turns share a connection each has a lane, and a lane that ends badly leaves alone and not with the connection:
 *
 * | a lane | event | to |
 * |---|---|---|
 * | leased | its last event has come, or nothing was sent | gone, or idle as it was |
 * | leased | cancelled, too slow or timed out, while another is leased or remembers something | draining: not heard until its last event, for 30 s and 4 MiB |
 * | draining | its last event | gone |
 * | draining | its time or its bytes are over | evicted with the connection, once no lane is leased |
 */
import type { Scope } from "effect"
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

interface Idle {
  readonly _tag: "Idle"
  /** When the chain became idle, in milliseconds of `ageOf`. */
  readonly since: number
}

/** The turn is gone, and the upstream goes on with it: it has no way to be told (docs/protocol.md 1.2). */
interface Draining {
  readonly _tag: "Draining"
  /** In milliseconds of `ageOf`. */
  readonly since: number
}

/** What a chain has where others are on its connection. */
export interface Lane {
  /** The `stream_id`; another chain of the connection never has it. */
  readonly name: string
  /** Something of the lease's was sent. */
  sent: boolean
  /** The last event to what was sent has not come. */
  running: boolean
  /** What has come since the turn's client is behind; undefined: it is not. */
  waiting: Array<string> | undefined
  /** In UTF-16 units: of what waits, or of what has come since the turn is gone. */
  size: number
}

/** Responses that continue each other on one connection: the unit of lease and memory. */
export interface Chain {
  readonly id: ChainId
  /** For what must live as long as the chain: the connection's own scope, or one below it. */
  readonly scope: Scope.Closeable
  /** Undefined: it has the connection for itself. */
  readonly lane: Lane | undefined
  state: Leased | Idle | Draining
  /** As it was when the chain was last idle. */
  worth: Worth
  /** How many turns its conversation has, as far as it has gone on here. */
  turns: number
  /** How often it was leased; the latest lease has this as its token. */
  leases: number
  /** So that a late frame of theirs is known. */
  readonly ended: EndedTurns
}

/** What the lanes of a connection have in common. */
export interface Shared {
  /** The chains whose lane may still be named by an event, by its name. */
  readonly byName: Map<string, Chain>
  /** How many lanes there have been. */
  opened: number
  /** The upstream is known to name lanes in its events; until then there is only one. */
  proved: boolean
  /** No turn may begin any more, and the connection ends with the last that runs. */
  retired: boolean
}

export interface Open {
  readonly _tag: "Open"
  readonly socket: Socket
  /** In milliseconds of `ageOf`. */
  readonly openedAt: number
  /** One, or one for each lane. A list, since every frame looks its chain up and an index is the cheapest way. */
  readonly chains: Array<Chain>
  /** Undefined: turns do not share the connection. */
  shared: Shared | undefined
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
