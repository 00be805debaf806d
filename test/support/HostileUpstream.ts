/**
 * An upstream of which every byte is the test's own: a TCP server that speaks HTTP and the upgrade by hand.
 *
 * What it does to an upgrade and to a turn on the socket is set by the test; over plain HTTP it answers as it should, or
 * refuses, so that it can be seen which way an answer came.
 */
import * as Net from "node:net"
import { Context, Deferred, Effect, Layer } from "effect"
import { readFrame, switching, text } from "./Frames.ts"
import { promptly } from "./EventLoop.ts"

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

const item = { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [] }

/** The events of one good turn. */
export const goodEvents = (id: string): ReadonlyArray<string> =>
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

/** Connections on which nothing is written for ever any more. */
const quiet = new WeakSet<Net.Socket>()

/** Writes one part after the other as fast as the reader takes them, until the connection ends or must have ended. */
export const forever = ({ socket }: Peer, part: Uint8Array | string) => {
  const goesOn = () => !socket.destroyed && !quiet.has(socket)
  const go = () => {
    while (goesOn() && socket.write(part));
    if (goesOn()) socket.once("drain", go)
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
    /** Every connection with an upgrade so far ends now, or this dies: both ends of each are in this thread. */
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
      const upgraded: Array<Net.Socket> = []
      const forked: Array<{ readonly interruptUnsafe: () => void }> = []
      let posts = 0

      const upgrade = (socket: Net.Socket, head: string) => {
        upgraded.push(socket)
        const peer: Peer = {
          socket,
          head,
          write: (...parts) => void socket.write(Buffer.concat(parts.map((part) => Buffer.from(part)))),
          switching: (...lines) => switching(head, ...lines),
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
        upgrades: () => upgraded.length,
        posts: () => posts,
        upgrading: Deferred.await(upgrading),
        asked: Deferred.await(asked),
        closed: Effect.suspend(() => {
          for (const socket of upgraded) quiet.add(socket)
          return promptly(
            () => upgraded.every(({ closed }) => closed),
            () => `the end of ${upgraded.filter(({ closed }) => !closed).length} connections of ${upgraded.length}`,
          )
        }),
      })
    }),
  )
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
