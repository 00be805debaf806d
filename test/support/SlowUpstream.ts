/**
 * An upstream with an endless supply for whom asks for much, over either transport, and what of it is where: so that it
 * can be told, to the byte, how much of an answer waits in the proxy for a client that does not read.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { Deferred, Effect } from "effect"
import { toSse } from "../../src/wire/Event.ts"
import type { Asked, Line, Source } from "./RawUpstream.ts"
import { chunk, head, lastChunk, rawUpstream } from "./RawUpstream.ts"

const filler = "a".repeat(16 * 1024)
const many = 2048

const event = (id: string, number: number, count: number): readonly [type: string, text: string] => {
  if (number === 0)
    return ["response.created", `{"type":"response.created","sequence_number":0,"response":{"id":"${id}"}}`]
  const more = number <= count
  const type = more ? "response.output_text.delta" : "response.completed"
  const rest = more ? `"delta":"${number}${filler}"` : `"response":{"id":"${id}","status":"completed","output":[]}`
  return [type, `{"type":"${type}","sequence_number":${number},${rest}}`]
}

/** What a client gets of an answer, in the words of SSE. */
export const wholeAnswer = (): Buffer =>
  Buffer.concat(
    Array.from({ length: many + 2 }, (_, number) => Buffer.from(toSse(...event("resp_slow", number, many)))),
  )

interface Says {
  readonly id: string
  readonly count: number
}

const eventsAs = ({ count, id }: Says, framed: (text: string) => Uint8Array): Source => {
  let number = 0
  return () => (number > count + 1 ? undefined : framed(event(id, number++, count)[1]))
}

const textFrame = (text: string): Uint8Array => {
  const bytes = Buffer.from(text)
  if (bytes.length < 126) return Buffer.concat([Buffer.from([0x81, bytes.length]), bytes])
  return Buffer.concat([Buffer.from([0x81, 126, bytes.length >> 8, bytes.length & 255]), bytes])
}

/** The text in one masked frame of up to 64 KiB; undefined while it is not all there. */
const unmasked = (
  bytes: Buffer,
): { readonly opcode: number; readonly text: string; readonly size: number } | undefined => {
  if (bytes.length < 8) return undefined
  const short = (bytes[1] ?? 0) & 127
  const at = short < 126 ? 2 : 4
  const length = short < 126 ? short : bytes.readUInt16BE(2)
  if (bytes.length < at + 4 + length) return undefined
  const mask = bytes.subarray(at, at + 4)
  const text = bytes.subarray(at + 4, at + 4 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
  return { opcode: (bytes[0] ?? 0) & 15, text: Buffer.from(text).toString(), size: at + 4 + length }
}

/**
 * Listens until the scope closes. A request with the `metadata` `{"slow":"N"}` gets 32 MiB, any other a few events.
 * `begun` waits for `count` different slow ones.
 */
export const slowUpstream = Effect.fnUntraced(function* (count: number) {
  const slow = new Map<number, Line>()
  const begun = yield* Deferred.make<void>()
  let answers = 0
  const saysTo = (line: Line, body: string): Says => {
    const found = /"slow":"(\d+)"/.exec(body)
    if (found === null) return { id: `resp_${answers++}`, count: 3 }
    slow.set(Number(found[1]), line)
    if (slow.size === count) Deferred.doneUnsafe(begun, Effect.void)
    return { id: "resp_slow", count: many }
  }

  const upgrade = (line: Line, { head: asked }: Asked) => {
    const key = /^sec-websocket-key: *(\S+)/im.exec(asked)?.[1] ?? ""
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
    line.write(head(101, "upgrade: websocket", "connection: upgrade", `sec-websocket-accept: ${accept}`))
    let bytes: Buffer = Buffer.alloc(0)
    line.received = (more) => {
      bytes = Buffer.concat([bytes, more])
      for (let frame = unmasked(bytes); frame !== undefined; frame = unmasked(bytes)) {
        bytes = bytes.subarray(frame.size)
        if (frame.opcode === 1) line.flood(eventsAs(saysTo(line, frame.text), textFrame))
      }
    }
  }

  const { lines, open, port } = yield* rawUpstream((line, asked) => {
    if (/^upgrade: *websocket/im.test(asked.head)) return upgrade(line, asked)
    line.write(head(200, "content-type: text/event-stream", "transfer-encoding: chunked"))
    line.flood(eventsAs(saysTo(line, asked.body), (text) => chunk(`data: ${text}\n\n`)))
    line.write(lastChunk)
  })
  return { url: `http://127.0.0.1:${port}/v1`, port, lines, open, slow, begun: Deferred.await(begun) }
})

/** Bytes in the hands of the kernel between two ports of this machine: sent and not acknowledged, or not yet read. */
export const inKernel = (from: number, to: number): number => {
  let bytes = 0
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const found = /:([0-9A-F]{4}) \S+:([0-9A-F]{4}) \w+ ([0-9A-F]{8}):([0-9A-F]{8})/.exec(line)
    const [local, remote, sent, received] = (found?.slice(1) ?? []).map((digits) => Number.parseInt(digits, 16))
    if (local === from && remote === to) bytes += sent ?? 0
    if (local === to && remote === from) bytes += received ?? 0
  }
  return bytes
}
