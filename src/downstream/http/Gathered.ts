/**
 * Bytes that come in parts of any size, kept in as much memory as they are.
 *
 * A part of one byte takes some 170 bytes as an object of its own, so small parts are copied into blocks, which grow with
 * what has come: at most twice as much is held as that, and never more than 1 MiB more. The bytes become one piece in steps,
 * since the first touch of 64 MiB takes the system longer than a turn should wait.
 */
import type { Steps } from "../../wire/Steps.ts"

const firstBlock = 4096
const largestBlock = 1 << 20

/** A part of at least so many bytes that has its memory to itself is kept as it is. */
const ownBlock = 1 << 16

export class Gathered {
  /** How many bytes have come. */
  size = 0
  #blocks: Array<Uint8Array> = []
  /** How much of the last block is filled. */
  #filled = 0

  add(part: Uint8Array): void {
    if (part.length >= ownBlock && part.buffer.byteLength === part.length) return this.#keep(part)
    for (let at = 0; at < part.length;) {
      const block = this.#open(part.length - at)
      const piece = part.subarray(at, at + block.length - this.#filled)
      block.set(piece, this.#filled)
      this.#filled += piece.length
      this.size += piece.length
      at += piece.length
    }
  }

  /** All of them, in order, once nothing more comes; the blocks are let go of. */
  *whole(): Steps<Uint8Array> {
    const blocks = this.#blocks
    this.#blocks = []
    const [first] = blocks
    if (first !== undefined && first.length === this.size) return first
    const whole = new Uint8Array(this.size)
    let at = 0
    for (const [index, block] of blocks.entries()) {
      if (index > 0) yield
      const piece = block.subarray(0, Math.min(block.length, this.size - at))
      whole.set(piece, at)
      at += piece.length
      delete blocks[index]
    }
    return whole
  }

  /** Makes the part a block, behind a last one without room to spare. */
  #keep(part: Uint8Array): void {
    const last = this.#blocks.length - 1
    const block = this.#blocks[last]
    if (block !== undefined && this.#filled < block.length) this.#blocks[last] = block.slice(0, this.#filled)
    this.#blocks.push(part)
    this.#filled = part.length
    this.size += part.length
  }

  /** The last block, or a new one where that is full, for at least the first of so many bytes. */
  #open(bytes: number): Uint8Array {
    const last = this.#blocks.at(-1)
    if (last !== undefined && this.#filled < last.length) return last
    const block = new Uint8Array(Math.min(largestBlock, Math.max(firstBlock, this.size, bytes)))
    this.#blocks.push(block)
    this.#filled = 0
    return block
  }
}
