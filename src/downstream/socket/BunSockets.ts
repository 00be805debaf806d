/**
 * Upgrades requests of `BunServer` to WebSockets, and hands what Bun tells of them to their peers.
 *
 * What is sent is never dropped: Bun's `send` gives −1 for a frame that it keeps, and would give 0 for one that it drops
 * at `backpressureLimit`, which is out of reach. A message over the limit is answered by Bun with close code 1009. A
 * connection of which nothing has come for two minutes, neither data nor the answer to a ping, is closed.
 */
import type { HttpServerRequest } from "effect/http"
import type { ClientPeer, ClientSocket } from "./ClientSocket.ts"

export interface SocketOptions {
  /** The largest message, in bytes. */
  readonly maxMessage: number
  /** Whether a client that offers permessage-deflate may use it. */
  readonly deflate: boolean
}

type Upgrade = (peer: ClientPeer, headers: Readonly<Record<string, string>>) => boolean

const upgrades = new WeakMap<object, Upgrade>()

/**
 * Makes a WebSocket of a request's connection. False: it can't be one, and the request is still to be answered. After
 * `true` whatever the handler answers is not sent.
 */
export const upgrade = (
  { source }: Pick<HttpServerRequest.HttpServerRequest, "source">,
  peer: ClientPeer,
  headers: Readonly<Record<string, string>>,
): boolean => upgrades.get(source)?.(peer, headers) ?? false

interface Upgrading {
  /** The connection is a WebSocket now. */
  readonly upgraded: () => void
  /** It has closed. */
  readonly gone: () => void
}

/**
 * Lets `upgrade` upgrade this request.
 *
 * @internal
 */
export const upgradable = (request: Request, server: Bun.Server<ClientPeer>, upgrading: Upgrading) =>
  upgrades.set(request, (peer, headers) => {
    upgrades.delete(request)
    const data: ClientPeer = {
      opened: (socket) => peer.opened(socket),
      received: (message) => peer.received(message),
      drained: () => peer.drained(),
      alive: () => peer.alive(),
      closed: () => {
        upgrading.gone()
        peer.closed()
      },
      leave: () => peer.leave(),
    }
    const isSocket = server.upgrade(request, { data, headers })
    if (isSocket) upgrading.upgraded()
    return isSocket
  })

/** Seconds. A live client answers a ping in between, and one that uploads slowly sends something. */
const silence = 120

/**
 * The handlers of `Bun.serve`, and a call that tells all open sockets that the listener stops.
 *
 * @internal
 */
export const makeSockets = ({ deflate, maxMessage }: SocketOptions) => {
  const open = new Set<ClientPeer>()
  const handlers: Bun.WebSocketHandler<ClientPeer> = {
    maxPayloadLength: maxMessage,
    perMessageDeflate: deflate,
    idleTimeout: silence,
    sendPings: false,
    backpressureLimit: 2 ** 31 - 1,
    closeOnBackpressureLimit: false,
    open: (socket) => {
      open.add(socket.data)
      socket.data.opened(clientSocket(socket))
    },
    message: (socket, message) => socket.data.received(message),
    drain: (socket) => socket.data.drained(),
    ping: (socket) => socket.data.alive(),
    pong: (socket) => socket.data.alive(),
    close: (socket) => {
      open.delete(socket.data)
      socket.data.closed()
    },
  }
  const leave = () => {
    for (const peer of open) peer.leave()
  }
  return { handlers, leave }
}

const clientSocket = (socket: Bun.ServerWebSocket<ClientPeer>): ClientSocket => ({
  send: (text) => socket.send(text) > 0,
  buffered: () => socket.getBufferedAmount(),
  ping: () => void socket.ping(),
  close: (code, reason) => socket.close(code, reason),
  terminate: () => socket.terminate(),
})
