/**
 * What a simulated client does beside asking, as data, and the frames that it does it with (RFC 6455, section 5).
 *
 * A fault's `at` is how many events of the answer have come by then.
 */
export type ClientFault =
  /** Leaves: with a close frame, by ending its side of the connection, or by a reset. */
  | { readonly _tag: "Vanish"; readonly at: number; readonly how: "close" | "end" | "reset" }
  /** Sends so many bytes of the request's frame, and no more of it; then it leaves. */
  | { readonly _tag: "HalfFrame"; readonly bytes: number; readonly how: "end" | "reset" }
  /** Reads nothing more until it is told to. */
  | { readonly _tag: "StopReading"; readonly at: number }
  /** Sends the request in frames of so many bytes, with a ping between any two if `pings`. */
  | { readonly _tag: "Fragments"; readonly size: number; readonly pings?: boolean }
  /** Sends so many pings at once. */
  | { readonly _tag: "Pings"; readonly at: number; readonly count: number }
  /** Sends bytes as they are. */
  | { readonly _tag: "Raw"; readonly at: number; readonly bytes: Uint8Array }

interface FrameOptions {
  /** Default: true. */
  readonly fin?: boolean
  /** The first byte's bits that no extension has claimed: RSV1 is 4. */
  readonly reserved?: number
  /** A client must mask. */
  readonly masked?: boolean
}

export const opcodes = { continuation: 0, text: 1, close: 8, ping: 9, pong: 10 } as const

/** One frame; its mask is always the same, since it hides nothing here. */
export const frameOf = (opcode: number, payload: Uint8Array, options: FrameOptions = {}): Uint8Array => {
  const { fin = true, masked = true, reserved = 0 } = options
  const { length } = payload
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (head.length === 4) head.writeUInt16BE(length, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([head, payload])
  const mask = Buffer.from([7, 11, 13, 17])
  const hidden = Buffer.from(payload)
  for (let at = 0; at < length; at++) hidden[at] = (hidden[at] ?? 0) ^ (mask[at % 4] ?? 0)
  return Buffer.concat([head, mask, hidden])
}

/** The request's message in frames of so many bytes. */
export const fragmentsOf = (message: Uint8Array, size: number, pings: boolean): Uint8Array => {
  const frames: Array<Uint8Array> = []
  for (let at = 0; at < message.length; at += size) {
    const fin = at + size >= message.length
    const opcode = at === 0 ? opcodes.text : opcodes.continuation
    frames.push(frameOf(opcode, message.subarray(at, at + size), { fin }))
    if (pings && !fin) frames.push(frameOf(opcodes.ping, Buffer.from("between")))
  }
  return Buffer.concat(frames)
}

const some = Buffer.from("x")

/** Bytes with which a client breaks the protocol, each in its own way; a server must end such a connection. */
export const violations: Readonly<Record<string, Uint8Array>> = {
  "a frame without a mask": frameOf(opcodes.text, some, { masked: false }),
  "an opcode that nobody knows": frameOf(3, some),
  "a control opcode that nobody knows": frameOf(11, some),
  "a reserved bit": frameOf(opcodes.text, some, { reserved: 2 }),
  "a ping in fragments": frameOf(opcodes.ping, some, { fin: false }),
  "a ping of 126 bytes": frameOf(opcodes.ping, Buffer.alloc(126, "x")),
  "a continuation of nothing": frameOf(opcodes.continuation, some),
  "a message inside of another": Buffer.concat([
    frameOf(opcodes.text, some, { fin: false }),
    frameOf(opcodes.text, some),
  ]),
  "a text that is no UTF-8": frameOf(opcodes.text, Buffer.from([0xff, 0xfe])),
  "a close frame of one byte": frameOf(opcodes.close, some),
}
