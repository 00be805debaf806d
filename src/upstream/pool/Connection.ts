/**
 * One upstream WebSocket, owned by one `Scope`, with its state.
 *
 * It reads always, while it is idle too: it notices a close at once, and is evicted on a frame that belongs to no turn.
 * Closing the scope terminates the socket; there is no other way to end a connection.
 */
import { Scope } from "effect"
import { isHarmless, kindOf } from "../../turn/attempt/Binding.ts"
import { EndedTurns } from "../../turn/attempt/EndedTurns.ts"
import type { ChainId } from "../../turn/memory/TurnMemory.ts"
import { eventType } from "../../wire/Event.ts"
import type { Socket, SocketHandlers } from "../dialer/Dialer.ts"
import type { Affinity } from "./Affinity.ts"
import type { Chain, ConnectionState, EvictReason, LeaseListener, Open, Worth } from "./ConnectionState.ts"
import { counted, hasRoom, makeShared, nextLane } from "./Lanes.ts"
import type { Beginning, Lease } from "./Lease.ts"
import type { Carrier, Sharing } from "./SharedTurns.ts"
import { closeNow, flow, pause, resume, SharedTurns } from "./SharedTurns.ts"

export interface Eviction {
  readonly reason: EvictReason
  /** For the log, in words of respool's; may be empty. */
  readonly detail: string
}

/** What the roster hears, synchronously, when the state changes. */
export interface ConnectionHooks {
  readonly now: () => number
  readonly nextChain: () => ChainId
  readonly onChain: (connection: Connection, chain: Chain) => void
  readonly onIdle: (connection: Connection, chain: Chain) => void
  /** The chain can't be continued any more, though the connection goes on. */
  readonly onChainGone: (connection: Connection, chain: Chain) => void
  /** Undefined: turns do not share the connection. */
  readonly sharing: Sharing | undefined
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
  /** Of a connection that turns share. */
  #turns: SharedTurns | undefined

  constructor(id: number, affinity: Affinity, scope: Scope.Closeable, hooks: ConnectionHooks) {
    this.id = id
    this.affinity = affinity
    this.scope = scope
    this.#hooks = hooks
  }

  /** Since when no turn has it, in milliseconds of `ageOf`; undefined: it is connecting, leased or evicted. */
  get idleSince(): number | undefined {
    if (this.state._tag !== "Open") return undefined
    let latest: number | undefined
    for (const { state } of this.state.chains) {
      if (state._tag === "Leased") return undefined
      latest = Math.max(latest ?? state.since, state.since)
    }
    return latest
  }

  /** Whether turns of its session share it. */
  get isShared(): boolean {
    return this.state._tag === "Open" && this.state.shared !== undefined
  }

  onText(text: string) {
    const { state } = this
    if (state._tag === "Open") {
      state.alive = true
      if (state.shared !== undefined) return this.#turns?.onText(text)
      const held = state.chains[0]?.state
      if (held?._tag === "Leased") {
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
  opened(socket: Socket, dialMs: number): Lease {
    const { now, sharing } = this.#hooks
    const state: Open = {
      _tag: "Open",
      socket,
      openedAt: now(),
      chains: [],
      shared: sharing === undefined ? undefined : makeShared(sharing.known()),
      alive: true,
      silentLooks: 0,
      buffered: 0,
      paused: false,
    }
    this.state = state
    if (sharing !== undefined && state.shared !== undefined) {
      this.#turns = new SharedTurns(state, state.shared, sharing, this.#carrier(state))
    }
    return this.#lease(state, this.#begin(state), { handshake: socket.handshake.headers, dialMs })
  }

  /** Leases one of its chains again, in the step in which it was chosen; undefined: that is not idle. */
  lease(chain: Chain, session: string | undefined): Lease | undefined {
    const { state } = this
    if (chain.state._tag !== "Idle" || state._tag !== "Open") return undefined
    this.session = session
    return this.#lease(state, chain, {})
  }

  /** Leases one lane more; undefined: there is no room for it. `source`: the chain that it begins from. */
  leaseLane(source: ChainId | undefined): Lease | undefined {
    const { state } = this
    if (state._tag !== "Open" || !hasRoom(state)) return undefined
    return this.#lease(state, this.#begin(state), { source })
  }

  #carrier(open: Open): Carrier {
    return {
      idleSince: () => this.idleSince,
      spoke: () => {
        this.spoke = true
      },
      onStray: (text) => this.onStray(text),
      evict: (reason, detail) => this.evict(reason, detail),
      release: (chain) => this.#idle(open, chain, chain.worth),
      lost: (chain) => this.#hooks.onChainGone(this, chain),
      now: this.#hooks.now,
    }
  }

  #begin(open: Open): Chain {
    const lane = open.shared === undefined ? undefined : nextLane(open.shared)
    const chain: Chain = {
      id: this.#hooks.nextChain(),
      scope: lane === undefined ? this.scope : Scope.forkUnsafe(this.scope),
      lane,
      state: { _tag: "Idle", since: this.#hooks.now() },
      worth: "none",
      turns: 0,
      leases: 0,
      ended: new EndedTurns(),
    }
    open.chains.push(chain)
    if (lane !== undefined) open.shared?.byName.set(lane.name, chain)
    this.#hooks.onChain(this, chain)
    return chain
  }

  /** `handshake`: headers of the upgrade's answer, which belong to the first turn alone. */
  #lease(open: Open, chain: Chain, { dialMs, handshake, source }: Beginning): Lease {
    const token = ++chain.leases
    chain.state = { _tag: "Leased", token, listener: noTurn(this) }
    if (chain.lane !== undefined) chain.lane.sent = false
    // It must not wait for turns whose clients are behind.
    flow(open)
    const isMine = () => this.state === open && chain.state._tag === "Leased" && chain.state.token === token
    /** Undefined: the turn has the connection for itself, maybe because the upstream turned out to have no lanes. */
    const laneNow = () => (open.shared === undefined ? undefined : chain.lane)
    return {
      chain: chain.id,
      connectionId: this.id,
      reused: handshake === undefined,
      dialMs,
      isNew: token === 1,
      chainScope: chain.scope,
      lane: laneNow()?.name,
      source,
      ended: chain.ended,
      handshake: handshake ?? {},
      listen: (listener) => {
        if (isMine()) chain.state = { _tag: "Leased", token, listener }
      },
      send: (frame) => {
        if (!isMine()) return false
        if (chain.lane !== undefined) chain.lane.sent = chain.lane.running = true
        return open.socket.send(frame)
      },
      pause: () => {
        const lane = laneNow()
        if (!isMine()) return
        if (lane === undefined) pause(open)
        else this.#turns?.pause(lane)
      },
      resume: () => {
        const lane = laneNow()
        if (!isMine()) return
        if (lane === undefined) resume(open)
        else this.#turns?.resume(chain, lane)
      },
      noLanes: () => this.#hooks.sharing?.learned(false),
      complete: (worth) => {
        if (isMine()) this.#idle(open, counted(chain, worth), worth)
      },
      release: () => {
        if (isMine()) this.#idle(open, chain, chain.worth)
      },
      evict: (reason, detail = "") => {
        const lane = laneNow()
        if (!isMine()) return
        if (lane === undefined) this.evict(reason, detail)
        else this.#turns?.ends(chain, lane, reason, detail)
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
    closeNow(this.scope)
  }

  /** Called every half ping interval: asks for a sign of life, and evicts when too many looks in a row saw none. */
  heartbeat(beat: number) {
    const { state } = this
    if (state._tag !== "Open") return
    if (state.shared !== undefined) this.#turns?.retire()
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
    chain.worth = worth
    chain.state = { _tag: "Idle", since: this.#hooks.now() }
    if (chain.lane !== undefined) chain.lane.waiting = undefined
    flow(open)
    this.#hooks.onIdle(this, chain)
    if (this.state === open && open.shared !== undefined) this.#turns?.retire()
  }
}

/** What a code of a close frame means for the turn (RFC 6455, section 7.4.1). */
const closes: ReadonlyMap<number, EvictReason> = new Map([
  [1003, "policy_close"],
  [1008, "policy_close"],
  [1009, "message_too_big"],
])
