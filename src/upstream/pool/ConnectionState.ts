/**
 * The states of an upstream connection and the named reasons why one ends (design.md 3, "Connection states").
 *
 * | from | event | to |
 * |---|---|---|
 * | – | lease, none fits, capacity reserved | Connecting |
 * | Connecting | open / fails or is interrupted | Leased / Evicted |
 * | Leased | completed, or released unharmed | Idle |
 * | Leased | any other end | Evicted |
 * | Idle | lease, young enough | Leased |
 * | Idle | ttl, age, capacity, revoked scope, unowned frame, peer closed, shutdown | Evicted |
 */
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
  | "affinity"
  | "unsolicited"
  | "closed"
  | "message_too_big"
  | "ping_timeout"
  | "dial_failed"
  | "shutdown"

/**
 * What a connection's conversation is worth: `none` nothing to continue, `once` one turn that nobody has continued yet,
 * `continued` a line that is in use.
 */
export type Chain = "none" | "once" | "continued"

/** What the turn hears of its connection, from the socket's own callbacks. */
export interface LeaseListener {
  readonly onText: (text: string) => void
  /** The connection is gone under the turn; nothing follows. */
  readonly onLost: (reason: EvictReason, detail: string) => void
}

export type ConnectionState =
  | { readonly _tag: "Connecting" }
  | { readonly _tag: "Leased"; readonly token: number; readonly listener: LeaseListener }
  | { readonly _tag: "Idle"; readonly since: number }
  | { readonly _tag: "Evicted"; readonly reason: EvictReason }
