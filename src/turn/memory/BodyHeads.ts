/**
 * Remembers how request bodies began, so that a turn does not pay for its whole history.
 *
 * A client sends the bytes of its last request again and goes on behind them. What they mean is known: where the members
 * lie, and which prefix the items make. So it is enough to see that they are the same bytes, and to read on from there.
 * Of a body there is kept its length and tags over its bytes, none of its text; an entry lives as long as its chain. What
 * a turn adds to a long head gets a tag of its own, so the head itself is read only once a turn. Bytes that differ are no
 * head of anything, and the body is read item by item.
 *
 * The tag is GMAC's (NIST SP 800-38D), a polynomial hash under a secret key, ten times as fast as SHA-256. Its one nonce
 * is safe because no tag is ever shown: whoever does not know the key makes two different heads of 64 MiB with one tag by
 * a chance of 2^-106.
 */
import { createCipheriv, randomBytes } from "node:crypto"
import type { Scope } from "effect"
import { Context, Effect, Layer, Result } from "effect"
import type { BodyHead, RequestBody, WireError } from "../../wire/RequestBody.ts"
import { headOf, parseRequestBody } from "../../wire/RequestBody.ts"
import type { Prefix } from "./Lineage.ts"
import type { ChainId } from "./TurnMemory.ts"

/** A head that a body was found to begin with. */
export interface KnownHead {
  readonly head: BodyHead
  /** Of the items in the head. */
  readonly prefix: Prefix
  /** Consecutive pieces of the head's bytes, from the first to the last. */
  readonly pieces: ReadonlyArray<Piece>
}

interface Piece {
  /** Behind the piece's last byte. */
  readonly end: number
  readonly tag: string
}

/** How a body that was read begins. */
export interface Beginning {
  /** Among which heads it was looked for, and is to be remembered. */
  readonly group: string
  /** What was known already, so that only the rest was read. */
  readonly known: KnownHead | undefined
}

interface Entry extends KnownHead {
  readonly chain: ChainId
  readonly group: string
  /** Over the head's last bytes: tells most other bodies apart without reading them. */
  readonly sample: number
}

export class BodyHeads extends Context.Service<
  BodyHeads,
  {
    /** Ties the chain's entry to the current scope. */
    readonly attach: (chain: ChainId) => Effect.Effect<void, never, Scope.Scope>
    /** Reads a body from where a known head of the group ends. Undefined: it is read whole, and will not be remembered. */
    readonly read: (group: string | undefined, bytes: Uint8Array) => Result.Result<RequestBody, WireError>
    /** What `read` found out about a body; undefined: it was read whole, by `read` or by somebody else. */
    readonly beginningOf: (body: RequestBody) => Beginning | undefined
    /** The longest known head of a group that the bytes begin with and do not end in. */
    readonly find: (group: string, bytes: Uint8Array) => KnownHead | undefined
    /** Replaces the chain's entry by the body's head; `prefix` is that of all its items, `known` what was found in it. */
    readonly record: (chain: ChainId, group: string, body: RequestBody, prefix: Prefix, known?: KnownHead) => void
    readonly size: () => number
  }
>()("respool/turn/BodyHeads") {
  static readonly layer = Layer.sync(BodyHeads, () => make(randomBytes(16)))
}

/** Heads that one group keeps, the latest: one for each conversation in it that is alive. */
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
export const make = (key: Uint8Array, shortest = minHead): BodyHeads["Service"] => {
  const entries = new Map<ChainId, Entry>()
  const groups = new Map<string, ReadonlyArray<Entry>>()
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

  const forget = (chain: ChainId) => {
    const entry = entries.get(chain)
    if (entry === undefined) return
    entries.delete(chain)
    const others = groups.get(entry.group)?.filter((other) => other !== entry) ?? []
    if (others.length === 0) groups.delete(entry.group)
    else groups.set(entry.group, others)
  }

  const find = (group: string, bytes: Uint8Array): KnownHead | undefined => {
    const fitting = (groups.get(group) ?? []).filter(({ head: { text }, sample }) => {
      return text.length < bytes.length && sampleAt(bytes, text.length) === sample
    })
    fitting.sort((a, b) => b.head.text.length - a.head.text.length)
    return fitting.find(({ pieces }) => beginsWith(bytes, pieces))
  }

  const record = (chain: ChainId, group: string, body: RequestBody, prefix: Prefix, known?: KnownHead) => {
    forget(chain)
    const head = headOf(body)
    if (head === undefined || head.text.length < shortest) return
    const { bytes } = body
    const { length } = head.text
    const entry = {
      chain,
      head,
      prefix,
      group,
      pieces: piecesOf(bytes, length, known),
      sample: sampleAt(bytes, length),
    }
    entries.set(chain, entry)
    const others = groups.get(group) ?? []
    for (const { chain } of others.slice(maxHeads - 1)) entries.delete(chain)
    groups.set(group, [entry, ...others.slice(0, maxHeads - 1)])
  }

  // Only while the body itself is needed, and apart from the turn, which others make without having heard of heads.
  const beginnings = new WeakMap<RequestBody, Beginning>()

  const read = (group: string | undefined, bytes: Uint8Array) => {
    if (group === undefined) return parseRequestBody(bytes)
    const known = find(group, bytes)
    const body = parseRequestBody(bytes, known?.head)
    if (Result.isSuccess(body)) beginnings.set(body.success, { group, known })
    return body
  }

  return BodyHeads.of({
    read,
    beginningOf: (body) => beginnings.get(body),
    attach: (chain) => Effect.addFinalizer(() => Effect.sync(() => forget(chain))),
    find,
    record,
    size: () => entries.size,
  })
}
