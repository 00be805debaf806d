/**
 * Lets a client add input to a response while it runs (`response.steer`), on the connection that runs it.
 *
 * Once a steer was sent, the response's end is not the turn's: an automatic successor follows on the same connection,
 * unless the upstream says that the steer failed, or that it waits for the client's next request (docs/protocol.md 1.2).
 */
export class Steering {
  #send: ((frame: Uint8Array) => boolean) | undefined
  /** Steers of which it is not known yet what becomes of them. */
  #open = 0
  /** The response has ended, and its successor has not begun. */
  #between = false
  #steered = false

  /** The turn runs on a connection, and `send` writes to it. */
  begins(send: (frame: Uint8Array) => boolean) {
    this.#send = send
  }

  /** The turn is over, or leaves its connection. */
  ends() {
    this.#send = undefined
    this.#open = 0
    this.#between = false
  }

  /** True: the turn ended as another response than its request asked for. */
  get steered(): boolean {
    return this.#steered
  }

  /** Sends a steer. False: no connection runs the turn. */
  steer(frame: Uint8Array): boolean {
    if (this.#send?.(frame) !== true) return false
    this.#open++
    this.#steered = true
    return true
  }

  /** Whether the turn goes on after its terminal event. */
  goesOn(): boolean {
    this.#between = this.#open > 0
    return this.#between
  }

  /** Takes an event that is no terminal one. True: it says that no successor follows to the response that has ended. */
  saw(type: string): boolean {
    if (type === "response.created") {
      if (this.#between) this.#open = 0
      this.#between = false
    } else if (type === "response.steer.failed" || type === "response.steer.pending") {
      if (this.#open > 0) this.#open--
      return this.#between && this.#open === 0
    }
    return false
  }
}
