/**
 * Dials with the `ws` package, on any runtime that has `node:http`.
 *
 * `ws` itself holds the bound on a message's size and checks UTF-8. Its client gives up on a burst of pings, so pongs
 * are sent from here: at most one is on its way, and it answers the latest ping, as RFC 6455, section 5.5.3, allows.
 */
import { Layer } from "effect"
import type { ClientRequest, IncomingMessage } from "node:http"
import { createRequire } from "node:module"
import type { Socket as NetSocket } from "node:net"
import { dirname, join } from "node:path"
import type { WebSocket as WsWebSocket } from "ws"
import type { DialRequest, Socket, SocketHandlers, Start, Upgrade } from "./Dialer.ts"
import { Dialer, headersFromRaw, isCertificateCode, make, maxAnswerBody, refused, unreachable } from "./Dialer.ts"
import { parseProxy } from "../../config/ProxyAddress.ts"
import { openTunnel, tlsOptions } from "./TunnelNode.ts"

/** How long a peer that has sent its close frame may keep the connection open, in milliseconds. */
const closeTimeout = 1_000

/** In bytes, and no more than a fraction of a millisecond for `ws` to copy and mask. */
const fragmentSize = 1 << 18

/** The codes of `ws` for a message that is too long, says that it will be, or comes in too many fragments. */
const overflows: ReadonlySet<string | undefined> = new Set([
  "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
  "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
  "WS_ERR_TOO_MANY_BUFFERED_PARTS",
])

// Bun replaces `ws` by its own shim, and the package exports no deeper path, so the real client is loaded by its file.
const require = createRequire(import.meta.url)
const WebSocket: typeof WsWebSocket = require(join(dirname(require.resolve("ws/package.json")), "lib", "websocket.js"))

const start: Start = (request, handlers, upgrade) => {
  if (request.proxy === undefined) return connect(request, handlers, upgrade)
  const proxy = parseProxy(request.proxy)
  if (proxy === undefined) throw new Error("the proxy's address is not one of http: or https:")
  let terminate = openTunnel(request, proxy, {
    opened: (tunnel) => {
      try {
        terminate = connect(request, handlers, upgrade, tunnel)
      } catch (cause) {
        tunnel.destroy()
        upgrade.failed(unreachable(cause instanceof Error ? cause.message : "the socket could not be made"))
      }
    },
    failed: upgrade.failed,
  })
  return () => terminate()
}

/** `tunnel`: the connection through a proxy to use, TLS included; undefined: `ws` opens one. */
const connect = (request: DialRequest, handlers: SocketHandlers, upgrade: Upgrade, tunnel?: NetSocket) => {
  // A constant of its own, since an inline object would be refused: the types of `ws` do not know `closeTimeout` yet.
  const options = {
    ...tlsOptions(request.tls),
    ...(tunnel === undefined ? {} : { createConnection: () => tunnel }),
    headers: { ...request.headers },
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: request.maxMessage,
    autoPong: false,
    closeTimeout,
    finishRequest: (asked: ClientRequest) => {
      const reached = () => request.onReached?.()
      asked.once("socket", (peer) => {
        if (peer.connecting) peer.once(request.url.startsWith("wss:") ? "secureConnect" : "connect", reached)
        else reached()
      })
      asked.end()
    },
  }
  const socket = new WebSocket(request.url, options)
  let headers: Readonly<Record<string, string>> = {}
  let failure = ""

  socket.on("upgrade", (answer) => {
    headers = headersFromRaw(answer.rawHeaders)
  })
  socket.on("unexpected-response", (_request, answer) => collect(answer, upgrade, () => socket.terminate()))
  socket.on("open", () =>
    upgrade.opened(() => (socket.readyState === WebSocket.OPEN ? asSocket(socket, headers) : undefined)),
  )
  socket.on("message", (data, isBinary) => {
    if (isBinary) handlers.onBinary()
    else handlers.onText(data.toString())
  })
  let ponging = false
  let latest: Buffer | undefined
  const pong = (data: Buffer) => {
    ponging = true
    socket.pong(data, true, () => {
      ponging = false
      const next = latest
      latest = undefined
      if (next !== undefined && socket.readyState === WebSocket.OPEN) pong(next)
    })
  }
  socket.on("ping", (data) => {
    if (ponging) latest = data
    else if (socket.readyState === WebSocket.OPEN) pong(data)
    handlers.onAlive()
  })
  socket.on("pong", () => handlers.onAlive())
  socket.on("error", (error: Error & { readonly code?: string }) => {
    failure = isCertificateCode(error.code) ? `the upstream's TLS was not accepted: ${error.message}` : error.message
    upgrade.failed(unreachable(failure))
    if (overflows.has(error.code)) handlers.onOverflow()
    else if (error.code?.startsWith("WS_ERR_") === true) handlers.onViolation()
    else handlers.onClose(1006, failure)
    // Without `terminate` the socket would wait for the peer's close frame.
    socket.terminate()
  })
  socket.on("close", (code, reason) => {
    upgrade.failed(unreachable(failure))
    handlers.onClose(code, reason.toString())
  })
  return () => socket.terminate()
}

const asSocket = (socket: WsWebSocket, headers: Readonly<Record<string, string>>): Socket => {
  const messages = new Messages(socket)
  return {
    handshake: { status: 101, headers },
    send: (frame) => messages.send(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)),
    ping: () => {
      if (socket.readyState === WebSocket.OPEN) socket.ping()
    },
    bufferedAmount: () => (socket.readyState === WebSocket.OPEN ? socket.bufferedAmount + messages.waiting : 0),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  }
}

/**
 * Sends messages one after the other, a large one in fragments: `ws` copies and masks a frame at once, byte by byte, and
 * of 15 MiB nobody else should wait for that. A ping or pong may go between two fragments.
 */
class Messages {
  /** In bytes: what `ws` was not given yet. */
  waiting = 0
  readonly #messages: Array<Buffer> = []
  readonly #socket: WsWebSocket

  constructor(socket: WsWebSocket) {
    this.#socket = socket
  }

  send(message: Buffer): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false
    this.waiting += message.length
    if (this.#messages.push(message) === 1) this.#fragment()
    return true
  }

  /** Sends what comes next of the first message, and goes on once the system has taken it. */
  #fragment() {
    const [message] = this.#messages
    if (message === undefined || this.#socket.readyState !== WebSocket.OPEN) return
    const part = message.subarray(0, fragmentSize)
    const isLast = part.length === message.length
    if (isLast) this.#messages.shift()
    else this.#messages[0] = message.subarray(part.length)
    this.waiting -= part.length
    if (isLast && this.#messages.length === 0) return this.#socket.send(part, { binary: false, fin: true })
    this.#socket.send(part, { binary: false, fin: isLast }, () => setImmediate(() => this.#fragment()))
  }
}

/**
 * Reads a refusal's body, at most `maxAnswerBody` of it, and fails the upgrade with what has come when it ends or
 * breaks.
 */
const collect = (answer: IncomingMessage, upgrade: Upgrade, terminate: () => void): void => {
  const parts: Array<Buffer> = []
  let size = 0
  const finish = () => {
    const body = Buffer.concat(parts).subarray(0, maxAnswerBody).toString()
    upgrade.failed(refused(answer.statusCode ?? 0, headersFromRaw(answer.rawHeaders), body))
    terminate()
  }
  answer.on("data", (part: Buffer) => {
    parts.push(part)
    size += part.length
    if (size >= maxAnswerBody) finish()
  })
  answer.on("end", finish)
  answer.on("aborted", finish)
  answer.on("error", finish)
  answer.on("close", finish)
}

export const layerWs: Layer.Layer<Dialer> = Layer.sync(Dialer, () => make(start))
