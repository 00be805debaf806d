/**
 * The upgrade and the frames of a WebSocket, as a server writes and reads them by hand (RFC 6455).
 */
import { createHash } from "node:crypto"

export interface FrameOptions {
  readonly fin?: boolean
  /** RSV1 is 4, RSV2 is 2, RSV3 is 1. */
  readonly reserved?: number
  readonly masked?: boolean
  /** The length that the head declares, whatever follows. */
  readonly declared?: bigint
}

/** A frame as a server sends it, or as it must not. */
export const frame = (opcode: number, content: Uint8Array | string, options: FrameOptions = {}): Buffer => {
  const { declared, fin = true, masked = false, reserved = 0 } = options
  const payload = Buffer.from(content)
  const length = declared ?? BigInt(payload.length)
  const head = Buffer.alloc(length < 126n ? 2 : length < 65536n ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | (length < 126n ? Number(length) : length < 65536n ? 126 : 127)
  if (head.length === 4) head.writeUInt16BE(Number(length), 2)
  if (head.length === 10) head.writeBigUInt64BE(length, 2)
  const mask = Buffer.from([1, 2, 3, 4])
  return masked
    ? Buffer.concat([head, mask, payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0))])
    : Buffer.concat([head, payload])
}

export const text = (content: string | Uint8Array, options?: FrameOptions) => frame(1, content, options)

export const ping = (content: string) => frame(9, content)

export const closing = (code: number, reason: string | Uint8Array = "") =>
  frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]))

/** The right answer to the upgrade with this head, with further header lines. */
export const switching = (head: string, ...lines: ReadonlyArray<string>) => {
  const key = /^sec-websocket-key: *(.*)$/im.exec(head)?.[1]?.trim() ?? ""
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
  const all = ["upgrade: websocket", "connection: Upgrade", `sec-websocket-accept: ${accept}`, ...lines]
  return `HTTP/1.1 101 Switching Protocols\r\n${all.join("\r\n")}\r\n\r\n`
}

export interface ClientFrame {
  readonly opcode: number
  readonly payload: string
  readonly size: number
}

/** The first frame of what a client sent, which is masked; undefined: not whole yet. */
export const readFrame = (bytes: Buffer): ClientFrame | undefined => {
  const short = (bytes[1] ?? 0) & 127
  const at = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < at + 4) return undefined
  const length = at === 2 ? short : at === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  const size = at + 4 + length
  if (bytes.length < size) return undefined
  const mask = bytes.subarray(at, at + 4)
  const payload = Buffer.from(bytes.subarray(at + 4, size).map((byte, i) => byte ^ (mask[i % 4] ?? 0))).toString()
  return { opcode: (bytes[0] ?? 0) & 15, size, payload }
}

/** All whole frames of what a client sent. */
export const readFrames = (bytes: Buffer): ReadonlyArray<ClientFrame> => {
  const frames: Array<ClientFrame> = []
  let rest = bytes
  for (let next = readFrame(rest); next !== undefined; next = readFrame(rest)) {
    frames.push(next)
    rest = rest.subarray(next.size)
  }
  return frames
}
