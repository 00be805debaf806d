/**
 * A network between two processes: a TCP relay with a delay in both directions and a limit on what goes up.
 *
 * A new connection first takes one round trip, as a handshake does. All connections share the uplink, first come, first
 * served; the way down is only delayed. It prints its URL and ends with its standard input.
 *
 *     bun test/bench/processes/Relay.ts PORT ROUND_TRIP_MS UPLINK_BITS_PER_SECOND
 */
import type { Socket } from "bun"
import { setTimeout } from "node:timers/promises"
import { endWithInput } from "./Lines.ts"

const [port = 0, roundTrip = 80, uplink = 10_000_000] = process.argv.slice(2).map(Number)

/** The uplink is filled in pieces of this size, so that it is shared finely. */
const piece = 8 * 1024
let uplinkFreeAt = 0

/** One direction of one connection: what waits, in order, and what the receiver could not take yet. */
class Way {
  #to: Socket<Relayed> | undefined
  #waiting: Array<Buffer> = []
  /** What is under way: the timers only say when the next of it arrives, so that none overtakes. */
  readonly #underWay: Array<() => void> = []
  #lastAt = 0
  readonly #bitsPerSecond: number

  constructor(bitsPerSecond: number) {
    this.#bitsPerSecond = bitsPerSecond
  }

  carry(chunk: Buffer, notBefore: number) {
    for (let at = 0; at < chunk.length; at += piece) {
      // The runtime reuses the buffer that it hands over.
      const bytes = Buffer.from(chunk.subarray(at, at + piece))
      const now = Math.max(performance.now(), notBefore)
      let sentAt = now
      if (this.#bitsPerSecond > 0) {
        uplinkFreeAt = Math.max(now, uplinkFreeAt) + (bytes.length * 8000) / this.#bitsPerSecond
        sentAt = uplinkFreeAt
      }
      this.#lastAt = Math.max(this.#lastAt, sentAt + roundTrip / 2)
      this.#at(this.#lastAt, () => this.#deliver(bytes))
    }
  }

  end(then: () => void) {
    this.#at(this.#lastAt, then)
  }

  to(socket: Socket<Relayed>) {
    this.#to = socket
    this.drain()
  }

  drain() {
    const waiting = this.#waiting
    this.#waiting = []
    for (const bytes of waiting) this.#deliver(bytes)
  }

  #deliver(bytes: Buffer) {
    if (this.#to === undefined || this.#waiting.length > 0) return void this.#waiting.push(bytes)
    const written = Math.max(this.#to.write(bytes), 0)
    if (written < bytes.length) this.#waiting.push(bytes.subarray(written))
  }

  #at(time: number, work: () => void) {
    this.#underWay.push(work)
    void setTimeout(Math.ceil(Math.max(time - performance.now(), 0))).then(() => this.#underWay.shift()?.())
  }
}

interface Relayed {
  readonly out: Way
  readonly back: Way
  other: Socket<Relayed> | undefined
  readonly openedAt: number
}

const server = Bun.listen<Relayed>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open: (client) => {
      const relayed: Relayed = { out: new Way(uplink), back: new Way(0), other: undefined, openedAt: performance.now() }
      client.setNoDelay(true)
      client.data = relayed
      relayed.back.to(client)
      void Bun.connect<Relayed>({
        hostname: "127.0.0.1",
        port,
        data: relayed,
        socket: {
          open: (server) => {
            server.setNoDelay(true)
            relayed.other = server
            relayed.out.to(server)
          },
          data: (_, chunk) => relayed.back.carry(chunk, 0),
          drain: () => relayed.out.drain(),
          close: () => relayed.back.end(() => client.end()),
          error: () => {},
        },
      }).catch(() => client.end())
    },
    data: (client, chunk) => client.data.out.carry(chunk, client.data.openedAt + roundTrip),
    drain: (client) => client.data.back.drain(),
    close: (client) => client.data.out.end(() => client.data.other?.end()),
    error: () => {},
  },
})

console.log(`relay http://127.0.0.1:${server.port}`)
endWithInput()
