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

/** What an open socket keeps: a class of two members, since one that is idle should hold next to nothing. */
export class Attached {
  readonly peer: ClientPeer
  readonly gone: () => void

  constructor(peer: ClientPeer, gone: () => void) {
    this.peer = peer
    this.gone = gone
  }
}

/**
 * Lets `upgrade` upgrade this request. `gone` lives as long as the socket, and should hold nothing of the request.
 *
 * @internal
 */
export const upgradable = (request: Request, server: Bun.Server<Attached>, upgrading: Upgrading) =>
  upgrades.set(request, (peer, headers) => {
    upgrades.delete(request)
    const isSocket = server.upgrade(request, { data: new Attached(peer, upgrading.gone), headers })
    if (isSocket) upgrading.upgraded()
    return isSocket
  })

/** Bun's reason where it has closed a connection itself, with 1009. */
const overTheLimit = "Received too big message"

/** Seconds. A live client answers a ping in between, and one that uploads slowly sends something. */
const silence = 120

/**
 * The handlers of `Bun.serve`, and a call that tells all open sockets that the listener stops.
 *
 * @internal
 */
export const makeSockets = ({ deflate, maxMessage }: SocketOptions) => {
  const open = new Set<ClientPeer>()
  const handlers: Bun.WebSocketHandler<Attached> = {
    maxPayloadLength: maxMessage,
    perMessageDeflate: deflate,
    idleTimeout: silence,
    sendPings: false,
    backpressureLimit: 2 ** 31 - 1,
    closeOnBackpressureLimit: false,
    open: (socket) => {
      const { peer } = socket.data
      open.add(peer)
      peer.opened(new Sending(socket))
    },
    message: (socket, message) => socket.data.peer.received(message),
    drain: (socket) => socket.data.peer.drained(),
    ping: (socket) => socket.data.peer.alive(),
    pong: (socket) => socket.data.peer.alive(),
    close: (socket, code, reason) => {
      const { gone, peer } = socket.data
      open.delete(peer)
      gone()
      // No client can send that code.
      peer.closed(code === 1006 && reason === overTheLimit)
    },
  }
  const leave = () => {
    for (const peer of open) peer.leave()
  }
  return { handlers, leave }
}

class Sending implements ClientSocket {
  readonly #socket: Bun.ServerWebSocket<Attached>

  constructor(socket: Bun.ServerWebSocket<Attached>) {
    this.#socket = socket
  }

  send(texts: ReadonlyArray<string>) {
    const [first] = texts
    if (first !== undefined && texts.length === 1) return this.#socket.send(first) > 0
    // What the system does not take of them shows behind the cork.
    this.#socket.cork((socket) => {
      for (const text of texts) socket.send(text)
    })
    return this.#socket.getBufferedAmount() === 0
  }

  buffered() {
    return this.#socket.getBufferedAmount()
  }

  ping() {
    this.#socket.ping()
  }

  close(code: number, reason: string) {
    this.#socket.close(code, reason)
  }

  terminate() {
    this.#socket.terminate()
  }
}
