/**
 * Holds what was written to one of Bun's sockets and the system has not taken yet: such a socket keeps nothing itself.
 *
 * A buffer is let go as soon as its last byte is taken. Measured on Bun 1.4.5, writes to one of Bun's sockets through
 * this queue against writes to a `node:net` socket, which has a queue: 0.74 of the CPU for 200 bytes, 0.39 for 1 MB.
 * The plain way, one buffer that grows, copies all that waits with each frame: 14 ms a frame in place of 6 µs for 64 of
 * 200 KB.
 */

import { setImmediate } from "node:timers"
import type { Pieces } from "./FrameWriter.ts"
import { pieceSize } from "./FrameWriter.ts"

const nothing = Buffer.alloc(0)

/** The part of one of Bun's sockets that is used: `write` gives how many bytes were taken, or -1 where it is closed. */
export interface Sink {
  readonly write: (bytes: Uint8Array) => number
}

/** So many pieces are written before the event loop sees to others. */
const piecesAtOnce = 4

export class SendQueue {
  #waiting: Array<Buffer | Pieces> = []
  /** How many bytes wait. */
  size = 0

  /** False: the socket is closed, and nothing was written nor will be. */
  write(sink: Sink, bytes: Buffer): boolean {
    if (this.size > 0) {
      this.#waiting.push(bytes)
      this.size += bytes.length
      return true
    }
    const taken = sink.write(bytes)
    if (taken < 0) return false
    if (taken < bytes.length) {
      this.#waiting.push(bytes.subarray(taken))
      this.size = bytes.length - taken
    }
    return true
  }

  /** The same for a message in pieces, which are made as the system takes them. */
  writePieces(sink: Sink, pieces: Pieces): boolean {
    const first = pieces.next() ?? nothing
    const before = this.size
    if (!this.write(sink, first)) return false
    this.#waiting.push(pieces)
    this.size += pieces.size - first.length
    if (before === 0 && this.#waiting.length === 1) this.drain(sink)
    return true
  }

  /** Writes on; called when the socket takes bytes again. */
  drain(sink: Sink): void {
    for (let written = 0; ; written++) {
      const first = this.#first()
      if (first === undefined) return
      if (written >= piecesAtOnce && first.length === pieceSize) {
        setImmediate(() => this.drain(sink))
        return
      }
      const taken = Math.max(sink.write(first), 0)
      this.size -= taken
      if (taken < first.length) {
        this.#waiting[0] = first.subarray(taken)
        return
      }
      this.#waiting.shift()
    }
  }

  #first(): Buffer | undefined {
    for (;;) {
      const first = this.#waiting[0]
      if (first === undefined || !("next" in first)) return first
      const piece = first.next()
      if (piece === undefined) this.#waiting.shift()
      else this.#waiting.unshift(piece)
    }
  }

  clear(): void {
    this.#waiting = []
    this.size = 0
  }
}
