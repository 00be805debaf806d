/**
 * One kept-alive HTTP connection of the load process: it writes bytes and finds the answer's end, and does little else.
 */
import type { Socket } from "bun"

export interface HttpAnswer {
  /** `performance.now()` of the body's first byte. */
  readonly firstAt: number
  readonly endAt: number
  /** The body, where it was asked for. */
  readonly text: string
}

interface Asking {
  readonly collect: boolean
  readonly resolve: (answer: HttpAnswer) => void
  readonly reject: (error: Error) => void
}

const headEnd = Buffer.from("\r\n\r\n")
const lastChunk = Buffer.from("0\r\n\r\n")
const completed = Buffer.from("response.completed")
const none: Buffer = Buffer.alloc(0)
/** How many of the latest chunks are looked through for the terminal event. */
const lookedBack = 4

export class HttpConnection {
  readonly #socket: Socket<HttpConnection | undefined>
  #asking: Asking | undefined
  #writing: Array<Buffer> = []
  #head = none
  /** Bytes of the body to come; undefined: chunked; -1: the head is not whole. */
  #left: number | undefined = -1
  #firstAt = 0
  #chunks: Array<Buffer> = []
  #tail = none

  private constructor(socket: Socket<HttpConnection | undefined>) {
    this.#socket = socket
  }

  static async open(url: string): Promise<HttpConnection> {
    const { hostname, port } = new URL(url)
    const socket = await Bun.connect<HttpConnection | undefined>({
      hostname,
      port: Number(port),
      socket: {
        data: (socket, chunk) => socket.data?.receive(chunk),
        drain: (socket) => socket.data?.drain(),
        close: (socket) => socket.data?.failed("the target closed the connection"),
        error: (socket, error) => socket.data?.failed(error.message),
      },
    })
    socket.setNoDelay(true)
    socket.data = new HttpConnection(socket)
    return socket.data
  }

  /** Posts a body and waits for the answer's end; it must be a 200 with a completed response. */
  ask(head: string, body: Buffer, collect: boolean): Promise<HttpAnswer> {
    this.#head = none
    this.#left = -1
    this.#firstAt = 0
    this.#chunks = []
    this.#tail = none
    return new Promise((resolve, reject) => {
      this.#asking = { collect, resolve, reject }
      this.#write(Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`, "latin1"))
      this.#write(body)
    })
  }

  /** Posts a body, waits for the answer's first byte and hangs up. */
  async abandon(head: string, body: Buffer): Promise<void> {
    const ended = this.ask(head, body, false)
    ended.catch(() => {})
    while (this.#firstAt === 0 && this.#asking !== undefined) await this.#received()
    const began = this.#firstAt > 0
    this.#asking = undefined
    this.#socket.terminate()
    if (!began) await ended
  }

  close() {
    this.#asking = undefined
    this.#socket.end()
  }

  #wake: () => void = () => {}

  #received(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #write(bytes: Buffer) {
    if (this.#writing.length > 0) return void this.#writing.push(bytes)
    const written = Math.max(this.#socket.write(bytes), 0)
    if (written < bytes.length) this.#writing.push(bytes.subarray(written))
  }

  drain() {
    for (let bytes = this.#writing.shift(); bytes !== undefined; bytes = this.#writing.shift()) {
      const written = Math.max(this.#socket.write(bytes), 0)
      if (written < bytes.length) return void this.#writing.unshift(bytes.subarray(written))
    }
  }

  failed(message: string) {
    const asking = this.#asking
    this.#asking = undefined
    asking?.reject(new Error(message))
    this.#wake()
  }

  receive(received: Buffer) {
    const asking = this.#asking
    if (asking === undefined) return
    let chunk = received
    if (this.#left === -1) {
      this.#head = Buffer.concat([this.#head, chunk])
      const end = this.#head.indexOf(headEnd)
      if (end < 0) return
      const head = this.#head.toString("latin1", 0, end)
      chunk = this.#head.subarray(end + headEnd.length)
      if (!head.startsWith("HTTP/1.1 200")) return this.failed(this.#head.toString("utf8", 0, 2000))
      this.#left = /\r\ntransfer-encoding: *chunked/i.test(head)
        ? undefined
        : Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    }
    if (chunk.length === 0) return
    if (this.#firstAt === 0) {
      this.#firstAt = performance.now()
      this.#wake()
    }
    this.#chunks.push(chunk)
    if (!asking.collect && this.#chunks.length > lookedBack) this.#chunks.shift()
    if (this.#left !== undefined) {
      this.#left -= chunk.length
      if (this.#left > 0) return
    } else {
      this.#tail = chunk.length < lastChunk.length ? Buffer.concat([this.#tail, chunk]) : chunk
      this.#tail = this.#tail.subarray(-lastChunk.length)
      if (!this.#tail.equals(lastChunk)) return
    }
    this.#end(asking)
  }

  #end({ collect, reject, resolve }: Asking) {
    const endAt = performance.now()
    this.#asking = undefined
    const body = Buffer.concat(this.#chunks)
    if (!body.includes(completed)) return reject(new Error(`no completed response: ${body.toString("utf8", 0, 2000)}`))
    const text = collect ? (this.#left === undefined ? withoutChunks(body) : body).toString() : ""
    resolve({ firstAt: this.#firstAt, endAt, text })
  }
}

const withoutChunks = (bytes: Buffer): Buffer => {
  const parts: Array<Buffer> = []
  for (let at = 0; at < bytes.length;) {
    const lineEnd = bytes.indexOf("\r\n", at)
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16)
    if (!(size > 0)) break
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
  return Buffer.concat(parts)
}
