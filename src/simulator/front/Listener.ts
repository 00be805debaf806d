/**
 * What the simulator needs of a platform's server.
 */
import type { Connection, Socket } from "./Sockets.ts"

export interface Upgrading {
  /** Makes a WebSocket of the connection that the request came on; false: it can't become one. */
  readonly upgrade: (
    request: Request,
    options: { readonly data: Connection; readonly headers: Readonly<Record<string, string>> },
  ) => boolean
}

export interface Handlers {
  /** Without an answer, the request was upgraded. A body that errors breaks the connection. */
  readonly fetch: (request: Request, server: Upgrading) => Response | Promise<Response> | undefined
  readonly open: (socket: Socket) => void
  readonly message: (socket: Socket, message: string | Buffer) => void
  readonly ping: (socket: Socket) => void
  readonly close: (socket: Socket, code: number) => void
}

export interface Listening {
  readonly port: number
  /** Takes no new connections; `all`: and ends those that are open. */
  readonly stop: (all: boolean) => Promise<void>
}

/** Listens on 127.0.0.1; port 0 is any free one. Rejects where it can't. */
export type Listen = (port: number, handlers: Handlers) => Promise<Listening>

/** No message or body is refused here: what an upstream's limits are is the simulator's to say. */
export const maxBytes = 1024 * 1024 * 1024
