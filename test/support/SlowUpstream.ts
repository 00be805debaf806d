/**
 * An upstream with an endless supply for whom asks for much, over either transport, and what of it is where: so that it
 * can be told, to the byte, how much of an answer waits in the proxy for a client that does not read.
 */
import { readFileSync } from "node:fs"
import { Deferred, Effect } from "effect"
import { toSse } from "../../src/wire/Event.ts"
import type { Asked, Line, Source } from "./RawUpstream.ts"
import { chunk, head, lastChunk, rawUpstream } from "./RawUpstream.ts"
import { readFrames, switching, text } from "./Frames.ts"

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
    line.write(switching(asked))
    let bytes: Buffer = Buffer.alloc(0)
    line.received = (more) => {
      bytes = Buffer.concat([bytes, more])
      for (const { opcode, payload, size } of readFrames(bytes)) {
        bytes = bytes.subarray(size)
        if (opcode === 1) line.flood(eventsAs(saysTo(line, payload), text))
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

/** The same as the frames of a client's socket. */
export const wholeFrames = (streamId: string): ReadonlyArray<string> =>
  Array.from({ length: many + 2 }, (_, number) =>
    event("resp_slow", number, many)[1].replace(/\}$/, `,"stream_id":"${streamId}"}`),
  )
