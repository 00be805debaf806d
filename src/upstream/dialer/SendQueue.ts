/**
 * What was written to a socket and the system has not taken yet.
 *
 * A buffer is let go as soon as its last byte is taken.
 */

/** The part of a Bun socket that is used: the bytes taken, or -1 where it is closed. */
export interface Sink {
  readonly write: (bytes: Uint8Array) => number
}

export class SendQueue {
  #waiting: Array<Buffer> = []
  /** Bytes that wait. */
  size = 0

  /** False: nothing was written, nor will be. */
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

  /** The socket takes bytes again. */
  drain(sink: Sink): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const taken = Math.max(sink.write(first), 0)
      this.size -= taken
      if (taken < first.length) {
        this.#waiting[0] = first.subarray(taken)
        return
      }
      this.#waiting.shift()
    }
  }

  clear(): void {
    this.#waiting = []
    this.size = 0
  }
}
