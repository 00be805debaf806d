/**
 * Seals an owner's answer piece by piece, so that nobody else can read it, change it, leave out a piece or repeat one.
 *
 * Each piece has its number in its nonce, and the request's: a piece of another answer, or at another place, can't be
 * opened. A piece stands on the stream as its length in four bytes, the sealed text and what authenticates it.
 */
import { createCipheriv, createDecipheriv } from "node:crypto"

const tagLength = 16
const lengthBytes = 4

/** More of the text is sealed in several pieces, and who opens them need not keep more; in bytes. */
const largest = 1 << 16

/** What both ends need of the request whose answer it is. */
export interface AnswerKey {
  /** Of the boot that sent the request, for the answers to it. */
  readonly key: Buffer
  /** The request's number among those of that boot. */
  readonly sequence: number
}

/** The nonces of an answer's pieces, one after the other. */
const makeNonces = (sequence: number) => {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(sequence, 6, 6)
  let count = 0
  return () => {
    nonce.writeUIntBE(count++, 0, 6)
    return nonce
  }
}

export class AnswerSeal {
  readonly #key: Buffer
  readonly #next: () => Buffer

  constructor({ key, sequence }: AnswerKey) {
    this.#key = key
    this.#next = makeNonces(sequence)
  }

  /** Text as it goes onto the stream. */
  seal(text: string): Uint8Array {
    const bytes = Buffer.from(text)
    if (bytes.length <= largest) return this.#piece(bytes)
    const pieces: Array<Buffer> = []
    for (let at = 0; at < bytes.length; at += largest) pieces.push(this.#piece(bytes.subarray(at, at + largest)))
    return Buffer.concat(pieces)
  }

  #piece(bytes: Buffer): Buffer {
    const cipher = createCipheriv("aes-256-gcm", this.#key, this.#next())
    const sealed = cipher.update(bytes)
    cipher.final()
    const piece = Buffer.allocUnsafe(lengthBytes + bytes.length + tagLength)
    piece.writeUInt32BE(bytes.length, 0)
    piece.set(sealed, lengthBytes)
    piece.set(cipher.getAuthTag(), lengthBytes + bytes.length)
    return piece
  }
}

export class AnswerOpening {
  readonly #key: Buffer
  readonly #next: () => Buffer
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  #rest: Buffer | undefined

  constructor({ key, sequence }: AnswerKey) {
    this.#key = key
    this.#next = makeNonces(sequence)
  }

  /** The text that is whole by now, of a stream that comes in whatever parts; undefined: it is not what was sealed. */
  open(part: Uint8Array): string | undefined {
    const came = Buffer.from(part.buffer, part.byteOffset, part.byteLength)
    const bytes = this.#rest === undefined ? came : Buffer.concat([this.#rest, came])
    let text = ""
    let at = 0
    while (bytes.length - at >= lengthBytes) {
      const start = at + lengthBytes
      const end = start + bytes.readUInt32BE(at)
      if (end - start > largest) return undefined
      if (bytes.length < end + tagLength) break
      const opened = this.#piece(bytes.subarray(start, end), bytes.subarray(end, end + tagLength))
      if (opened === undefined) return undefined
      text += this.#decoder.decode(opened, { stream: true })
      at = end + tagLength
    }
    this.#rest = at === bytes.length ? undefined : bytes.subarray(at)
    return text
  }

  #piece(sealed: Buffer, tag: Buffer): Buffer | undefined {
    const decipher = createDecipheriv("aes-256-gcm", this.#key, this.#next())
    decipher.setAuthTag(tag)
    const opened = decipher.update(sealed)
    try {
      decipher.final()
      return opened
    } catch {
      return undefined
    }
  }
}
