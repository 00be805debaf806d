/**
 * Runs the lanes of one connection: gives each event to the turn whose lane it names, and lets a turn end alone.
 *
 * An event that names a lane which is not in use belongs to no turn, as on any connection. What names none is the
 * connection's own: an error of it ends every turn. A turn whose client is behind lets its own events wait, up to a
 * bound, and the socket only where every other is behind as well.
 */
import { Effect, Exit, Scope } from "effect"
import { isHarmless } from "../../turn/attempt/Binding.ts"
import { laneIn } from "../../turn/attempt/LaneName.ts"
import { eventType, isTerminal } from "../../wire/Event.ts"
import { errorFrameOf } from "../../wire/UpstreamError.ts"
import type { Chain, EvictReason, Lane, LeaseListener, Open, Shared } from "./ConnectionState.ts"
import { drainsOn, fateOf, isBehind } from "./Lanes.ts"

/** What a session's turns share a connection by. */
export interface Sharing {
  /** The upstream is known to have lanes. */
  readonly known: () => boolean
  readonly learned: (hasLanes: boolean) => void
  /** What may wait of one lane whose client is behind, in UTF-16 units. */
  readonly maxWaiting: number
}

/** The connection that the lanes are on. */
export interface Carrier {
  /** Since when no turn has it; undefined: one has. */
  readonly idleSince: () => number | undefined
  /** The upstream has said something in a turn. */
  readonly spoke: () => void
  readonly onStray: (text: string) => void
  readonly evict: (reason: EvictReason, detail: string) => void
  /** The chain is idle again as it was. */
  readonly release: (chain: Chain) => void
  /** The chain can't be continued any more. */
  readonly lost: (chain: Chain) => void
  readonly now: () => number
}

export class SharedTurns {
  readonly #carrier: Carrier
  readonly #open: Open
  readonly #shared: Shared
  readonly #sharing: Sharing

  constructor(open: Open, shared: Shared, sharing: Sharing, carrier: Carrier) {
    this.#open = open
    this.#shared = shared
    this.#sharing = sharing
    this.#carrier = carrier
  }

  onText(text: string) {
    const named = laneIn(text)
    if (named === undefined) return this.#unnamed(text)
    const chain = this.#shared.byName.get(named.name)
    const lane = chain?.lane
    if (chain === undefined || lane === undefined || chain.state._tag === "Idle") return this.#carrier.onStray(text)
    if (!this.#shared.proved) {
      this.#shared.proved = true
      this.#sharing.learned(true)
    }
    if (isTerminal(eventType(named.text) ?? "")) lane.running = false
    if (chain.state._tag === "Draining") return this.#drained(chain, lane, text)
    this.#carrier.spoke()
    if (lane.waiting === undefined) chain.state.listener.onText(named.text)
    else this.#waits(chain, lane, lane.waiting, chain.state.listener, named.text)
  }

  /** The turn's client is behind. */
  pause(lane: Lane) {
    lane.waiting ??= []
    flow(this.#open)
  }

  /** The turn's client has caught up: it gets what has come since. */
  resume(chain: Chain, lane: Lane) {
    const { state } = chain
    const texts = lane.waiting ?? []
    lane.waiting = undefined
    lane.size = 0
    for (const [index, text] of texts.entries()) {
      if (chain.state !== state || state._tag !== "Leased") return
      if (isWaiting(lane)) {
        lane.waiting = texts.slice(index)
        lane.size = lane.waiting.reduce((sum, { length }) => sum + length, 0)
        return
      }
      state.listener.onText(text)
    }
    flow(this.#open)
  }

  /** A turn gives its lane up. */
  ends(chain: Chain, lane: Lane, reason: EvictReason, detail: string) {
    const fate = fateOf(this.#open, chain, lane, reason)
    if (fate === "evict") return this.#carrier.evict(reason, detail)
    if (fate === "idle") return this.#carrier.release(chain)
    lane.waiting = undefined
    lane.size = 0
    chain.state = { _tag: "Draining", since: this.#carrier.now() }
    if (fate === "gone") this.#forget(chain, lane)
    flow(this.#open)
    closeNow(chain.scope)
    this.#carrier.lost(chain)
    this.retire()
  }

  /** Lets no turn begin any more where the upstream does not finish one that is gone. */
  retire() {
    const now = this.#carrier.now()
    this.#shared.retired = !this.#open.chains.every((chain) => drainsOn(chain, now))
    if (this.#shared.retired && this.#carrier.idleSince() !== undefined) {
      this.#carrier.evict("cancelled", "the upstream goes on with a turn that is gone")
    }
  }

  /** What names no lane is the connection's, or of an upstream that has no lanes. */
  #unnamed(text: string) {
    const { opened, proved } = this.#shared
    const type = eventType(text)
    if (type === undefined) return this.#notAnEvent(text)
    const leased = this.#open.chains.flatMap(({ state }) => (state._tag === "Leased" ? [state.listener] : []))
    const [only] = leased
    if (isHarmless(type) || only === undefined) return this.#carrier.onStray(text)
    if (type !== "error" && (proved || opened > 1)) return this.#carrier.onStray(text)
    this.#carrier.spoke()
    if (type !== "error") {
      this.#sharing.learned(false)
      this.#open.shared = undefined
      return only.onText(text)
    }
    for (const listener of leased) listener.onText(text)
    this.#carrier.evict("failed", "the upstream sent an error that is no lane's")
  }

  /** Some upstreams refuse a name with an object that is no event. */
  #notAnEvent(text: string) {
    const refusal = this.#shared.proved ? undefined : errorFrameOf(text, parsed(text), true)
    if (refusal !== undefined) this.#unnamed(refusal)
    else this.#carrier.evict("protocol", "the upstream sent a frame that is not an event")
  }

  #waits(chain: Chain, lane: Lane, waiting: Array<string>, listener: LeaseListener, text: string) {
    waiting.push(text)
    lane.size += text.length
    if (lane.size <= this.#sharing.maxWaiting) return
    const detail = "the client takes its answer too slowly for those who share the connection"
    this.ends(chain, lane, "slow_client", detail)
    // Where the whole connection had to end, the turn has been told.
    if (chain.state._tag !== "Leased") listener.onLost("slow_client", detail)
  }

  #drained(chain: Chain, lane: Lane, text: string) {
    lane.size += text.length
    if (!lane.running) this.#forget(chain, lane)
    this.retire()
  }

  /** The upstream is done with the lane: an event that still names it belongs to no turn. */
  #forget(chain: Chain, lane: Lane) {
    this.#shared.byName.delete(lane.name)
    this.#open.chains.splice(this.#open.chains.indexOf(chain), 1)
  }
}

export const closeNow = (scope: Scope.Closeable) => {
  const closing = Scope.closeUnsafe(scope, Exit.void)
  if (closing !== undefined) Effect.runFork(closing)
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// Read anew, since a turn's listener may have changed it.
const isWaiting = ({ waiting }: Lane): boolean => waiting !== undefined

/** Reads the socket, or does not, as its lanes need it. */
export const flow = (open: Open) => {
  if (isBehind(open)) pause(open)
  else resume(open)
}

export const pause = (open: Open) => {
  if (open.paused) return
  open.paused = true
  open.socket.pause()
}

export const resume = (open: Open) => {
  if (!open.paused) return
  open.paused = false
  open.alive = true
  open.socket.resume()
}
