/**
 * A request that is under way: who sent it, what answers it, and that its connection is not idle meanwhile.
 *
 * It is one object with methods in place of closures, maps and two listeners, of which each request would need its own.
 */
import type { Fiber } from "effect"
import { HttpServerError } from "effect/http"
import type { Attached } from "../socket/BunSockets.ts"
import { peerOf } from "./SystemCalls.ts"

interface Times {
  /** When it came, as `monotonicMillis` has it. */
  readonly beganAt: number
  /** How long its connection may be quiet afterwards, in seconds. */
  readonly idleSeconds: number
}

export class Pending {
  answered = false
  resolve: (response: Response | undefined) => void = () => {}
  /** The request's fiber, while it runs. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** Undefined: the peer is gone. */
  readonly address: string | undefined
  /** The platform's own. */
  readonly request: Request
  readonly beganAt: number
  readonly #server: Bun.Server<Attached>
  readonly #busy: Set<string>
  readonly #idleSeconds: number
  readonly #peer: string

  constructor(request: Request, server: Bun.Server<Attached>, busy: Set<string>, { beganAt, idleSeconds }: Times) {
    const peer = server.requestIP(request)
    this.request = request
    this.beganAt = beganAt
    this.#server = server
    this.#busy = busy
    this.#idleSeconds = idleSeconds
    this.address = peer?.address
    this.#peer = peer === null ? "" : peerOf(peer.address, peer.port)
    server.timeout(request, 0)
    busy.add(this.#peer)
    request.signal.addEventListener("abort", this, { once: true })
  }

  /** The client has gone away: an event of the request's signal. */
  handleEvent() {
    this.#busy.delete(this.#peer)
    this.fiber?.interruptUnsafe(undefined, HttpServerError.ClientAbort.annotation)
  }

  answer(response: Response | undefined) {
    this.answered = true
    this.resolve(response)
  }

  /** The answer ends, and the connection may be quiet for a while only. */
  ends() {
    this.#busy.delete(this.#peer)
    this.#server.timeout(this.request, this.#idleSeconds)
  }

  /** The request has become a WebSocket: from here on its connection is busy until it is gone. */
  upgraded() {
    pending.delete(this.request)
    // The platform keeps the signal for as long as the socket, and with its listener all of the request.
    this.request.signal.removeEventListener("abort", this)
    this.#busy.add(this.#peer)
    this.answer(undefined)
  }

  /** To be called when that WebSocket is gone; it holds nothing of the request, which would live as long. */
  get gone(): () => void {
    return notBusy(this.#busy, this.#peer)
  }
}

const notBusy = (busy: Set<string>, peer: string) => () => void busy.delete(peer)

/** By the platform's request. */
export const pending = new WeakMap<object, Pending>()
