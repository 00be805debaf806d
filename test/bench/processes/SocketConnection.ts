/**
 * One WebSocket of the load process: it writes frames under a mask of zeros, finds the answer's end, and does little
 * else.
 */
import type { Socket } from "bun"
import type { HttpAnswer } from "./HttpConnection.ts"

interface Asking {
  readonly collect: boolean
  readonly resolve: (answer: HttpAnswer) => void
  readonly reject: (error: Error) => void
}

const headEnd = Buffer.from("\r\n\r\n")
const begins = Buffer.from('{"type":"response.create",')
const completed = '{"type":"response.completed"'
const failures = ['{"type":"error"', '{"type":"response.failed"', '{"type":"response.incomplete"']

/** So many bytes tell which event it is. */
const typeLength = 32

const zeros = Buffer.alloc(4)

const head = (opcode: number, length: number): Buffer => {
  const bytes =
    length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | length])
      : length < 65_536
        ? Buffer.from([0x80 | opcode, 0x80 | 126, length >> 8, length & 255])
        : Buffer.from([
            0x80 | opcode,
            0x80 | 127,
            0,
            0,
            0,
            0,
            length >>> 24,
            (length >> 16) & 255,
            (length >> 8) & 255,
            length & 255,
          ])
  return Buffer.concat([bytes, zeros])
}

export class SocketConnection {
  readonly #socket: Socket<SocketConnection | undefined>
  #asking: Asking | undefined
  #writing: Array<Buffer> = []
  #rest: Buffer = Buffer.alloc(0)
  #upgraded: (() => void) | undefined
  #firstAt = 0
  readonly #texts: Array<string> = []

  private constructor(socket: Socket<SocketConnection | undefined>) {
    this.#socket = socket
  }

  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<SocketConnection> {
    const { hostname, port } = new URL(url)
    const socket = await Bun.connect<SocketConnection | undefined>({
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
    const connection = new SocketConnection(socket)
    socket.data = connection
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    await new Promise<void>((resolve, reject) => {
      connection.#upgraded = resolve
      connection.#asking = { collect: false, resolve: () => {}, reject }
      connection.#write(
        Buffer.from(
          `GET /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer test-key-a\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n${lines.join("")}\r\n`,
        ),
      )
    })
    connection.#asking = undefined
    return connection
  }

  /** Sends the body of a request as a message and waits for the answer's end; it must be a completed response. */
  ask(_head: string, body: Buffer, collect: boolean): Promise<HttpAnswer> {
    this.#firstAt = 0
    this.#texts.length = 0
    return new Promise((resolve, reject) => {
      this.#asking = { collect, resolve, reject }
      const rest = body.subarray(body.indexOf("{") + 1)
      this.#write(Buffer.concat([head(1, begins.length + rest.length), begins, rest]))
    })
  }

  close() {
    this.#asking = undefined
    this.#socket.end()
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
  }

  receive(chunk: Buffer) {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (this.#upgraded !== undefined) {
      const end = bytes.indexOf(headEnd)
      if (end < 0) return void (this.#rest = Buffer.from(bytes))
      if (!bytes.toString("latin1", 0, 12).endsWith("101")) return this.failed(bytes.toString("utf8", 0, 2000))
      bytes = bytes.subarray(end + headEnd.length)
      this.#upgraded()
      this.#upgraded = undefined
    }
    let at = 0
    for (let size = this.#frame(bytes, at); size > 0; size = this.#frame(bytes, at)) at += size
    // The runtime reuses the buffer that it hands over.
    this.#rest = Buffer.from(bytes.subarray(at))
  }

  /** Takes the frame that begins there; gives its size, or 0 while it is not whole. */
  #frame(bytes: Buffer, at: number): number {
    if (bytes.length < at + 2) return 0
    const short = bytes[at + 1]! & 127
    const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
    if (bytes.length < start) return 0
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    if (bytes.length < start + length) return 0
    const opcode = bytes[at]! & 15
    const payload = bytes.subarray(start, start + length)
    if (opcode === 9) this.#write(Buffer.concat([head(10, length), payload]))
    else if (opcode === 8) this.failed("the target closed the socket")
    else if (opcode < 8) this.#event(payload)
    return start - at + length
  }

  #event(payload: Buffer) {
    if (this.#firstAt === 0) this.#firstAt = performance.now()
    const asking = this.#asking
    if (asking === undefined) return
    const type = payload.toString("latin1", 0, typeLength)
    if (asking.collect && type.startsWith('{"type":"response.output_item.do')) {
      this.#texts.push(`data: ${payload.toString()}`)
    }
    if (type.startsWith(completed)) {
      this.#asking = undefined
      asking.resolve({ firstAt: this.#firstAt, endAt: performance.now(), text: this.#texts.join("\n\n") })
    } else if (failures.some((failure) => type.startsWith(failure))) this.failed(payload.toString("utf8", 0, 2000))
  }
}
