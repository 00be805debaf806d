/**
 * Dials with Bun's own `WebSocket`.
 *
 * Nothing of Bun is touched before the first dial, so the module loads anywhere. What Bun leaves out is done here: the
 * bound on a message's size, and the chunked coding of a refusal's body. Bun holds a message until it is whole, so that
 * one which never ends is bounded by nothing; it reports of a refusal's body only what was read together with the head;
 * a socket keeps about its largest send in memory; and the close of a peer that leaves its connection open is told half
 * a minute late (`send` is false at once). `DialerWs` has none of these limits.
 */
import { Layer } from "effect"
import type { Socket, Start } from "./Dialer.ts"
import { Dialer, headersFromRaw, make, maxAnswerBody, refused, unreachable } from "./Dialer.ts"

/** The undocumented `handshake` event: the HTTP answer to the upgrade, before `open` or `error`. */
interface Handshake {
  readonly statusCode: number
  readonly rawHeaders: ReadonlyArray<string>
  readonly body: Uint8Array
}

/** Bun's own constructor and socket, of which the types of the DOM know nothing. */
type Constructor = new (url: string, options: Bun.WebSocketOptions) => Bun.WebSocket

const open = 1

const start: Start = (request, handlers, upgrade) => {
  const WebSocket: Constructor = Reflect.get(globalThis, "WebSocket")
  const socket = new WebSocket(request.url, {
    headers: { ...request.headers },
    perMessageDeflate: false,
    ...(request.tls === undefined ? {} : { tls: { ...request.tls } }),
  })
  socket.binaryType = "nodebuffer"
  let status = 0
  let headers: Readonly<Record<string, string>> = {}
  let failure = ""

  socket.addEventListener("handshake", (event) => {
    if (!(event instanceof MessageEvent)) return
    const answer: Handshake = event.data
    status = answer.statusCode
    headers = headersFromRaw(answer.rawHeaders)
    if (status !== 101) upgrade.failed(refused(status, headers, bodyText(answer.body, headers)))
  })
  socket.addEventListener("open", () =>
    upgrade.opened(() => (socket.readyState === open ? asSocket(socket, status, headers) : undefined)),
  )
  socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
    if (typeof data !== "string") return handlers.onBinary()
    if (isLonger(data, request.maxMessage)) {
      handlers.onOverflow()
      return socket.terminate()
    }
    handlers.onText(data)
  })
  socket.addEventListener("ping", handlers.onAlive)
  socket.addEventListener("pong", handlers.onAlive)
  socket.addEventListener("error", (event) => {
    failure = withoutUrl("message" in event && typeof event.message === "string" ? event.message : "")
    upgrade.failed(unreachable(failure))
  })
  socket.addEventListener("close", (event) => {
    upgrade.failed(unreachable(failure))
    handlers.onClose(event.code, event.reason === "" ? failure : event.reason)
  })
  return () => socket.terminate()
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const asSocket = (socket: Bun.WebSocket, status: number, headers: Readonly<Record<string, string>>): Socket => ({
  handshake: { status, headers },
  send: (frame) => {
    // A send on a closed socket neither throws nor fails, so the state is read right before it.
    if (socket.readyState !== open) return false
    const text = decoder.decode(frame)
    socket.send(text)
    return true
  },
  ping: () => {
    if (socket.readyState === open) socket.ping()
  },
  bufferedAmount: () => (socket.readyState === open ? socket.bufferedAmount : 0),
  pause: () => void socket.pause(),
  resume: () => void socket.resume(),
})

/** A UTF-16 unit is one to three bytes of UTF-8, so that most messages are judged without being measured. */
const isLonger = (text: string, bytes: number): boolean =>
  text.length > bytes || (text.length * 3 > bytes && Buffer.byteLength(text) > bytes)

/** Bun's text of a failure begins with the URL, whose query may hold a credential. */
const withoutUrl = (message: string): string => message.replace(/^WebSocket connection to '.*' failed: /s, "")

const bodyText = (bytes: Uint8Array, headers: Readonly<Record<string, string>>): string => {
  const chunked = /\bchunked\b/i.test(headers["transfer-encoding"] ?? "")
  return decoder.decode((chunked ? withoutChunks(bytes) : bytes).subarray(0, maxAnswerBody))
}

const withoutChunks = (bytes: Uint8Array): Uint8Array => {
  const parts: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length;) {
    const lineEnd = bytes.indexOf(10, at)
    const size = lineEnd < 0 ? Number.NaN : Number.parseInt(decoder.decode(bytes.subarray(at, lineEnd)), 16)
    if (!(size > 0)) break
    parts.push(bytes.subarray(lineEnd + 1, lineEnd + 1 + size))
    at = lineEnd + 1 + size + 2
  }
  return Buffer.concat(parts)
}

export const layerBun: Layer.Layer<Dialer> = Layer.sync(Dialer, () => make(start))
