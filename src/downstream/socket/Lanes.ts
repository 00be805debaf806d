/**
 * Keeps the order of a client socket's turns: one at a time on a lane, as they came; lanes beside each other.
 *
 * The bounds are the API's: 16 turns run at a time, further ones wait, and 32 lanes have a name, which they keep for the
 * connection's life (docs/protocol.md 1.4). What waits on one lane is bounded here, in turns and in bytes.
 */
import type { Outgoing } from "./Outbox.ts"
import { outgoing } from "./Outbox.ts"

const maxRunning = 16
const maxNamed = 32
const maxWaiting = 64

/** One lane, with what waits on it to run, and what waits to be sent. */
export interface Lane<Waiting, Running> {
  /** Undefined: the default lane. */
  readonly streamId: string | undefined
  readonly outgoing: Outgoing
  readonly waiting: Array<Waiting>
  waitingBytes: number
  running: Running | undefined
}

export class Lanes<Waiting extends { readonly bytes: number }, Running> {
  readonly #lanes = new Map<string | undefined, Lane<Waiting, Running>>()
  /** Lanes on which something waits, in the order in which it came. */
  #order: Array<Lane<Waiting, Running>> = []
  #running = 0
  readonly #maxWaitingBytes: number

  /** `maxWaitingBytes`: the most bytes of requests that wait on one lane. */
  constructor(maxWaitingBytes: number) {
    this.#maxWaitingBytes = maxWaitingBytes
  }

  get running(): number {
    return this.#running
  }

  all(): Iterable<Lane<Waiting, Running>> {
    return this.#lanes.values()
  }

  find(streamId: string | undefined): Lane<Waiting, Running> | undefined {
    return this.#lanes.get(streamId)
  }

  /** The lane of a name; undefined: all names are taken. */
  lane(streamId: string | undefined): Lane<Waiting, Running> | undefined {
    const known = this.#lanes.get(streamId)
    if (known !== undefined) return known
    const named = this.#lanes.size - (this.#lanes.has(undefined) ? 1 : 0)
    if (streamId !== undefined && named >= maxNamed) return undefined
    const lane = { streamId, outgoing: outgoing(), waiting: [], waitingBytes: 0, running: undefined }
    this.#lanes.set(streamId, lane)
    return lane
  }

  /** Puts a turn at the end of its lane. False: too much waits there already. */
  wait(lane: Lane<Waiting, Running>, waiting: Waiting): boolean {
    const isFirst = lane.running === undefined && lane.waiting.length === 0
    const bytes = lane.waitingBytes + waiting.bytes
    if (!isFirst && (lane.waiting.length >= maxWaiting || bytes > this.#maxWaitingBytes)) return false
    lane.waiting.push(waiting)
    lane.waitingBytes = bytes
    this.#order.push(lane)
    return true
  }

  /** Takes the turn that is to run next, and counts it as running; undefined: none may. */
  next(): { readonly lane: Lane<Waiting, Running>; readonly waiting: Waiting } | undefined {
    if (this.#running >= maxRunning) return undefined
    const index = this.#order.findIndex(({ running }) => running === undefined)
    const [lane] = index < 0 ? [] : this.#order.splice(index, 1)
    const waiting = lane?.waiting.shift()
    if (lane === undefined || waiting === undefined) return undefined
    lane.waitingBytes -= waiting.bytes
    return { lane, waiting }
  }

  begins(lane: Lane<Waiting, Running>, running: Running) {
    lane.running = running
    this.#running++
  }

  ended(lane: Lane<Waiting, Running>) {
    if (lane.running === undefined) return
    lane.running = undefined
    this.#running--
  }

  /** Takes all that waits. */
  clear(): ReadonlyArray<{ readonly lane: Lane<Waiting, Running>; readonly waiting: Waiting }> {
    this.#order = []
    return [...this.#lanes.values()].flatMap((lane) => {
      lane.waitingBytes = 0
      return lane.waiting.splice(0).map((waiting) => ({ lane, waiting }))
    })
  }
}
