/**
 * Remembers how request bodies began, so that a turn does not pay for its whole history.
 *
 * A client sends the bytes of its last request again and goes on behind them. What they mean is known: where the members
 * lie, and which prefix the items make. So it is enough to see that they are the same bytes, and to read on from there.
 * Of a body there is kept its length, a tag over its bytes and places, none of its text; an entry lives as long as its
 * owner. Bytes that differ are no head of anything, and the body is read item by item.
 *
 * The tag is GMAC's (NIST SP 800-38D), a polynomial hash under a secret key, ten times as fast as SHA-256. Its one nonce
 * is safe because no tag is ever shown: whoever does not know the key makes two different heads of 64 MiB with one tag by
 * a chance of 2^-106.
 */
import { createCipheriv, randomBytes } from "node:crypto"
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { BodyHead, RequestBody } from "../wire/RequestBody.ts"
import { headOf } from "../wire/RequestBody.ts"
import type { Prefix } from "./Lineage.ts"

/** A head that a body was found to begin with. */
export interface KnownHead {
  readonly head: BodyHead
  /** Of the items in the head. */
  readonly prefix: Prefix
}

interface Entry {
  readonly owner: number
  readonly head: BodyHead
  readonly prefix: Prefix
  readonly line: string
  readonly tag: Buffer
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
    /** Replaces the owner's entry by the body's head; `prefix` is that of all its items. */
    readonly record: (owner: number, line: string, body: RequestBody, prefix: Prefix) => void
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

  const tagOf = (bytes: Uint8Array, length: number): Buffer => {
    const mac = createCipheriv("aes-128-gcm", key, nonce)
    mac.setAAD(bytes.subarray(0, length))
    mac.final()
    return mac.getAuthTag()
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
    for (const { head, prefix, tag } of fitting) {
      if (tagOf(bytes, head.text.length).equals(tag)) return { head, prefix }
    }
    return undefined
  }

  const record = (owner: number, line: string, body: RequestBody, prefix: Prefix) => {
    forget(owner)
    const head = headOf(body)
    if (head === undefined || head.text.length < shortest) return
    const { bytes } = body
    const { length } = head.text
    const entry = { owner, head, prefix, line, tag: tagOf(bytes, length), sample: sampleAt(bytes, length) }
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
