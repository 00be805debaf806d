/**
 * TCP servers of which every byte is the test's own.
 */
import type { Scope } from "effect"
import { Deferred, Effect } from "effect"
import * as Net from "node:net"
import { promptly } from "./EventLoop.ts"
import { switching } from "./Frames.ts"

/** A connection on which a request's head has come. */
export interface Peer {
  readonly socket: Net.Socket
  readonly head: string
  /** Bytes that came after the request's head, so far. */
  readonly received: () => Buffer
  readonly until: (what: (received: Buffer) => boolean) => Effect.Effect<void>
  /** The connection ends now, or this dies: both its ends are in this thread. */
  readonly closed: Effect.Effect<void>
  /** Answers an upgrade as it should be. */
  readonly accept: (extra?: Uint8Array) => void
}

export interface Peers {
  readonly port: number
  /** For a dialer. */
  readonly url: string
  /** The first on which a head has come. */
  readonly first: Effect.Effect<Peer>
  /** Connections that are open now, with a head or without. */
  readonly open: () => number
  /** Connections that came, open or not. */
  readonly accepted: () => number
  /** Bytes of all connections so far. */
  readonly bytes: () => number
}

/** Listens until the scope closes; `onPeer` is called with the head of each connection. */
export const peers = (
  onPeer: (peer: Peer) => void = () => {},
  options: Net.ServerOpts = {},
): Effect.Effect<Peers, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly peers: Peers; readonly stop: () => void }>((resume) => {
        const first = Deferred.makeUnsafe<Peer>()
        const open = new Set<Net.Socket>()
        let accepted = 0
        let bytes = 0
        const server = Net.createServer(options, (socket) => {
          accepted++
          open.add(socket)
          socket.on("error", () => {})
          socket.on("close", () => open.delete(socket))
          socket.on("data", (data) => (bytes += data.length))
          onHead(socket, (peer) => {
            onPeer(peer)
            Deferred.doneUnsafe(first, Effect.succeed(peer))
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = address !== null && typeof address === "object" ? address.port : 0
          const url = `ws://127.0.0.1:${port}/v1/responses`
          const stop = () => {
            for (const socket of open) socket.destroy()
            server.close()
          }
          const peers: Peers = {
            port,
            url,
            first: Deferred.await(first),
            open: () => open.size,
            accepted: () => accepted,
            bytes: () => bytes,
          }
          resume(Effect.succeed({ peers, stop }))
        })
      }),
      ({ stop }) => Effect.sync(stop),
    ),
    ({ peers }) => peers,
  )

const onHead = (socket: Net.Socket, then: (peer: Peer) => void) => {
  let bytes = Buffer.alloc(0)
  let headEnd = -1
  const received = () => bytes.subarray(headEnd + 4)
  socket.on("data", (data) => {
    bytes = Buffer.concat([bytes, Buffer.from(data)])
    if (headEnd >= 0) return
    headEnd = bytes.indexOf("\r\n\r\n")
    if (headEnd < 0) return
    const head = bytes.subarray(0, headEnd).toString()
    then({
      socket,
      head,
      received,
      until: (what) =>
        Effect.callback<void>((resume) => {
          const look = () => what(received()) && resume(Effect.void)
          socket.on("data", look)
          look()
        }),
      closed: promptly(
        () => socket.closed,
        () => "the end of the connection",
      ),
      accept: (extra = new Uint8Array()) =>
        socket.write(Buffer.concat([Buffer.from(switching(head, "X-Upstream: one")), extra])),
    })
  })
}
