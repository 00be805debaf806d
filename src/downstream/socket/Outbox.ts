/**
 * Sends frames to a client in the order of their lanes, and holds them back while the client is behind.
 *
 * The platform is given a frame only while it has none to wait with, so what waits, waits here: in bytes, lane by lane.
 * A lane with too much is told so, and its upstream is made to wait. Once the client has caught up the lanes take turns,
 * so a lane with little is not kept behind one with much. Nothing is dropped.
 *
 * Frames that were put in one callback of a transport go to the platform together, in a microtask behind it, which is one
 * write to the system for all of them.
 *
 * By hand for the same reason as `SseAnswer`: an event costs a call, and no fiber.
 */
import { buffered } from "../answer/Buffered.ts"
import type { ClientSocket } from "./ClientSocket.ts"

/** What of one lane waits for the client. */
export interface Outgoing {
  readonly frames: Array<string>
  /** In bytes of UTF-8. */
  bytes: number
  /** Called once the lane has little left. */
  drained: (() => void) | undefined
  /** Called when the client has taken something. */
  taken: (() => void) | undefined
}

export const outgoing = (): Outgoing => ({ frames: [], bytes: 0, drained: undefined, taken: undefined })

/** In bytes; with less in its memory the platform is given more. */
const lowWater = 64 * 1024

/** So much text goes out at once; in UTF-16 units. */
const largestPiece = 16 * 1024

export class Outbox {
  /** Those with frames that go out when the transport's callback is over. */
  static readonly #unsent: Array<Outbox> = []
  /** One function for all, since a closure for each would be one more object that an event touches. */
  static readonly #sendNext = () => {
    const next = Outbox.#unsent.shift()
    if (next !== undefined) next.#send()
  }

  #behind = false
  /** Frames of the callback that runs, of all lanes, while the client is not behind. */
  #together: Array<string> = []
  #text = 0
  #flushing = false
  /** Lanes with something to send, the next one first. */
  readonly #waiting = new Set<Outgoing>()
  #end: { readonly code: number; readonly reason: string } | undefined
  #over = false
  readonly #socket: ClientSocket
  readonly #maxBuffered: number

  constructor(socket: ClientSocket, maxBuffered: number) {
    this.#socket = socket
    this.#maxBuffered = maxBuffered
  }

  /** Sends a frame behind those of its lane. False: the lane has so much waiting that its upstream should wait. */
  put(lane: Outgoing, text: string): boolean {
    if (this.#over) return true
    if (!this.#behind && lane.frames.length === 0) {
      if (this.#together.length === 0) {
        Outbox.#unsent.push(this)
        queueMicrotask(Outbox.#sendNext)
      }
      this.#together.push(text)
      this.#text += text.length
      if (this.#text >= largestPiece) this.#send()
      return true
    }
    const bytes = Buffer.byteLength(text)
    lane.frames.push(text)
    lane.bytes += bytes
    buffered.bytes += bytes
    this.#waiting.add(lane)
    return lane.bytes < this.#maxBuffered / 2
  }

  /** True: so much waits of a lane that nothing can make wait that the client can't be served. */
  isOver({ bytes }: Outgoing): boolean {
    return bytes > this.#maxBuffered
  }

  /** The client has taken something; the platform says so from its own callback, in which it takes nothing more. */
  drained() {
    for (const { taken } of this.#waiting) taken?.()
    if (this.#over || this.#flushing || this.#socket.buffered() > lowWater) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      if (this.#over) return
      this.#behind = false
      this.#flush()
    })
  }

  #send() {
    const frames = this.#together
    if (frames.length === 0) return
    this.#together = []
    this.#text = 0
    // Later frames wait in their lanes until the client has taken these.
    if (!this.#over && !this.#socket.send(frames)) this.#behind = true
  }

  /** Closes the socket behind all that waits. What is put from here on may not arrive. */
  close(code: number, reason: string) {
    this.#end ??= { code, reason }
    this.#send()
    this.#finish()
  }

  /** The socket is gone: nothing waits any more. */
  closed() {
    this.#over = true
    this.#together = []
    for (const lane of this.#waiting) {
      lane.frames.length = 0
      buffered.bytes -= lane.bytes
      lane.bytes = 0
    }
    this.#waiting.clear()
  }

  #flush() {
    for (const lane of this.#waiting) {
      if (this.#behind) break
      // To the end of the line, where something is left.
      this.#waiting.delete(lane)
      const text = lane.frames.shift()
      if (text === undefined) continue
      const bytes = Buffer.byteLength(text)
      lane.bytes -= bytes
      buffered.bytes -= bytes
      if (lane.frames.length > 0) this.#waiting.add(lane)
      if (!this.#socket.send([text])) this.#behind = true
      this.#told(lane)
    }
    this.#finish()
  }

  #told(lane: Outgoing) {
    const { drained } = lane
    if (drained === undefined || lane.bytes > this.#maxBuffered / 4) return
    lane.drained = undefined
    lane.taken = undefined
    drained()
  }

  #finish() {
    if (this.#end === undefined || this.#over || this.#waiting.size > 0) return
    this.#over = true
    this.#socket.close(this.#end.code, this.#end.reason)
  }
}
