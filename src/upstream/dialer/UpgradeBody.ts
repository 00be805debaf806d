/**
 * Gathers the body of an HTTP/1.1 answer from a byte stream, without transfer coding and up to a bound (RFC 9112, 6 and
 * 7).
 *
 * A body that is framed wrongly ends where the mistake is. It comes with `UpgradeAnswer.ts`, for the same reason: a
 * dial that is refused with 4 KB in chunks takes 0.36 to 0.6 of the CPU of one by `ws` over `node:http` (Bun 1.4.5).
 */
import { maxAnswerBody } from "./Dialer.ts"

/** The longest line that tells a chunk's size, its extensions included, in bytes. */
const maxChunkLine = 1024

export class UpgradeBody {
  #parts: Array<Buffer> = []
  #size = 0
  /** How many bytes of the body or the chunk are to come; infinite: it goes on until the connection ends. */
  #left: number
  #line: Buffer = Buffer.alloc(0)
  #between: "chunked" | "behind a chunk" | "whole"

  constructor(headers: Readonly<Record<string, string>>) {
    const coding = headers["transfer-encoding"]
    const length = headers["content-length"]
    const chunked = coding !== undefined && /(^|,)[ \t]*chunked[ \t]*$/i.test(coding)
    this.#between = chunked ? "chunked" : "whole"
    this.#left = chunked ? 0 : coding === undefined && /^\d{1,15}$/.test(length ?? "") ? Number(length) : Infinity
  }

  /** True: the body is whole, or no more of it is kept. */
  read(chunk: Buffer): boolean {
    let rest = chunk
    for (;;) {
      const part = rest.subarray(0, Math.min(this.#left, maxAnswerBody - this.#size))
      // A copy, so that a few bytes do not keep the memory of a whole chunk.
      if (part.length > 0) this.#parts.push(Buffer.from(part))
      this.#size += part.length
      this.#left -= part.length
      rest = rest.subarray(part.length)
      if (this.#size >= maxAnswerBody) return true
      if (this.#left > 0) return false
      if (this.#between === "whole") return true
      const line = this.#nextLine(rest)
      if (line === undefined) return this.#line.length > maxChunkLine
      rest = line.rest
      if (this.#between === "behind a chunk") {
        if (line.text !== "") return true
        this.#between = "chunked"
      } else {
        const size = /^([0-9a-f]{1,12})[ \t]*(;|$)/i.exec(line.text)?.[1]
        this.#left = size === undefined ? 0 : Number.parseInt(size, 16)
        if (this.#left === 0) return true
        this.#between = "behind a chunk"
      }
    }
  }

  text(): string {
    return Buffer.concat(this.#parts).toString()
  }

  #nextLine(bytes: Buffer): { readonly text: string; readonly rest: Buffer } | undefined {
    const end = bytes.indexOf(10)
    const piece = bytes.subarray(0, Math.min(end < 0 ? bytes.length : end, maxChunkLine + 1))
    const line = Buffer.concat([this.#line, piece])
    this.#line = end < 0 ? line : Buffer.alloc(0)
    if (end < 0) return undefined
    return { text: line.toString("latin1").replace(/\r$/, ""), rest: bytes.subarray(end + 1) }
  }
}
