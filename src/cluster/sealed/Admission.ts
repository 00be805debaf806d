/**
 * Reads what other nodes send, and refuses what is not theirs, was taken before, or is more than this node takes.
 */
import { refuse, takenBefore } from "../Refusal.ts"
import type { Label, Sealing } from "./Sealing.ts"
import { labelHeader } from "./Sealing.ts"
import { Sequences } from "./Sequences.ts"

interface Limits {
  readonly maxTurns: number
  /** In bytes, of all bodies together. */
  readonly maxBodies: number
}

interface Read {
  readonly label: Label
  readonly bytes: Uint8Array
  /** What the request holds counts until this is called. */
  readonly over: () => void
}

/** The sealed part of a request is no longer than this, in bytes: headers and a credential, or a question. */
export const maxSealed = 1 << 18

/** Reads exactly so many bytes; undefined: there were fewer or more, or the other side left. */
const readExactly = async (request: Request, size: number): Promise<Uint8Array | undefined> => {
  try {
    // One piece, which is what a node sends unless it is large.
    if (request.headers.has("content-length")) {
      const whole = new Uint8Array(await request.arrayBuffer())
      return whole.length === size ? whole : undefined
    }
    if (request.body === null) return undefined
    const reader = request.body.getReader()
    const bytes = new Uint8Array(size)
    let at = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return at === size ? bytes : undefined
      if (at + value.length > size) return undefined
      bytes.set(value, at)
      at += value.length
    }
  } catch {
    return undefined
  }
}

export class Admission {
  readonly #sealing: Sealing
  readonly #limits: Limits
  readonly #sequences = new Sequences()
  #places = 0
  #held = 0

  constructor(sealing: Sealing, limits: Limits) {
    this.#sealing = sealing
    this.#limits = limits
  }

  /** Reads a request whose body has at most so many bytes, or refuses it. */
  async read(request: Request, maxBody: number): Promise<Read | Response> {
    const sealing = this.#sealing
    const { maxBodies, maxTurns } = this.#limits
    const label = sealing.open(request.headers.get(labelHeader) ?? "")
    if (label === undefined) return refuse(401, "owner_foreign")
    if (label.to !== sealing.bootId) return refuse(409, "owner_restarted")
    if (label.sealed > maxSealed || label.body > maxBody) return refuse(413, "owner_busy")
    const size = label.sealed + label.body
    if (this.#places >= maxTurns || this.#held + size > maxBodies) return refuse(503, "owner_busy")
    if (!this.#sequences.take(label.from, label.sequence)) return refuse(409, takenBefore)
    this.#places++
    this.#held += size
    let isOver = false
    const over = () => {
      if (isOver) return
      isOver = true
      this.#places--
      this.#held -= size
    }
    const bytes = await readExactly(request, size)
    if (bytes !== undefined) return { label, bytes, over }
    over()
    return refuse(400, "owner_foreign")
  }
}
