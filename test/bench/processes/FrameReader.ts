/**
 * Finds the ends of a WebSocket client's messages in its bytes, without looking into them.
 */
export interface FrameHandlers {
  /** A text message has come whole. */
  readonly onMessage: () => void
  readonly onPing: (payload: Buffer) => void
  readonly onClose: () => void
}

const maskLength = 4
/** The longest head: two bytes, a length of eight, the mask. */
const maxHead = 14

export class FrameReader {
  readonly #handlers: FrameHandlers
  /** Bytes of a head that is not whole; a control frame's payload counts as a part of it. */
  #head: Buffer = Buffer.alloc(0)
  #payload = 0
  #last = false

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers
  }

  read(chunk: Buffer) {
    let at = 0
    while (at < chunk.length) {
      if (this.#payload > 0) {
        const taken = Math.min(this.#payload, chunk.length - at)
        this.#payload -= taken
        at += taken
        if (this.#payload === 0 && this.#last) this.#handlers.onMessage()
        continue
      }
      const held = this.#head.length
      const bytes =
        held === 0 ? chunk.subarray(at) : Buffer.concat([this.#head, chunk.subarray(at, at + 125 + maxHead)])
      const size = this.#begin(bytes)
      if (size === undefined) {
        this.#head = Buffer.from(bytes)
        return
      }
      this.#head = Buffer.alloc(0)
      at += size - held
    }
  }

  /** Reads a head, with the payload if it is a control frame; gives its size, or undefined while it is not whole. */
  #begin(bytes: Buffer): number | undefined {
    if (bytes.length < 2) return undefined
    const opcode = bytes[0]! & 0x0f
    const short = bytes[1]! & 0x7f
    const size = 2 + maskLength + (short === 126 ? 2 : short === 127 ? 8 : 0)
    if (bytes.length < size) return undefined
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
    if (opcode < 8) {
      this.#payload = length
      this.#last = (bytes[0]! & 0x80) !== 0
      if (length === 0 && this.#last) this.#handlers.onMessage()
      return size
    }
    if (bytes.length < size + length) return undefined
    if (opcode === 8) this.#handlers.onClose()
    if (opcode === 9) {
      const mask = bytes.subarray(size - maskLength, size)
      this.#handlers.onPing(bytes.subarray(size, size + length).map((byte, index) => byte ^ mask[index % 4]!) as Buffer)
    }
    return size + length
  }
}
