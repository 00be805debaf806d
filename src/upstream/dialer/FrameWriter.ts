/**
 * Writes the frames of a WebSocket client: whole messages, each masked anew (RFC 6455, section 5.3).
 *
 * Head and payload are one buffer, so that a frame is one write. The payload is copied, never changed.
 *
 * Measured on Bun 1.4.5 against the sender of `ws` 8.23: since it masks whole words, a frame of 1 MB takes 0.34 to 0.52
 * of the CPU, one of 64 KB 0.28 to 0.49. One of 200 bytes takes 0.7 to 2 times that of `ws`: 0.3 µs, beside 5 µs to
 * send it.
 */
import { randomFillSync } from "node:crypto"

export const opcodes = { text: 1, close: 8, ping: 9, pong: 10 } as const

/** Masks are taken from here one after the other, so that only every 1024th frame asks the system for randomness. */
const pool = new Int32Array(1024)
let taken = pool.length

const mask = (): number => {
  if (taken === pool.length) {
    randomFillSync(pool)
    taken = 0
  }
  return pool[taken++] ?? 0
}

export const frame = (opcode: number, payload: Uint8Array): Buffer => begun(opcode, payload, payload.byteLength, mask())

/** A frame of `length` bytes of payload, as far as its first bytes are given. */
const begun = (opcode: number, payload: Uint8Array, length: number, key: number): Buffer => {
  const head = length < 126 ? 6 : length < 65_536 ? 8 : 14
  // The frame begins at an offset which puts the payload on a word's boundary; the bytes before it are not used.
  const start = head % 4
  const whole = new ArrayBuffer(Math.ceil((start + head + payload.byteLength) / 4) * 4)
  const words = new Int32Array(whole)
  const bytes = Buffer.from(whole, start, head + payload.byteLength)
  bytes[0] = 0x80 | opcode
  bytes[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (head === 8) bytes.writeUInt16BE(length, 2)
  if (head === 14) {
    bytes.writeUInt32BE(Math.floor(length / 2 ** 32), 2)
    bytes.writeUInt32BE(length % 2 ** 32, 6)
  }
  bytes.set(payload, head)
  // The mask is the word before the payload. Both are read as words of the machine, so their byte order does not
  // matter.
  const at = (start + head) / 4
  words[at - 1] = key
  for (let i = at; i < words.length; i++) words[i] = (words[i] ?? 0) ^ key
  return bytes
}

/** A message that is made piece by piece; `next` gives undefined behind the last. */
export interface Pieces {
  /** Of all pieces together, in bytes. */
  readonly size: number
  readonly next: () => Buffer | undefined
}

/** In bytes, and whole words: 0.3 ms to copy and mask, where 15 MiB take 25 ms (Bun 1.4.5). */
export const pieceSize = 1 << 18

/**
 * The same frame in pieces, each masked only when it is asked for: nobody else waits for a large message, and it is never
 * held twice. The payload must not change before the last piece was asked for.
 */
export const framePieces = (opcode: number, payload: Uint8Array): Pieces => {
  const length = payload.byteLength
  const key = mask()
  const first = begun(opcode, payload.subarray(0, pieceSize), length, key)
  let at = 0
  const next = (): Buffer | undefined => {
    if (at === 0) {
      at = pieceSize
      return first
    }
    if (at >= length) return undefined
    const part = payload.subarray(at, at + pieceSize)
    at += pieceSize
    const words = new Int32Array(Math.ceil(part.length / 4))
    const bytes = Buffer.from(words.buffer, 0, part.length)
    bytes.set(part)
    for (let i = 0; i < words.length; i++) words[i] = (words[i] ?? 0) ^ key
    return bytes
  }
  return { size: first.length + Math.max(0, length - pieceSize), next }
}

const empty = new Uint8Array()

/** A close frame; without a payload where `code` is 1005, which means that there is no code. */
export const closeFrame = (code: number): Buffer =>
  frame(opcodes.close, code === 1005 ? empty : Uint8Array.of(code >> 8, code & 255))

export const pingFrame = (): Buffer => frame(opcodes.ping, empty)
