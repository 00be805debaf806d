/**
 * Seals what one node sends another, so that nobody else can read the credentials in it, change it, or send it again.
 *
 * No clock is asked. A node draws a boot id when it starts, and counts what it sends; each of its requests is bound to
 * the boot of the node that it is for, and that node takes each number once. So neither a request that is sent again nor
 * one that was for a process before is taken, whatever the clocks say. The key of a boot is made of the cluster's secret
 * and the boot id, so no key ever sees a nonce twice.
 *
 * A request is sealed as a whole (AES-256-GCM, its label as additional data), and so is each piece of an answer, with a
 * number of its own under another key.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { DeriveKey } from "../../config/cluster/ClusterSecret.ts"
import type { Steps } from "../../wire/Steps.ts"
import type { AnswerKey } from "./Answers.ts"

/** Where a request has its label. */
export const labelHeader = "x-respool-label"

const newBootId = (): string => randomBytes(16).toString("base64url")

/** What a sealed request says of itself in the open; all of it is authenticated. */
export interface Label {
  /** The boot of the node that the request is for. */
  readonly to: string
  /** The boot of the node that sends it. */
  readonly from: string
  /** Its number among all that this boot sends. */
  readonly sequence: number
  /** How many bytes the sealed part and the client's body have. */
  readonly sealed: number
  readonly body: number
}

/** Such a boot id is drawn by `newBootId`, and nothing else is looked at. */
const bootId = /^[\w-]{22}$/

const tagLength = 16

/** Bytes of a body that are sealed in one step. */
const pieceSize = 1 << 20

const labelText = ({ body, from, sealed, sequence, to }: Label): string => [to, from, sequence, sealed, body].join(" ")

/** Reads what `written` wrote, without the mark; undefined: it is no label. */
const readLabel = (text: string): { readonly label: Label; readonly mark: Buffer } | undefined => {
  const [to = "", from = "", sequence = "", sealed = "", body = "", mark = "", ...more] = text.split(" ")
  const numbers = [sequence, sealed, body]
  if (more.length > 0 || !bootId.test(to) || !bootId.test(from)) return undefined
  if (!numbers.every((number) => /^\d{1,15}$/.test(number))) return undefined
  return {
    label: { to, from, sequence: Number(sequence), sealed: Number(sealed), body: Number(body) },
    mark: Buffer.from(mark, "base64url"),
  }
}

interface Keys {
  readonly seal: Buffer
  readonly mark: Buffer
  readonly answer: Buffer
}

const nonceOf = (sequence: number): Buffer => {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(sequence, 6, 6)
  return nonce
}

/** What a cipher makes of a body. */
function* through(cipher: { update(part: Uint8Array): Buffer }, body: Uint8Array): Steps<Buffer> {
  if (body.length <= pieceSize) return cipher.update(body)
  const whole = Buffer.allocUnsafe(body.length)
  for (let at = 0; at < body.length; at += pieceSize) {
    if (at > 0) yield
    whole.set(cipher.update(body.subarray(at, at + pieceSize)), at)
  }
  return whole
}

/** So many boots of other nodes have their keys kept; the oldest are made again when they are needed. */
const maxKeys = 1024

export class Sealing {
  readonly bootId = newBootId()
  readonly #derive: DeriveKey
  readonly #hello: Buffer
  readonly #keys = new Map<string, Keys>()
  #sequence = 0

  constructor(derive: DeriveKey) {
    this.#derive = derive
    this.#hello = derive("hello", 32)
  }

  /** The label of the next request to a boot, with the mark that shows who wrote it. */
  label(to: string, sizes: { readonly sealed: number; readonly body: number }): { label: Label; text: string } {
    const label: Label = {
      to,
      from: this.bootId,
      sequence: ++this.#sequence,
      sealed: sizes.sealed + tagLength,
      body: sizes.body,
    }
    return { label, text: `${labelText(label)} ${this.#mark(label).toString("base64url")}` }
  }

  /** What a label says; undefined: no node of this cluster wrote it. */
  open(text: string): Label | undefined {
    const read = readLabel(text)
    if (read === undefined) return undefined
    const { label, mark } = read
    const expected = this.#mark(label)
    if (mark.length !== expected.length || !timingSafeEqual(mark, expected)) return undefined
    this.#keep(label.from)
    return label
  }

  /** The sealed part, which tells the body's as well, and the body. */
  *seal(label: Label, secret: Uint8Array, body: Uint8Array): Steps<readonly [Buffer, Buffer]> {
    const cipher = createCipheriv("aes-256-gcm", this.#keysOf(label.from).seal, nonceOf(label.sequence))
    cipher.setAAD(Buffer.from(labelText(label)))
    const first = cipher.update(secret)
    const rest = yield* through(cipher, body)
    cipher.final()
    return [Buffer.concat([first, cipher.getAuthTag()]), rest]
  }

  /** Undefined: it was changed on the way. */
  *unseal(
    label: Label,
    sealed: Uint8Array,
    body: Uint8Array,
  ): Steps<{ readonly secret: Buffer; readonly body: Buffer } | undefined> {
    const end = sealed.length - tagLength
    if (end < 0) return undefined
    const decipher = createDecipheriv("aes-256-gcm", this.#keysOf(label.from).seal, nonceOf(label.sequence))
    decipher.setAuthTag(sealed.subarray(end))
    decipher.setAAD(Buffer.from(labelText(label)))
    const secret = decipher.update(sealed.subarray(0, end))
    const rest = yield* through(decipher, body)
    try {
      decipher.final()
      return { secret, body: rest }
    } catch {
      return undefined
    }
  }

  /** What the answer to a request is sealed and opened with. */
  answerKey({ from, sequence }: Label): AnswerKey {
    return { key: this.#keysOf(from).answer, sequence }
  }

  /** Of a text with a number that is used once, for what is asked before the other's boot is known. */
  helloMark(text: string): string {
    return createHmac("sha256", this.#hello).update(text).digest("base64url")
  }

  #mark(label: Label): Buffer {
    return createHmac("sha256", this.#keysOf(label.from).mark).update(labelText(label)).digest()
  }

  #keysOf(boot: string): Keys {
    const known = this.#keys.get(boot)
    if (known !== undefined) return known
    const all = this.#derive("request", 96, boot)
    return { seal: all.subarray(0, 32), mark: all.subarray(32, 64), answer: all.subarray(64) }
  }

  /** Kept only for who has shown that it knows the secret, so that nobody else can push keys out. */
  #keep(boot: string) {
    if (this.#keys.has(boot)) return
    this.#keys.set(boot, this.#keysOf(boot))
    const [oldest] = this.#keys.keys()
    if (oldest !== undefined && this.#keys.size > maxKeys) this.#keys.delete(oldest)
  }
}

export const isSameMark = (one: string, other: string): boolean => {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}
