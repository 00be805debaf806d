/**
 * One upstream WebSocket, owned by one `Scope`, with its state.
 *
 * The reader runs always, idle too: it notices a close at once, and evicts the connection on a frame that nobody owns.
 * Closing the scope terminates the socket; there is no other way to end one.
 */
import { Effect, Exit, Scope } from "effect"
import type { Affinity } from "./Affinity.ts"
import type { Chain, ConnectionState, EvictReason, LeaseListener } from "./ConnectionState.ts"
import type { Socket, SocketHandlers } from "../dialer/Dialer.ts"
import type { Lease } from "./Lease.ts"

/** What the pool hears, synchronously, when a state changes. */
export interface ConnectionOwner {
  readonly now: () => number
  readonly onIdle: (connection: Connection) => void
  readonly onEvicted: (connection: Connection, reason: EvictReason) => void
}

/** Stands in until the turn listens: whatever comes then belongs to nobody. */
const nobody = (connection: Connection): LeaseListener => ({
  onText: () => connection.evict("unsolicited", "a frame came before the turn had sent its request"),
  onLost: () => {},
})

export class Connection implements SocketHandlers {
  state: ConnectionState = { _tag: "Connecting" }
  /** A sign of life since the last ping: a frame, a pong, or progress of an upload. */
  alive = true
  session: string | undefined
  /** What its conversation was worth when it was last idle. */
  chain: Chain = "none"
  /** Set when the socket is open, in milliseconds of the clock. */
  openedAt = 0
  paused = false
  #silentPings = 0
  #buffered = 0
  #tokens = 0
  #socket: Socket | undefined
  readonly id: number
  readonly affinity: Affinity
  readonly scope: Scope.Closeable
  readonly #owner: ConnectionOwner

  constructor(id: number, affinity: Affinity, scope: Scope.Closeable, owner: ConnectionOwner) {
    this.id = id
    this.affinity = affinity
    this.scope = scope
    this.#owner = owner
  }

  onText(text: string) {
    this.alive = true
    const { state } = this
    if (state._tag === "Leased") state.listener.onText(text)
    else this.evict("unsolicited", "a frame came that belongs to no turn")
  }

  onBinary() {
    this.evict("protocol", "the upstream sent a binary frame")
  }

  onAlive() {
    this.alive = true
  }

  onViolation() {
    this.evict("protocol", "the upstream broke the WebSocket protocol")
  }

  onOverflow() {
    this.evict("overflow", "the upstream sent a message over the limit")
  }

  // The peer's reason may repeat what it was sent, and errors are logged.
  onClose(code: number) {
    this.evict(code === 1009 ? "message_too_big" : "closed", `the upstream closed the connection (${code})`)
  }

  opened(socket: Socket) {
    this.#socket = socket
    this.openedAt = this.#owner.now()
  }

  /** Leased, in the same step in which it was chosen. */
  lease(reused: boolean, session: string | undefined): Lease {
    const token = ++this.#tokens
    this.session = session
    this.state = { _tag: "Leased", token, listener: nobody(this) }
    const mine = () => (this.state._tag === "Leased" && this.state.token === token ? this.state : undefined)
    return {
      connectionId: this.id,
      reused,
      connectionScope: this.scope,
      handshake: reused ? {} : (this.#socket?.handshake.headers ?? {}),
      listen: (listener) => {
        const state = mine()
        if (state !== undefined) this.state = { ...state, listener }
      },
      send: (frame) => mine() !== undefined && this.#socket?.send(frame) === true,
      pause: () => {
        if (mine() !== undefined) this.#pause()
      },
      resume: () => {
        if (mine() !== undefined) this.#resume()
      },
      complete: (next) => {
        if (mine() !== undefined) this.#idle(next)
      },
      release: () => {
        if (mine() !== undefined) this.#idle(this.chain)
      },
      evict: (reason) => {
        if (mine() !== undefined) this.evict(reason, "")
      },
    }
  }

  /**
   * Ends the connection. The state changes first, so nobody can lease it any more; the turn that held it hears of it;
   * the scope's finalizers terminate the socket and forget what was remembered.
   */
  evict(reason: EvictReason, detail: string) {
    const state = this.state
    if (state._tag === "Evicted") return
    this.state = { _tag: "Evicted", reason }
    this.#owner.onEvicted(this, reason)
    if (state._tag === "Leased") state.listener.onLost(reason, detail)
    const closing = Scope.closeUnsafe(this.scope, Exit.void)
    if (closing !== undefined) Effect.runFork(closing)
  }

  /**
   * Called every half ping interval: asks for a sign of life, and evicts when five calls in a row saw none, which is
   * the design's two and a half intervals. A paused socket can't show any.
   */
  heartbeat(beat: number) {
    const buffered = this.#socket?.bufferedAmount() ?? 0
    if (this.alive || this.paused || buffered < this.#buffered) this.#silentPings = 0
    else this.#silentPings++
    this.alive = false
    this.#buffered = buffered
    if (this.#silentPings >= 5) this.evict("ping_timeout", "the upstream answered no ping")
    else if (beat % 2 === 0) this.#socket?.ping()
  }

  #idle(chain: Chain) {
    this.#resume()
    this.chain = chain
    this.state = { _tag: "Idle", since: this.#owner.now() }
    this.#owner.onIdle(this)
  }

  #pause() {
    if (this.paused) return
    this.paused = true
    this.#socket?.pause()
  }

  #resume() {
    if (!this.paused) return
    this.paused = false
    this.alive = true
    this.#socket?.resume()
  }
}
