/**
 * One kept-alive HTTP/1.1 connection, byte by byte: for requests that no HTTP client would send.
 */
import type { Scope } from "effect"
import { Effect } from "effect"
import { connect } from "node:net"
import type { Answer } from "./Ask.ts"
import { objectIn } from "./Parsed.ts"

export interface RawRequest {
  readonly method?: string
  readonly path?: string
  /** Sent in this order, besides `host` and, where there is a body, `content-length`. */
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>
  readonly body?: string | Uint8Array
  /** Sends the body in chunks of this size instead of announcing its length. */
  readonly chunk?: number
}

export interface RawConnection {
  readonly ask: (request: RawRequest) => Effect.Effect<Answer>
}

const chunked = (body: Buffer, size: number): Buffer => {
  const parts: Array<Buffer> = []
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n"))
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")])
}

const encode = (
  { body, chunk, headers = [], method = body === undefined ? "GET" : "POST", path = "/v1/responses" }: RawRequest,
  host: string,
) => {
  const bytes = body === undefined ? undefined : Buffer.from(body)
  const framing =
    bytes === undefined ? [] : [chunk === undefined ? `content-length: ${bytes.length}` : "transfer-encoding: chunked"]
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `host: ${host}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...framing,
  ]
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1")
  if (bytes === undefined) return head
  return Buffer.concat([head, chunk === undefined ? bytes : chunked(bytes, chunk)])
}

/** The body behind a head, and how many bytes it took; undefined while it is not all there. */
const bodyIn = (bytes: Buffer, headers: Headers): { readonly text: string; readonly size: number } | undefined => {
  if (headers.get("transfer-encoding") !== "chunked") {
    const size = Number(headers.get("content-length") ?? 0)
    return bytes.length < size ? undefined : { text: bytes.subarray(0, size).toString(), size }
  }
  const parts: Array<Buffer> = []
  for (let at = 0; ;) {
    const line = bytes.indexOf("\r\n", at)
    if (line < 0) return undefined
    const size = Number.parseInt(bytes.subarray(at, line).toString(), 16)
    const end = line + 2 + size
    if (bytes.length < end + 2) return undefined
    parts.push(bytes.subarray(line + 2, end))
    at = end + 2
    if (size === 0) return { text: Buffer.concat(parts).toString(), size: at }
  }
}

/** Connects to the server of a URL; closed with the scope. A connection that ends before its answer is a defect. */
export const rawConnection = (url: string): Effect.Effect<RawConnection, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => connect({ host: "127.0.0.1", port: Number(new URL(url).port), noDelay: true })),
      (socket) => Effect.sync(() => socket.destroy()),
    ),
    (socket) => {
      let bytes: Buffer = Buffer.alloc(0)
      let waiting: ((answer: Effect.Effect<Answer>) => void) | undefined
      let gone: string | undefined
      const settle = () => {
        if (waiting === undefined) return
        const head = bytes.indexOf("\r\n\r\n")
        if (head >= 0) {
          const [first = "", ...lines] = bytes.subarray(0, head).toString("latin1").split("\r\n")
          const headers = new Headers(
            lines.map((line): [string, string] => [
              line.slice(0, line.indexOf(":")),
              line.slice(line.indexOf(":") + 1).trim(),
            ]),
          )
          const body = bodyIn(bytes.subarray(head + 4), headers)
          if (body !== undefined) {
            bytes = bytes.subarray(head + 4 + body.size)
            const { text } = body
            const resume = waiting
            waiting = undefined
            return resume(Effect.succeed({ status: Number(first.split(" ")[1]), headers, text, json: objectIn(text) }))
          }
        }
        if (gone !== undefined) waiting(Effect.die(new Error(`the connection is gone: ${gone}`)))
      }
      const lost = (why: string) => {
        gone ??= why
        settle()
      }
      socket.on("data", (part) => {
        bytes = Buffer.concat([bytes, Buffer.from(part)])
        settle()
      })
      socket.on("error", ({ message }) => lost(message))
      socket.on("close", () => lost("closed"))
      return {
        ask: (request) =>
          Effect.callback<Answer>((resume) => {
            waiting = resume
            socket.write(encode(request, new URL(url).host))
            settle()
          }),
      }
    },
  )
