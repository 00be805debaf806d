/**
 * Keyed digests of JSON values and of sequences of them: what the memory of a turn is made of.
 *
 * A digest is SHA-256 over a key and the value's canonical form, cut to 132 bits (22 characters), so equal values have equal
 * digests, others do not, and nobody without the key can test a guess about a text. Items, other values and sequences
 * have keys of their own: no digest of one kind can stand for one of another.
 */
import { createHash, hash } from "node:crypto"
import { CanonicalWriter, type MemberFilter } from "./Canonical.ts"
import type { Span } from "./JsonString.ts"

export interface Digester {
  /** Of an input or output item. */
  readonly item: (bytes: Uint8Array, span: Span, keep?: MemberFilter) => string
  /** Of any other value, as of a request's member. */
  readonly value: (bytes: Uint8Array, span: Span, keep?: MemberFilter) => string
  /** Of a sequence: that of `previous` (undefined: of nothing) with one more behind it. */
  readonly rolling: (previous: string | undefined, itemDigest: string) => string
  /** Of the sequence of nothing. */
  readonly root: string
  /** Of a list of texts, in their order. */
  readonly list: (texts: ReadonlyArray<string>) => string
}

const digestLength = 22

/** Makes the digests of one key, of any length. The key is not kept. */
export const makeDigester = (key: Uint8Array): Digester => {
  const keyOf = (kind: string) => createHash("sha256").update(kind).update(key).digest()

  const ofCanonical = (kind: string) => {
    const writer = new CanonicalWriter()
    const secret = keyOf(kind)
    writer.raw(secret)
    return (bytes: Uint8Array, span: Span, keep?: MemberFilter): string => {
      writer.reset(secret.length)
      writer.value(bytes, span, keep)
      return hash("sha256", writer.bytes.subarray(0, writer.length), "base64url").slice(0, digestLength)
    }
  }

  const item = ofCanonical("item\0")
  const value = ofCanonical("value\0")
  const sequenceKey = keyOf("sequence\0").toString("base64url")
  const listKey = keyOf("list\0").toString("base64url")
  const rolling = (previous: string | undefined, itemDigest: string): string => {
    const before = previous === undefined ? "-" : `${previous.length}:${previous}`
    return hash("sha256", `${sequenceKey}${before}:${itemDigest}`, "base64url").slice(0, digestLength)
  }

  return {
    item,
    value,
    rolling,
    root: rolling(undefined, "root"),
    list: (texts) => {
      let framed = listKey
      for (const text of texts) framed += `${text.length}:${text}`
      return hash("sha256", framed, "base64url").slice(0, digestLength)
    },
  }
}
