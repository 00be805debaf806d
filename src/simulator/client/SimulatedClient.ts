/**
 * A client of a proxy's WebSocket that does what no right client does, on a connection of which every byte is its own.
 *
 * It knows nothing of what the proxy should answer: it tells which events came, and how the connection ended.
 */
import type { Scope } from "effect"
import { Deferred, Effect } from "effect"
import type { Socket } from "node:net"
import { connect } from "node:net"
import type { JsonObject } from "../JsonText.ts"
import type { ClientFault } from "./ClientFaults.ts"
import { fragmentsOf, frameOf, opcodes } from "./ClientFaults.ts"

export type { ClientFault }
export { violations } from "./ClientFaults.ts"

export interface ClientOutcome {
  /** Of the request's lane, as they came. */
  readonly events: ReadonlyArray<JsonObject>
  /** `answered`: the last event is the answer's end. Else the connection is gone: with that close code, or without. */
  readonly ended: "answered" | "gone" | number
}

interface Asking {
  readonly lane: unknown
  readonly events: Array<JsonObject>
  readonly faults: ReadonlyArray<ClientFault>
  readonly over: (outcome: ClientOutcome) => void
}

const ends = new Set(["response.completed", "response.failed", "response.incomplete", "error"])

export class SimulatedClient {
  readonly #socket: Socket
  readonly #opened = Deferred.makeUnsafe<void>()
  readonly #gone = Deferred.makeUnsafe<void>()
  readonly #asking = new Set<Asking>()
  #bytes: Buffer = Buffer.alloc(0)
  #isUpgraded = false
  #closeCode: number | undefined
  #strays = 0
  #readsOn = false

  private constructor(url: string, headers: Readonly<Record<string, string>>) {
    const { host, hostname, pathname, port } = new URL(url)
    const lines = Object.entries({
      host,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
      ...headers,
    })
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true })
    this.#socket.write(
      `GET ${pathname}/responses HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
    )
    this.#socket.on("data", (part: Buffer) => this.#received(part))
    this.#socket.on("end", () => this.#socket.destroy())
    this.#socket.on("error", () => {})
    this.#socket.on("close", () => {
      for (const asking of this.#asking) this.#over(asking, this.#closeCode ?? "gone")
      Deferred.doneUnsafe(this.#opened, Effect.void)
      Deferred.doneUnsafe(this.#gone, Effect.void)
    })
  }

  /** Opens `URL/responses` with these headers; the connection ends with the scope. */
  static open(
    url: string,
    headers: Readonly<Record<string, string>> = {},
  ): Effect.Effect<SimulatedClient, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.tap(
        Effect.sync(() => new SimulatedClient(url, headers)),
        (client) => Deferred.await(client.#opened),
      ),
      (client) => Effect.sync(() => client.#socket.destroy()),
    )
  }

  /** Sends a `response.create` and waits for the end of its answer, or of the connection; meanwhile it does the faults. */
  ask(request: JsonObject, ...faults: ReadonlyArray<ClientFault>): Effect.Effect<ClientOutcome> {
    return Effect.callback((resume) => {
      const asking: Asking = {
        lane: request["stream_id"],
        events: [],
        faults,
        over: (outcome) => resume(Effect.succeed(outcome)),
      }
      this.#asking.add(asking)
      if (this.#socket.destroyed) return this.#over(asking, "gone")
      this.#send(Buffer.from(JSON.stringify({ type: "response.create", ...request })), faults)
      this.#act(asking)
    })
  }

  /** Reads again after a `StopReading`, and stops no more, if that is still to come. */
  readonly readOn: Effect.Effect<void> = Effect.sync(() => {
    this.#readsOn = true
    this.#socket.resume()
  })

  /** How many events have come that no request waited for: none, where each has one end. */
  get strays(): number {
    return this.#strays
  }

  /** The code of the close frame that came; undefined: none has. */
  get closeCode(): number | undefined {
    return this.#closeCode
  }

  /** Leaves, whatever is under way. */
  leave(how: "close" | "end" | "reset") {
    if (!this.#socket.destroyed) this.#leave(how)
  }

  /** Done when the connection has ended. */
  get gone(): Effect.Effect<void> {
    return Deferred.await(this.#gone)
  }

  #send(message: Buffer, faults: ReadonlyArray<ClientFault>) {
    for (const fault of faults) {
      if (fault._tag === "Fragments") {
        this.#socket.write(fragmentsOf(message, fault.size, fault.pings === true))
        return
      }
      if (fault._tag === "HalfFrame") {
        this.#socket.write(frameOf(opcodes.text, message).subarray(0, fault.bytes), () => this.#leave(fault.how))
        return
      }
    }
    this.#socket.write(frameOf(opcodes.text, message))
  }

  /** Does what is due by now. */
  #act({ events, faults }: Asking) {
    const due = faults.filter((fault) => "at" in fault && fault.at === events.length)
    for (const fault of due) {
      if (fault._tag === "Vanish") this.#leave(fault.how)
      else if (fault._tag === "StopReading") {
        if (!this.#readsOn) this.#socket.pause()
      } else if (fault._tag === "Raw") this.#socket.write(fault.bytes)
      else if (fault._tag === "Pings") {
        const ping = frameOf(opcodes.ping, Buffer.from("are you there"))
        this.#socket.write(Buffer.concat(Array.from({ length: fault.count }, () => ping)))
      }
    }
  }

  #leave(how: "close" | "end" | "reset") {
    if (how === "close") this.#socket.write(frameOf(opcodes.close, Buffer.from([0x03, 0xe8])))
    else if (how === "end") this.#socket.end()
    else this.#socket.resetAndDestroy()
  }

  #over(asking: Asking, ended: ClientOutcome["ended"]) {
    this.#asking.delete(asking)
    asking.over({ events: asking.events, ended })
  }

  #received(part: Buffer) {
    this.#bytes = Buffer.concat([this.#bytes, part])
    if (!this.#isUpgraded) {
      const end = this.#bytes.indexOf("\r\n\r\n")
      if (end < 0) return
      this.#isUpgraded = true
      this.#bytes = this.#bytes.subarray(end + 4)
      Deferred.doneUnsafe(this.#opened, Effect.void)
    }
    for (let size = this.#frame(); size > 0; size = this.#frame()) this.#bytes = this.#bytes.subarray(size)
  }

  /** Takes the frame that comes next; gives its size, or 0 while it is not whole. */
  #frame(): number {
    const bytes = this.#bytes
    const short = (bytes[1] ?? 0) & 127
    const head = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length < head) return 0
    const length = head === 2 ? short : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    if (bytes.length < head + length) return 0
    const payload = bytes.subarray(head, head + length)
    const opcode = (bytes[0] ?? 0) & 15
    if (opcode === opcodes.text) this.#event(JSON.parse(payload.toString()) as JsonObject)
    else if (opcode === opcodes.ping) this.#socket.write(frameOf(opcodes.pong, payload))
    else if (opcode === opcodes.close) this.#closeCode = length < 2 ? 1005 : payload.readUInt16BE(0)
    return head + length
  }

  #event(event: JsonObject) {
    for (const asking of this.#asking) {
      if (event["stream_id"] !== asking.lane) continue
      asking.events.push(event)
      if (ends.has(String(event["type"]))) this.#over(asking, "answered")
      else this.#act(asking)
      return
    }
    this.#strays++
  }
}
