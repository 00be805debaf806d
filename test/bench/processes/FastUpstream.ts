/**
 * An upstream that costs as little as it can: it counts the bytes of a request, looks into none, and sends what was
 * serialised before.
 *
 * It speaks HTTP and WebSocket on one raw TCP port, and is told how to answer by `POST /control`. It prints its URL and
 * ends with its standard input.
 *
 *     bun test/bench/processes/FastUpstream.ts
 */
import type { Socket } from "bun"
import { createHash } from "node:crypto"
import { setImmediate } from "node:timers"
import { setTimeout } from "node:timers/promises"
import type { AnswerScript, UpstreamStats } from "../Protocol.ts"
import type { Answer, Piece } from "./Answers.ts"
import { answerOf, numberText, stamp } from "./Answers.ts"
import { endWithInput } from "./Lines.ts"
import { FrameReader } from "./FrameReader.ts"

interface Answering {
  readonly peer: Peer
  readonly pieces: ReadonlyArray<Piece>
  readonly number: string
  next: number
  /** When the next piece is due; 0: at once. */
  dueAt: number
}

let script: AnswerScript = { kind: "message", deltas: 1, perSecond: 0, burst: true }
let answer: Answer = answerOf(script)
let turns = 0
let upgrades = 0
let bytesUp = 0
const peers = new Set<Peer>()
const answering: Array<Answering> = []
let looping = false

/** One round: at most one piece for each answer. */
const round = () => {
  looping = false
  const now = performance.now()
  let wait = Number.POSITIVE_INFINITY
  for (let i = 0; i < answering.length; i++) {
    const turn = answering[i]!
    if (turn.peer.closed) turn.next = turn.pieces.length
    else if (turn.dueAt > now) wait = Math.min(wait, turn.dueAt - now)
    else {
      if (!turn.peer.blocked) {
        turn.peer.write(stamp(turn.pieces[turn.next++]!, turn.number))
        if (turn.dueAt > 0) turn.dueAt += 1000 / script.perSecond
      }
      wait = 0
    }
    if (turn.next < turn.pieces.length) continue
    const last = answering.pop()!
    if (last !== turn) answering[i--] = last
  }
  if (answering.length === 0) return
  looping = true
  if (wait === 0 && script.perSecond === 0) setImmediate(round)
  else void setTimeout(1).then(round)
}

const begin = (peer: Peer, pieces: ReadonlyArray<Piece>) => {
  const number = numberText(++turns)
  if (pieces.length === 1 && script.perSecond === 0) return peer.write(stamp(pieces[0]!, number))
  // Streams that begin together must not stay in step.
  const dueAt = script.perSecond === 0 ? 0 : performance.now() + ((turns * 7) % 25) * (40 / script.perSecond)
  answering.push({ peer, pieces, number, next: 0, dueAt })
  if (looping) return
  looping = true
  setImmediate(round)
}

const lineEnd = Buffer.from("\r\n\r\n")
const lastChunk = Buffer.from("0\r\n\r\n")

class Peer {
  closed = false
  webSocket = false
  readonly #socket: Socket<Peer>
  readonly #waiting: Array<Buffer> = []
  #head: Buffer = Buffer.alloc(0)
  /** Bytes of the request's body that are still to come; undefined: they come in chunks. */
  #body: number | undefined = 0
  #reader: FrameReader | undefined

  constructor(socket: Socket<Peer>) {
    this.#socket = socket
  }

  get blocked(): boolean {
    return this.#waiting.length > 0
  }

  write(bytes: Buffer) {
    if (this.blocked) return void this.#waiting.push(Buffer.from(bytes))
    const written = this.#socket.write(bytes)
    if (written < bytes.length) this.#waiting.push(Buffer.from(bytes.subarray(Math.max(written, 0))))
  }

  drain() {
    for (let bytes = this.#waiting.shift(); bytes !== undefined; bytes = this.#waiting.shift()) {
      const written = this.#socket.write(bytes)
      if (written < bytes.length) return void this.#waiting.unshift(bytes.subarray(Math.max(written, 0)))
    }
  }

  drop() {
    this.#socket.terminate()
  }

  receive(chunk: Buffer) {
    bytesUp += chunk.length
    if (this.#reader !== undefined) return this.#reader.read(chunk)
    if (this.#body === undefined) {
      if (chunk.subarray(-lastChunk.length).equals(lastChunk)) this.#asked()
      return
    }
    if (this.#body > 0) {
      this.#body -= chunk.length
      if (this.#body <= 0) this.#asked()
      return
    }
    this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
    const end = this.#head.indexOf(lineEnd)
    if (end < 0) return
    const head = this.#head.toString("latin1", 0, end)
    const rest = this.#head.subarray(end + lineEnd.length)
    this.#head = Buffer.alloc(0)
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    if (head.includes(" /control")) return this.#control(head, rest)
    const key = /\r\nsec-websocket-key: *(\S+)/i.exec(head)?.[1]
    if (key !== undefined) return this.#upgrade(key)
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
      this.#body = undefined
      if (rest.subarray(-lastChunk.length).equals(lastChunk)) this.#asked()
    } else {
      this.#body = length - rest.length
      if (this.#body <= 0) this.#asked()
    }
  }

  #asked() {
    this.#body = 0
    begin(this, answer.chunks)
  }

  #upgrade(key: string) {
    upgrades++
    this.webSocket = true
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
    this.write(
      Buffer.from(
        `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
      ),
    )
    this.#reader = new FrameReader({
      onMessage: () => begin(this, answer.frames),
      onPing: (payload) => this.write(Buffer.concat([Buffer.from([0x8a, payload.length]), payload])),
      onClose: () => this.#socket.end(),
    })
  }

  /** `POST` takes a script in the query, `DELETE` drops the WebSockets, `GET` only asks; each gives the counts. */
  #control(head: string, _body: Buffer) {
    const [method = "", target = ""] = head.split(" ", 2)
    if (method === "POST") {
      script = JSON.parse(decodeURIComponent(target.slice(target.indexOf("?") + 1))) as AnswerScript
      answer = answerOf(script)
    } else if (method === "DELETE") {
      for (const peer of peers) if (peer.webSocket) peer.drop()
    }
    let sockets = 0
    for (const peer of peers) if (peer.webSocket && !peer.closed) sockets++
    const stats: UpstreamStats = { turns, upgrades, bytesUp, sockets }
    const body = JSON.stringify(stats)
    this.write(
      Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
    )
  }
}

const server = Bun.listen<Peer>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open: (socket) => {
      socket.setNoDelay(true)
      socket.data = new Peer(socket)
      peers.add(socket.data)
    },
    data: (socket, chunk) => socket.data.receive(chunk),
    drain: (socket) => socket.data.drain(),
    close: (socket) => {
      socket.data.closed = true
      peers.delete(socket.data)
    },
    error: () => {},
  },
})

console.log(`upstream http://127.0.0.1:${server.port}`)
endWithInput()
