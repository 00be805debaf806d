/**
 * An upstream of which every byte is the test's own: a TCP server that speaks HTTP and the upgrade by hand.
 *
 * What it does to an upgrade and to a turn on the socket is set by the test; over plain HTTP it answers as it should, or
 * refuses, so that it can be seen which way an answer came.
 */
import { createHash } from "node:crypto"
import * as Net from "node:net"
import { Context, Deferred, Effect, Layer } from "effect"

/** A connection on which an upgrade was asked for. */
export interface Peer {
  readonly socket: Net.Socket
  /** Head of the upgrade request. */
  readonly head: string
  readonly write: (...parts: ReadonlyArray<string | Uint8Array>) => void
  /** The right 101, with further header lines. */
  readonly switching: (...lines: ReadonlyArray<string>) => string
  /** Runs under the test's clock, until the server stops. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

export interface Conduct {
  readonly upgrade: (peer: Peer) => void
  /** Called with every text message on the socket. */
  readonly turn: (peer: Peer, message: string) => void
}

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

export const closing = (code: number, reason: string | Uint8Array = "") =>
  frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]))

const item = { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [] }

/** The events of one good turn. */
const goodEvents = (id: string): ReadonlyArray<string> =>
  [
    { type: "response.created", sequence_number: 0, response: { id, object: "response", status: "in_progress" } },
    { type: "response.output_item.added", sequence_number: 1, output_index: 0, item },
    { type: "response.output_item.done", sequence_number: 2, output_index: 0, item },
    {
      type: "response.completed",
      sequence_number: 3,
      response: { id, object: "response", status: "completed", output: [item] },
    },
  ].map((event) => JSON.stringify(event))

let turns = 0

/** A good answer on the socket, in as many bytes at a time as come to be. */
export const answerWell = (): Buffer => Buffer.concat(goodEvents(`resp_socket_${++turns}`).map((event) => text(event)))

export const good: Conduct = {
  upgrade: (peer) => peer.write(peer.switching()),
  turn: (peer) => peer.write(answerWell()),
}

/** Writes one part after the other for as long as the connection is there, as fast as the reader takes them. */
export const forever = ({ socket }: Peer, part: Uint8Array | string) => {
  const go = () => {
    while (!socket.destroyed && socket.write(part));
    if (!socket.destroyed) socket.once("drain", go)
  }
  go()
}

export class HostileUpstream extends Context.Service<
  HostileUpstream,
  {
    readonly port: number
    readonly conduct: { now: Conduct }
    /** What it answers over HTTP: the turn, or 503. */
    readonly http: { answers: boolean }
    /** Upgrades and HTTP requests that came. */
    readonly upgrades: () => number
    readonly posts: () => number
    /** Waits for the first upgrade. */
    readonly upgrading: Effect.Effect<void>
    /** Waits for the first message on a socket. */
    readonly asked: Effect.Effect<void>
    /** Waits until every connection with an upgrade so far is closed. */
    readonly closed: Effect.Effect<void>
  }
>()("test/upstream/HostileUpstream") {
  static readonly layer = Layer.effect(
    HostileUpstream,
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      const conduct = { now: good }
      const http = { answers: true }
      const upgrading = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      const open = new Set<Net.Socket>()
      const ends: Array<Deferred.Deferred<void>> = []
      const forked: Array<{ readonly interruptUnsafe: () => void }> = []
      let posts = 0

      const upgrade = (socket: Net.Socket, head: string) => {
        const closed = Deferred.makeUnsafe<void>()
        ends.push(closed)
        socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        const peer: Peer = {
          socket,
          head,
          write: (...parts) => void socket.write(Buffer.concat(parts.map((part) => Buffer.from(part)))),
          switching: (...lines) => switching(head, lines),
          fork: (effect) => forked.push(Effect.runForkWith(context)(effect)),
        }
        conduct.now.upgrade(peer)
        Deferred.doneUnsafe(upgrading, Effect.void)
        return peer
      }

      const message = (peer: Peer, content: string) => {
        conduct.now.turn(peer, content)
        Deferred.doneUnsafe(asked, Effect.void)
      }

      const post = (socket: Net.Socket, body: string) => {
        posts++
        socket.end(http.answers ? httpAnswer(body) : unavailable)
      }

      const server = Net.createServer((socket) => {
        open.add(socket)
        socket.setNoDelay(true)
        socket.on("error", () => {})
        socket.on("close", () => open.delete(socket))
        let bytes: Buffer = Buffer.alloc(0)
        let peer: Peer | undefined
        socket.on("data", (data) => {
          bytes = Buffer.concat([bytes, Buffer.from(data)])
          // A TLS client's hello, to a server that has none.
          if (bytes[0] === 0x16 && peer === undefined) return void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")
          if (peer === undefined) {
            const end = bytes.indexOf("\r\n\r\n")
            if (end < 0) return
            const head = bytes.subarray(0, end).toString()
            if (!/^upgrade: *websocket/im.test(head)) {
              const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
              if (bytes.length >= end + 4 + length) post(socket, bytes.subarray(end + 4).toString())
              return
            }
            bytes = bytes.subarray(end + 4)
            peer = upgrade(socket, head)
          }
          for (let next = readFrame(bytes); next !== undefined; next = readFrame(bytes)) {
            bytes = bytes.subarray(next.size)
            if (next.opcode === 1) message(peer, next.payload)
          }
        })
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () =>
          Effect.sync(() => {
            for (const fiber of forked) fiber.interruptUnsafe()
            for (const socket of open) socket.destroy()
            server.close()
          }),
      )
      const address = server.address()
      return HostileUpstream.of({
        port: address !== null && typeof address === "object" ? address.port : 0,
        conduct,
        http,
        upgrades: () => ends.length,
        posts: () => posts,
        upgrading: Deferred.await(upgrading),
        asked: Deferred.await(asked),
        closed: Effect.suspend(() => Effect.forEach(ends, Deferred.await, { discard: true })),
      })
    }),
  )
}

const switching = (head: string, lines: ReadonlyArray<string>) => {
  const key = /^sec-websocket-key: *(.*)$/im.exec(head)?.[1]?.trim() ?? ""
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
  const all = ["upgrade: websocket", "connection: Upgrade", `sec-websocket-accept: ${accept}`, ...lines]
  return `HTTP/1.1 101 Switching Protocols\r\n${all.join("\r\n")}\r\n\r\n`
}

const unavailable =
  "HTTP/1.1 503 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

const httpAnswer = (request: string): string => {
  const events = goodEvents("resp_http")
  const stream = request.includes('"stream":true')
  const body = stream
    ? events.map((event) => `data: ${event}\n\n`).join("")
    : (/"response":(\{.*\})\}$/.exec(events.at(-1) ?? "")?.[1] ?? "")
  const type = stream ? "text/event-stream" : "application/json"
  return `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`
}

/** The first frame of what a client sent; undefined: not whole yet. */
const readFrame = (bytes: Buffer) => {
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
