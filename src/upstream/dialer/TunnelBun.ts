/**
 * Opens a tunnel through an `http:` proxy on one of Bun's sockets.
 *
 * At most one of `opened` and `failed` is called, and none after the returned function was called. That function ends
 * the connection, unless `opened` has handed it on: then the client that took it is told what happens to it. A proxy
 * itself is not reached over TLS: Bun's sockets have no TLS inside TLS (`upgradeTLS` on a TLS socket hangs). Why this
 * is written by hand, `Tunnel.ts` says.
 */
import type { DialError } from "./Dialer.ts"
import { SendQueue } from "./SendQueue.ts"
import type { Proxy } from "../../config/ProxyAddress.ts"
import { connectRequest, lostProxy, TunnelAnswer } from "./Tunnel.ts"

/** Uses the connection through the proxy once it is open. */
export interface TunnelClient {
  readonly data: (chunk: Buffer) => void
  readonly drained: () => void
  /** The connection has ended. */
  readonly failed: (message: string) => void
}

export interface TunnelHandlers {
  /** Gives the client of the tunnel; undefined: it has put TLS on the socket, and has handlers of its own there. */
  readonly opened: (socket: Bun.Socket<BunTunnel>) => TunnelClient | undefined
  readonly failed: (error: DialError) => void
}

export class BunTunnel {
  #over = false
  #client: TunnelClient | undefined
  #socket: Bun.Socket<BunTunnel> | undefined
  readonly #answer = new TunnelAnswer()
  readonly #queue = new SendQueue()
  readonly #head: Buffer
  readonly #handlers: TunnelHandlers

  private constructor(head: Buffer, handlers: TunnelHandlers) {
    this.#head = head
    this.#handlers = handlers
  }

  static open(proxy: Proxy, hostname: string, port: number, handlers: TunnelHandlers): () => void {
    if (proxy.secure) throw new Error("Bun cannot reach an upstream through an https: proxy, use an http: one")
    const tunnel = new BunTunnel(connectRequest(proxy, hostname, port), handlers)
    // The promise's failure is told to `connectError` as well.
    Bun.connect({ hostname: proxy.hostname, port: proxy.port, data: tunnel, socket: events }).catch(() => {})
    return () => tunnel.terminate()
  }

  connected(socket: Bun.Socket<BunTunnel>): void {
    if (this.#over) return socket.terminate()
    this.#socket = socket
    socket.setNoDelay(true)
    this.#queue.write(socket, this.#head)
  }

  drained(socket: Bun.Socket<BunTunnel>): void {
    if (this.#client !== undefined) return this.#client.drained()
    if (!this.#over) this.#queue.drain(socket)
  }

  data(socket: Bun.Socket<BunTunnel>, chunk: Buffer): void {
    if (this.#client !== undefined) return this.#client.data(chunk)
    if (this.#over) return
    const answered = this.#answer.read(chunk)
    if (answered === undefined) return
    if (answered !== "Open") return this.#failed(answered)
    this.#over = true
    this.#socket = undefined
    this.#client = this.#handlers.opened(socket)
  }

  ended(message: string | undefined): void {
    if (this.#client !== undefined) return this.#client.failed(message ?? "the upstream hung up")
    this.#failed(lostProxy(message ?? "it hung up before it had opened the tunnel"))
  }

  #failed(error: DialError): void {
    if (this.#over) return
    this.terminate()
    this.#handlers.failed(error)
  }

  terminate(): void {
    const socket = this.#socket
    this.#over = true
    this.#socket = undefined
    this.#queue.clear()
    socket?.terminate()
  }
}

const events: Bun.SocketHandler<BunTunnel> = {
  open: (socket) => socket.data.connected(socket),
  data: (socket, chunk) => socket.data.data(socket, chunk),
  drain: (socket) => socket.data.drained(socket),
  error: (socket, error) => socket.data.ended(error.message),
  close: (socket, error) => socket.data.ended(error?.message),
  connectError: (socket, error) => socket.data.ended(error.message),
}
