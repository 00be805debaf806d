/**
 * An upstream of which every byte is the test's own, and which knows how many of them its kernel has taken.
 *
 * A connection reads whole requests (a head, and a body of an announced length) until a test takes its bytes over with
 * `received`. What it writes goes out as fast as the other side lets it, and no faster.
 */
import { Deferred, Effect } from "effect"
import type { Scope } from "effect"

export interface Asked {
  readonly head: string
  readonly body: string
}

/** Gives what is to be sent next; undefined: that is all for now. */
export type Source = () => Uint8Array | undefined

export class Line {
  /** Done when the other side is gone. */
  readonly closed = Deferred.makeUnsafe<void>()
  /** Called whenever the kernel has taken all there was for now, or does not take any more. */
  onStall: () => void = () => {}
  /** Bytes that the kernel has taken. */
  taken = 0
  /** Port of the other side. */
  readonly port: number
  received: (bytes: Buffer) => void
  #requests: Buffer = Buffer.alloc(0)
  #left: Uint8Array = new Uint8Array()
  #sources: Array<Source> = []
  readonly #socket: Bun.Socket<Line | undefined>

  constructor(socket: Bun.Socket<Line | undefined>, asked: (line: Line, asked: Asked) => void) {
    this.#socket = socket
    this.port = socket.remotePort
    this.received = (bytes) => {
      this.#requests = Buffer.concat([this.#requests, bytes])
      const end = this.#requests.indexOf("\r\n\r\n")
      if (end < 0) return
      const head = this.#requests.subarray(0, end).toString("latin1")
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
      if (this.#requests.length < end + 4 + length) return
      const body = this.#requests.subarray(end + 4, end + 4 + length).toString()
      this.#requests = this.#requests.subarray(end + 4 + length)
      asked(this, { head, body })
    }
  }

  write(...parts: ReadonlyArray<string | Uint8Array>) {
    for (const part of parts) {
      const bytes = Buffer.from(part)
      let given = false
      this.flood(() => {
        if (given) return undefined
        given = true
        return bytes
      })
    }
  }

  /** Writes what `source` gives, one after another, each as soon as the one before is gone. */
  flood(source: Source) {
    this.#sources.push(source)
    this.flush()
  }

  flush() {
    for (;;) {
      while (this.#left.length > 0) {
        const count = this.#socket.write(this.#left)
        if (count > 0) this.taken += count
        this.#left = this.#left.subarray(Math.max(0, count))
        if (this.#left.length > 0) return this.onStall()
      }
      const source = this.#sources[0]
      if (source === undefined) return this.onStall()
      const next = source()
      if (next === undefined) this.#sources.shift()
      else this.#left = next
    }
  }

  end() {
    this.#socket.end()
  }

  /** Ends its own side alone: what the other side sends is still taken. */
  shutdown() {
    this.#socket.shutdown()
  }

  reset() {
    this.#socket.terminate()
  }
}

export interface RawUpstream {
  readonly port: number
  /** Of every connection, in their order. */
  readonly lines: ReadonlyArray<Line>
  readonly open: () => number
}

/** Listens until the scope closes; `asked` is told of every whole request. */
export const rawUpstream = (
  asked: (line: Line, asked: Asked) => void,
  tls?: { readonly cert: string; readonly key: string },
): Effect.Effect<RawUpstream, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const lines: Array<Line> = []
        let open = 0
        const server = Bun.listen<Line | undefined>({
          hostname: "127.0.0.1",
          port: 0,
          ...(tls === undefined ? {} : { tls }),
          socket: {
            open: (socket) => {
              open++
              const line = new Line(socket, asked)
              socket.data = line
              lines.push(line)
            },
            data: ({ data }, bytes) => data?.received(bytes),
            drain: ({ data }) => data?.flush(),
            close: ({ data }) => {
              open--
              if (data !== undefined) Deferred.doneUnsafe(data.closed, Effect.void)
            },
          },
        })
        return { server, lines, open: () => open }
      }),
      ({ server }) => Effect.sync(() => server.stop(true)),
    ),
    ({ lines, open, server }) => ({ port: server.port, lines, open }),
  )

/** One piece of a body in chunks. */
export const chunk = (content: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(content)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])
}
export const lastChunk = "0\r\n\r\n"

export const head = (status: number, ...headers: ReadonlyArray<string>) =>
  `HTTP/1.1 ${status} Said\r\n${headers.map((header) => `${header}\r\n`).join("")}\r\n`
