/**
 * Listens with Bun's own server.
 */
import type { Handlers, Listening } from "./Listener.ts"
import { maxBytes } from "./Listener.ts"
import type { Connection } from "./Sockets.ts"

export const listenOnBun = (port: number, { close, fetch, message, open, ping }: Handlers): Listening => {
  const server = Bun.serve<Connection>({
    hostname: "127.0.0.1",
    port,
    idleTimeout: 0,
    maxRequestBodySize: maxBytes,
    fetch: (request, server) => fetch(request, server),
    websocket: { idleTimeout: 0, maxPayloadLength: maxBytes, backpressureLimit: maxBytes, open, message, ping, close },
  })
  return { port: server.port ?? 0, stop: (all) => server.stop(all) }
}
