/**
 * One upstream WebSocket, owned by one `Scope`, with its state.
 *
 * It reads always, while it is idle too: it notices a close at once, and is evicted on a frame that belongs to no turn.
 * Closing the scope terminates the socket; there is no other way to end a connection.
 */
import { Effect, Exit, Scope } from "effect"
import { isHarmless, kindOf } from "../../turn/attempt/Binding.ts"
import { EndedTurns } from "../../turn/attempt/EndedTurns.ts"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import { eventType } from "../../wire/Event.ts"
import type { Socket, SocketHandlers } from "../dialer/Dialer.ts"
import type { Affinity } from "./Affinity.ts"
import type { Chain, ConnectionState, EvictReason, Idle, LeaseListener, Open, Worth } from "./ConnectionState.ts"
import type { Lease } from "./Lease.ts"

export interface Eviction {
  readonly reason: EvictReason
  /** For the log, in words of respool's; may be empty. */
  readonly detail: string
}

/** What the roster hears, synchronously, when the state changes. */
export interface ConnectionHooks {
  readonly now: () => number
  /** A chain begins on the connection; the answer is its id. */
  readonly onChain: (connection: Connection) => ChainId
  readonly onIdle: (connection: Connection) => void
  /** `chains` are those that were on the connection. */
  readonly onEvicted: (connection: Connection, eviction: Eviction, chains: ReadonlyArray<Chain>) => void
}

/** Listens until the turn does: a frame that comes before belongs to no turn. */
const noTurn = (connection: Connection): LeaseListener => ({
  onText: (text) => connection.onStray(text),
  onLost: () => {},
})

/** So many looks in a row that see no sign of life end a connection: two and a half ping intervals. */
const maxSilentLooks = 5

export class Connection implements SocketHandlers {
  state: ConnectionState = { _tag: "Connecting" }
  session: string | undefined
  /** Whether the upstream has said anything in a turn. */
  spoke = false
  readonly id: number
  readonly affinity: Affinity
  readonly scope: Scope.Closeable
  readonly #hooks: ConnectionHooks

  constructor(id: number, affinity: Affinity, scope: Scope.Closeable, hooks: ConnectionHooks) {
    this.id = id
    this.affinity = affinity
    this.scope = scope
    this.#hooks = hooks
  }

  /** The chain, if it is idle; undefined: the connection is connecting, leased or evicted. */
  get idle(): (Chain & { readonly state: Idle }) | undefined {
    const chain = this.state._tag === "Open" ? this.state.chains[0] : undefined
    return chain?.state._tag === "Idle" ? (chain as Chain & { readonly state: Idle }) : undefined
  }

  onText(text: string) {
    const { state } = this
    if (state._tag === "Open") {
      state.alive = true
      const held = state.chains[0].state
      if (held._tag === "Leased") {
        this.spoke = true
        return held.listener.onText(text)
      }
    }
    this.onStray(text)
  }

  /** A frame that belongs to no turn; some kinds say nothing about one, and may come at any time. */
  onStray(text: string) {
    const type = eventType(text)
    if (type !== undefined && isHarmless(type)) return
    this.evict("unsolicited", `a frame came that belongs to no turn (${kindOf(type)})`)
  }

  onBinary() {
    this.evict("protocol", "the upstream sent a binary frame")
  }

  onAlive() {
    if (this.state._tag === "Open") this.state.alive = true
  }

  onViolation() {
    this.evict("protocol", "the upstream broke the WebSocket protocol")
  }

  onOverflow() {
    this.evict("overflow", "the upstream sent a message over the limit")
  }

  // The peer's reason is left out: it may repeat what it was sent, and errors are logged.
  onClose(code: number) {
    this.evict(closes.get(code) ?? "closed", `the upstream closed the connection (${code})`)
  }

  /** The dial has succeeded; the turn that it was for gets the lease in the same step. */
  opened(socket: Socket): Lease {
    const chain: Chain = {
      id: this.#hooks.onChain(this),
      state: { _tag: "Idle", since: this.#hooks.now() },
      worth: "none",
      leases: 0,
      ended: new EndedTurns(),
    }
    const state: Open = {
      _tag: "Open",
      socket,
      openedAt: this.#hooks.now(),
      chains: [chain],
      alive: true,
      silentLooks: 0,
      buffered: 0,
      paused: false,
    }
    this.state = state
    return this.#lease(state, chain, socket.handshake.headers)
  }

  /** Leases the connection again, in the step in which it was chosen; undefined: it is not idle. */
  lease(session: string | undefined): Lease | undefined {
    const { idle, state } = this
    if (idle === undefined || state._tag !== "Open") return undefined
    this.session = session
    return this.#lease(state, idle, undefined)
  }

  /** `handshake`: headers of the upgrade's answer, which belong to the first turn alone. */
  #lease(open: Open, chain: Chain, handshake: Readonly<Record<string, string>> | undefined): Lease {
    const token = ++chain.leases
    chain.state = { _tag: "Leased", token, listener: noTurn(this) }
    const isMine = () => this.state === open && chain.state._tag === "Leased" && chain.state.token === token
    return {
      chain: chain.id,
      connectionId: this.id,
      reused: handshake === undefined,
      connectionScope: this.scope,
      ended: chain.ended,
      handshake: handshake ?? {},
      listen: (listener) => {
        if (isMine()) chain.state = { _tag: "Leased", token, listener }
      },
      send: (frame) => isMine() && open.socket.send(frame),
      pause: () => {
        if (isMine()) pause(open)
      },
      resume: () => {
        if (isMine()) resume(open)
      },
      complete: (worth) => {
        if (isMine()) this.#idle(open, chain, worth)
      },
      release: () => {
        if (isMine()) this.#idle(open, chain, chain.worth)
      },
      evict: (reason, detail = "") => {
        if (isMine()) this.evict(reason, detail)
      },
    }
  }

  /**
   * Ends the connection. The state changes first, so that no turn can lease it any more; then the turn that held it is
   * told; then the scope's finalizers terminate the socket and forget what was remembered.
   */
  evict(reason: EvictReason, detail: string) {
    const { state } = this
    if (state._tag === "Evicted") return
    this.state = { _tag: "Evicted", reason }
    const chains = state._tag === "Open" ? state.chains : []
    this.#hooks.onEvicted(this, { reason, detail }, chains)
    for (const { state: held } of chains) if (held._tag === "Leased") held.listener.onLost(reason, detail)
    const closing = Scope.closeUnsafe(this.scope, Exit.void)
    if (closing !== undefined) Effect.runFork(closing)
  }

  /** Called every half ping interval: asks for a sign of life, and evicts when too many looks in a row saw none. */
  heartbeat(beat: number) {
    const { state } = this
    if (state._tag !== "Open") return
    const buffered = state.socket.bufferedAmount()
    // A paused socket is not read, so it can't show a sign of life.
    if (state.alive || state.paused || buffered < state.buffered) state.silentLooks = 0
    else state.silentLooks++
    state.alive = false
    state.buffered = buffered
    if (state.silentLooks >= maxSilentLooks) this.evict("ping_timeout", "the upstream answered no ping")
    else if (beat % 2 === 0) state.socket.ping()
  }

  #idle(open: Open, chain: Chain, worth: Worth) {
    resume(open)
    chain.worth = worth
    chain.state = { _tag: "Idle", since: this.#hooks.now() }
    this.#hooks.onIdle(this)
  }
}

/** What a code of a close frame means for the turn (RFC 6455, section 7.4.1). */
const closes: ReadonlyMap<number, EvictReason> = new Map([
  [1003, "policy_close"],
  [1008, "policy_close"],
  [1009, "message_too_big"],
])

const pause = (open: Open) => {
  if (open.paused) return
  open.paused = true
  open.socket.pause()
}

const resume = (open: Open) => {
  if (!open.paused) return
  open.paused = false
  open.alive = true
  open.socket.resume()
}
