/**
 * Remembers how request bodies began, so that a turn does not pay for its whole history.
 *
 * A client sends the bytes of its last request again and goes on behind them. What they mean is known: where the members
 * lie, and which prefix the items make. So it is enough to see that they are the same bytes, and to read on from there.
 * Of a body there is kept its length and tags over its bytes, none of its text; an entry lives as long as its owner. What
 * a turn adds to a long head gets a tag of its own, so the head itself is read only once a turn. Bytes that differ are no
 * head of anything, and the body is read item by item.
 *
 * The tag is GMAC's (NIST SP 800-38D), a polynomial hash under a secret key, ten times as fast as SHA-256. Its one nonce
 * is safe because no tag is ever shown: whoever does not know the key makes two different heads of 64 MiB with one tag by
 * a chance of 2^-106.
 */
import { createCipheriv, randomBytes } from "node:crypto"
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { BodyHead, RequestBody } from "../../wire/RequestBody.ts"
import { headOf } from "../../wire/RequestBody.ts"
import type { Prefix } from "./Lineage.ts"

/** A head that a body was found to begin with. */
export interface KnownHead {
  readonly head: BodyHead
  /** Of the items in the head. */
  readonly prefix: Prefix
  /** Consecutive pieces of the head's bytes, from the first to the last. */
  readonly pieces: ReadonlyArray<Piece>
}

export interface Piece {
  /** Behind the piece's last byte. */
  readonly end: number
  readonly tag: string
}

interface Entry extends KnownHead {
  readonly owner: number
  readonly line: string
  /** Over the head's last bytes: tells most other bodies apart without reading them. */
  readonly sample: number
}

export class HeadMemory extends Context.Service<
  HeadMemory,
  {
    /** Ties the owner's entry to the current scope. */
    readonly attach: (owner: number) => Effect.Effect<void, never, Scope.Scope>
    /** The longest known head that the bytes begin with and do not end in; `line` is whose heads are looked at. */
    readonly find: (line: string, bytes: Uint8Array) => KnownHead | undefined
    /** Replaces the owner's entry by the body's head; `prefix` is that of all its items, `known` what was found in it. */
    readonly record: (owner: number, line: string, body: RequestBody, prefix: Prefix, known?: KnownHead) => void
    readonly size: () => number
  }
>()("respool/turn/HeadMemory") {
  static readonly layer = Layer.sync(HeadMemory, () => make(randomBytes(16)))
}

/** Heads that one line keeps, the latest: one for each conversation in it that is alive. */
const maxHeads = 256

const sampleLength = 64

/** A shorter head, in bytes, is read again as quickly as it is recognised. */
const minHead = 2048

/** A shorter head, in bytes, is tagged again as quickly as a piece is added to it. */
const minPieces = 65_536

/** Each costs some microseconds to recognise, whatever its length. */
const maxPieces = 8

const nonce = Buffer.alloc(12)

/** A memory under a key of 16 bytes, of heads that have at least `shortest` bytes. */
export const make = (key: Uint8Array, shortest = minHead): HeadMemory["Service"] => {
  const entries = new Map<number, Entry>()
  const lines = new Map<string, ReadonlyArray<Entry>>()
  const seed = (key[0] ?? 0) * 0x1000000 + (key[1] ?? 0) * 0x10000 + (key[2] ?? 0) * 0x100 + (key[3] ?? 0)

  const sampleAt = (bytes: Uint8Array, end: number): number => {
    let sample = seed | 0
    for (let i = Math.max(0, end - sampleLength); i < end; i++) sample = Math.imul(sample ^ (bytes[i] ?? 0), 0x01000193)
    return sample
  }

  const tagOf = (bytes: Uint8Array, start: number, end: number): string => {
    const mac = createCipheriv("aes-128-gcm", key, nonce)
    mac.setAAD(bytes.subarray(start, end))
    mac.final()
    return mac.getAuthTag().toString("latin1")
  }

  const beginsWith = (bytes: Uint8Array, pieces: ReadonlyArray<Piece>): boolean => {
    let start = 0
    for (const { end, tag } of pieces) {
      if (tagOf(bytes, start, end) !== tag) return false
      start = end
    }
    return true
  }

  const piecesOf = (bytes: Uint8Array, end: number, known: KnownHead | undefined): ReadonlyArray<Piece> => {
    const length = known?.head.text.length ?? 0
    if (known === undefined || length < minPieces || length > end || known.pieces.length >= maxPieces) {
      return [{ end, tag: tagOf(bytes, 0, end) }]
    }
    return length === end ? known.pieces : [...known.pieces, { end, tag: tagOf(bytes, length, end) }]
  }

  const forget = (owner: number) => {
    const entry = entries.get(owner)
    if (entry === undefined) return
    entries.delete(owner)
    const others = lines.get(entry.line)?.filter((other) => other !== entry) ?? []
    if (others.length === 0) lines.delete(entry.line)
    else lines.set(entry.line, others)
  }

  const find = (line: string, bytes: Uint8Array): KnownHead | undefined => {
    const fitting = (lines.get(line) ?? []).filter(({ head: { text }, sample }) => {
      return text.length < bytes.length && sampleAt(bytes, text.length) === sample
    })
    fitting.sort((a, b) => b.head.text.length - a.head.text.length)
    return fitting.find(({ pieces }) => beginsWith(bytes, pieces))
  }

  const record = (owner: number, line: string, body: RequestBody, prefix: Prefix, known?: KnownHead) => {
    forget(owner)
    const head = headOf(body)
    if (head === undefined || head.text.length < shortest) return
    const { bytes } = body
    const { length } = head.text
    const entry = { owner, head, prefix, line, pieces: piecesOf(bytes, length, known), sample: sampleAt(bytes, length) }
    entries.set(owner, entry)
    const others = lines.get(line) ?? []
    for (const { owner } of others.slice(maxHeads - 1)) entries.delete(owner)
    lines.set(line, [entry, ...others.slice(0, maxHeads - 1)])
  }

  return HeadMemory.of({
    attach: (owner) => Effect.addFinalizer(() => Effect.sync(() => forget(owner))),
    find,
    record,
    size: () => entries.size,
  })
}
