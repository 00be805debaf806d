/**
 * Remembers the heads of request bodies, so that a turn does not pay for its whole history.
 *
 * A head is the beginning of a body. A client sends the bytes of its last request again, with more behind them. What
 * those bytes mean is known: where the members lie, and which prefix the items make. So it is enough to see that they
 * are the same bytes, and to read on from there. A head's length and tags over its bytes are kept, none of its text; an
 * entry lives as long as its chain. What a turn adds to a long head gets a separate tag, so the head itself is read
 * only once a turn. A body that begins with no known head is read item by item.
 *
 * By hand, because a turn with 1 MB of history took 19.8 ms when all its items were read, 5.5 times the benchmark's
 * floor, and takes 2.7 ms with known heads (test/bench/README.md). The tag is a GMAC (NIST SP 800-38D), a polynomial
 * hash under a secret key: SHA-256 takes 12 times as long (Bun 1.4.5). To use one nonce is safe because no tag is ever
 * shown: without the key, two different heads of 64 MiB have the same tag by a chance of 2^-106.
 */
import { createCipheriv, randomBytes } from "node:crypto"
import type { Scope } from "effect"
import { Context, Effect, Layer, Result } from "effect"
import type { BodyHead, RequestBody, WireError } from "../../wire/RequestBody.ts"
import { bodyInSteps, headOf } from "../../wire/RequestBody.ts"
import type { Steps } from "../../wire/Steps.ts"
import type { Prefix } from "./Lineage.ts"
import type { ChainId } from "./TurnMemory.ts"

/** A known head with which a body begins. */
export interface KnownHead {
  readonly head: BodyHead
  /** The prefix that the head's items make. */
  readonly prefix: Prefix
  /** Consecutive pieces of the head's bytes, from the first to the last. */
  readonly pieces: ReadonlyArray<Piece>
}

interface Piece {
  /** The index behind the piece's last byte. */
  readonly end: number
  readonly tag: string
}

/** How a body that was read begins. */
export interface Beginning {
  /** The group of heads among which its head was looked for, and is to be remembered. */
  readonly group: string
  /** The head that was known already, so that only the rest was read. */
  readonly known: KnownHead | undefined
}

interface Entry extends KnownHead {
  readonly chain: ChainId
  readonly group: string
  /** A hash over the head's last bytes, which tells most other bodies apart without reading them. */
  readonly sample: number
}

export class BodyHeads extends Context.Service<
  BodyHeads,
  {
    /** Ties the chain's entry to the current scope. */
    readonly attach: (chain: ChainId) => Effect.Effect<void, never, Scope.Scope>
    /** Reads a body from the end of a known head of the group. Without a group it is read whole, and not remembered. */
    readonly read: (group: string | undefined, bytes: Uint8Array) => Steps<Result.Result<RequestBody, WireError>>
    /** How a body that `read` returned begins; undefined: it was read without a group, or not by `read`. */
    readonly beginningOf: (body: RequestBody) => Beginning | undefined
    /** The longest known head of a group that the bytes begin with and do not end in. */
    readonly find: (group: string, bytes: Uint8Array) => KnownHead | undefined
    /** Replaces the chain's entry by the body's head; `prefix` covers its items, `known` is the head found in it. */
    readonly record: (chain: ChainId, group: string, body: RequestBody, prefix: Prefix, known?: KnownHead) => void
    readonly size: () => number
  }
>()("respool/turn/BodyHeads") {
  static readonly layer = Layer.sync(BodyHeads, () => make(randomBytes(16)))
}

/** So many heads are kept for one group, the latest: one for each of its conversations that is alive. */
const maxHeads = 256

const sampleLength = 64

/** A shorter head, in bytes, is read again as quickly as it is recognised. */
const minHead = 2048

/** A shorter head, in bytes, is tagged again as quickly as a piece is added to it. */
const minPieces = 65_536

/** Each piece costs some microseconds beside what its length costs. */
const maxPieces = 8

/** A head is kept if its members take no more bytes in memory. The API's take 3 KB. */
const maxMembers = 8192

/** What a member takes beside its name, in bytes. */
const memberSize = 96

/** Bytes of heads that are read in search of the one a body begins with: at least these, and else twice the body's. */
const minSearched = 1 << 20

const nonce = Buffer.alloc(12)

/** How many bytes the members take that a head keeps. */
const membersSize = ({ text: { members, open } }: BodyHead): number =>
  members.reduce((sum, { key }) => sum + key.length + memberSize, open.key.length)

/** Makes a memory of heads of at least `shortest` bytes, with tags under a key of 16 bytes. */
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

  /** Looks for the first head with which the bytes begin, until as many bytes are read as that is worth. */
  const firstOf = (heads: ReadonlyArray<Entry>, bytes: Uint8Array): Entry | undefined => {
    let left = Math.max(minSearched, 2 * bytes.length)
    const beginsWith = ({ pieces }: Entry): boolean => {
      let start = 0
      for (const { end, tag } of pieces) {
        left -= end - start
        if (left < 0 || tagOf(bytes, start, end) !== tag) return false
        start = end
      }
      return true
    }
    return heads.find(beginsWith)
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
    return firstOf(fitting, bytes)
  }

  const record = (chain: ChainId, group: string, body: RequestBody, prefix: Prefix, known?: KnownHead) => {
    forget(chain)
    const head = headOf(body)
    if (head === undefined || head.text.length < shortest || membersSize(head) > maxMembers) return
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

  // Kept beside the body and not in the turn, since an app may make turns without `BodyHeads`; gone with the body.
  const beginnings = new WeakMap<RequestBody, Beginning>()

  function* read(group: string | undefined, bytes: Uint8Array) {
    if (group === undefined) return yield* bodyInSteps(bytes)
    const known = find(group, bytes)
    const body = yield* bodyInSteps(bytes, known?.head)
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
