/**
 * A client's WebSocket of which every byte is the test's own, and which reads only when it is told to.
 */
import { Deferred, Effect } from "effect"
import { connect } from "node:net"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { frame } from "./Frames.ts"

const masked = (opcode: number, content: string | Uint8Array, fin = true) =>
  frame(opcode, content, { masked: true, fin })

export class SocketReader {
  readonly texts: Array<string> = []
  readonly #pongs: Array<string> = []
  closeCode: number | undefined
  /** The head that answered the upgrade. */
  head = ""
  readonly #gone = Deferred.makeUnsafe<void>()
  readonly #looks = new Set<() => void>()
  readonly #socket
  #parts: Array<Buffer> = []
  #size = 0
  /** How many bytes must have come until there is something to look at. */
  #needed = 0
  #read = 0
  #upgraded = false
  readonly #open = Deferred.makeUnsafe<void>()

  /** Closed with the scope. */
  static readonly open = (url: string, headers: Readonly<Record<string, string>> = {}) =>
    Effect.acquireRelease(
      Effect.tap(
        Effect.sync(() => new SocketReader(url, headers)),
        (reader) => Deferred.await(reader.#open),
      ),
      (reader) => Effect.sync(() => reader.#socket.destroy()),
    )

  private constructor(url: string, headers: Readonly<Record<string, string>>) {
    const { hostname, port, host } = new URL(url)
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true })
    const all = {
      host,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
      authorization: "Bearer test-key-a",
      ...headers,
    }
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#socket.write(`GET /v1/responses HTTP/1.1\r\n${lines.join("")}\r\n`)
    this.#socket.on("data", (part) => {
      this.#read += part.length
      this.#parts.push(Buffer.from(part))
      this.#size += part.length
      if (this.#size >= this.#needed) this.#look()
    })
    this.#socket.on("error", () => {})
    this.#socket.on("close", () => {
      Deferred.doneUnsafe(this.#gone, Effect.void)
      Deferred.doneUnsafe(this.#open, Effect.void)
      this.#tell()
    })
  }

  get port() {
    return this.#socket.localPort ?? 0
  }

  /** Bytes that have left the kernel. */
  get got() {
    return this.#read + this.#socket.readableLength
  }

  get gone() {
    return Deferred.await(this.#gone)
  }

  say(request: JsonObject) {
    this.raw(masked(1, JSON.stringify({ type: "response.create", ...request })))
  }

  text(content: string) {
    this.raw(masked(1, Buffer.from(content.toWellFormed())))
  }

  /** A message as permessage-deflate has it; `payload` is what a compressor made of it. */
  compressed(payload: Uint8Array) {
    this.raw(frame(1, payload, { masked: true, reserved: 4 }))
  }

  raw(bytes: Uint8Array) {
    this.#socket.write(bytes)
  }

  /** Sends a request in frames of so many bytes, with a ping between any two. */
  fragmented(request: JsonObject, size: number) {
    const bytes = Buffer.from(JSON.stringify({ type: "response.create", ...request }))
    for (let at = 0; at < bytes.length; at += size) {
      const last = at + size >= bytes.length
      this.raw(masked(at === 0 ? 1 : 0, bytes.subarray(at, at + size), last))
      if (!last) this.ping("between")
    }
  }

  /** Sends a request behind so many frames that hold nothing of it. */
  emptyFragments(count: number, request: JsonObject) {
    const empty = masked(0, "", false)
    this.raw(Buffer.concat([masked(1, "", false), ...Array.from({ length: count }, () => empty)]))
    this.raw(masked(0, JSON.stringify({ type: "response.create", ...request })))
  }

  ping(content: string) {
    this.raw(masked(9, content))
  }

  close(code: number, reason = "") {
    this.raw(masked(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)])))
  }

  pause() {
    this.#socket.pause()
  }

  resume() {
    this.#socket.resume()
  }

  leave() {
    this.#socket.destroy()
  }

  /** Waits until that holds of the texts that came, or the connection is gone. */
  until(what: (texts: ReadonlyArray<string>) => boolean): Effect.Effect<void> {
    return this.#until(() => what(this.texts))
  }

  pong(content: string): Effect.Effect<void> {
    return this.#until(() => this.#pongs.includes(content))
  }

  #until(happened: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const look = () => {
        if (!happened() && !this.#socket.closed) return
        this.#looks.delete(look)
        resume(happened() ? Effect.void : Effect.die(new Error(`the socket is gone: ${this.closeCode}`)))
      }
      this.#looks.add(look)
      look()
      return Effect.sync(() => this.#looks.delete(look))
    })
  }

  #tell() {
    for (const look of this.#looks) look()
  }

  #look() {
    let bytes = Buffer.concat(this.#parts)
    this.#parts = [bytes]
    this.#needed = 0
    if (!this.#upgraded) {
      const end = bytes.indexOf("\r\n\r\n")
      if (end < 0) return
      this.#upgraded = true
      this.head = bytes.toString("latin1", 0, end)
      bytes = bytes.subarray(end + 4)
      Deferred.doneUnsafe(this.#open, Effect.void)
    }
    while (bytes.length >= 2) {
      const short = (bytes[1] ?? 0) & 127
      const head = short < 126 ? 2 : short === 126 ? 4 : 10
      if (bytes.length < head) break
      const length = head === 2 ? short : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
      this.#needed = head + length
      if (bytes.length < head + length) break
      this.#needed = 0
      this.#took((bytes[0] ?? 0) & 15, bytes.subarray(head, head + length))
      bytes = bytes.subarray(head + length)
    }
    this.#parts = [bytes]
    this.#size = bytes.length
    this.#tell()
  }

  #took(opcode: number, payload: Buffer) {
    if (opcode === 1) this.texts.push(payload.toString())
    else if (opcode === 8) this.closeCode = payload.length < 2 ? 1005 : payload.readUInt16BE(0)
    else if (opcode === 9) this.raw(masked(10, payload))
    else if (opcode === 10) this.#pongs.push(payload.toString())
  }
}
