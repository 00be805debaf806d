/**
 * Listens with `node:http` and the server of `ws`, on Node and Deno.
 */
import { once } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import type { WebSocket } from "ws"
import { WebSocketServer } from "ws"
import type { Handlers, Listening } from "./Listener.ts"
import { maxBytes } from "./Listener.ts"
import type { Connection, Socket } from "./Sockets.ts"

/** As `fetch` would make it; it is aborted when the client goes away before it has its answer. */
const requestOf = (incoming: IncomingMessage, signal?: AbortSignal): Request => {
  const headers = new Headers()
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
    headers.append(incoming.rawHeaders[at] ?? "", incoming.rawHeaders[at + 1] ?? "")
  }
  const method = incoming.method ?? "GET"
  const hasBody = method !== "GET" && method !== "HEAD"
  return new Request(`http://127.0.0.1${incoming.url ?? "/"}`, {
    method,
    headers,
    ...(signal === undefined ? {} : { signal }),
    ...(hasBody ? { body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>, duplex: "half" } : {}),
  } as RequestInit)
}

/** Writes the answer; a body that errors breaks the connection, even before the head if nothing came before. */
const write = async (answer: Response, to: ServerResponse): Promise<void> => {
  const reader = answer.body?.getReader()
  to.once("close", () => void reader?.cancel().catch(() => {}))
  try {
    const first = await reader?.read()
    to.writeHead(answer.status, Object.fromEntries(answer.headers))
    to.flushHeaders()
    for (let part = first; part?.value !== undefined; part = await reader?.read()) {
      if (!to.write(part.value) && !to.destroyed) await Promise.race([once(to, "drain"), once(to, "close")])
    }
    to.end()
  } catch {
    to.destroy()
  }
}

/** A refused upgrade is answered on the bare connection. */
const refusal = async (answer: Response): Promise<string> => {
  const body = await answer.text()
  const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}\r\n`).join("")
  const length = `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n`
  return `HTTP/1.1 ${answer.status} ${answer.statusText || "Refused"}\r\n${headers}${length}\r\n${body}`
}

const socketOf = (socket: WebSocket, data: Connection): Socket => ({
  data,
  send: (text) => socket.send(text),
  sendBinary: (bytes) => socket.send(bytes),
  close: (code, reason) => socket.close(code, reason),
  terminate: () => socket.terminate(),
})

export const listenOnNode = async (port: number, handlers: Handlers): Promise<Listening> => {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxBytes, perMessageDeflate: false })
  const server = createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 }, (incoming, outgoing) => {
    const left = new AbortController()
    outgoing.once("close", () => outgoing.writableFinished || left.abort())
    const answer = handlers.fetch(requestOf(incoming, left.signal), { upgrade: () => false })
    void Promise.resolve(answer).then(
      (answer) => (answer === undefined ? undefined : write(answer, outgoing)),
      () => outgoing.destroy(),
    )
  })

  server.on("upgrade", (incoming: IncomingMessage, stream, head: Buffer) => {
    stream.on("error", () => stream.destroy())
    const upgrade = (
      _: Request,
      { data, headers }: { data: Connection; headers: Readonly<Record<string, string>> },
    ) => {
      const told = (lines: Array<string>, of: IncomingMessage) => {
        if (of === incoming) lines.push(...Object.entries(headers).map(([name, value]) => `${name}: ${value}`))
      }
      sockets.on("headers", told)
      let isSocket = false
      sockets.handleUpgrade(incoming, stream, head, (opened) => {
        isSocket = true
        const socket = socketOf(opened, data)
        opened.on("message", (message: Buffer, isBinary) =>
          handlers.message(socket, isBinary ? message : message.toString()),
        )
        opened.on("ping", () => handlers.ping(socket))
        opened.on("close", (code) => handlers.close(socket, code))
        opened.on("error", () => opened.terminate())
        handlers.open(socket)
      })
      sockets.off("headers", told)
      return isSocket
    }
    void Promise.resolve(handlers.fetch(requestOf(incoming), { upgrade })).then(async (answer) => {
      if (answer !== undefined && !stream.destroyed) stream.end(await refusal(answer))
    })
  })

  server.listen(port, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    stop: (all) =>
      new Promise((resolve) => {
        server.close(() => resolve())
        if (!all) return
        for (const socket of sockets.clients) socket.terminate()
        server.closeAllConnections()
      }),
  }
}
