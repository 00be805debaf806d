/**
 * The responses that a client's socket may continue without their being stored: those that its own turns made.
 *
 * Ids and warm-ups only. A warm-up's request is kept, so that a turn which continues it can be sent as one that says
 * everything, on whichever connection knows most of it.
 */
import { Exit } from "effect"
import type { TurnEnd } from "../../turn/Executor.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import type { Create } from "./ClientEvent.ts"

const maxIds = 1024
const maxWarmUps = 8
/** In bytes, all warm-ups of a socket together. */
const maxWarmUpBytes = 4 * 1024 * 1024

export class OwnResponses {
  readonly #ids = new Set<string>()
  readonly #warmUps = new Map<string, RequestBody>()
  #warmUpBytes = 0

  /**
   * A turn of the socket is over. What it made can be continued, and what it failed to continue can't be any more, as the
   * upstream forgets it (docs/protocol.md 1.3).
   */
  ended({ anchor, warmUp }: Create, body: RequestBody, exit: Exit.Exit<TurnEnd, unknown>) {
    const end = Exit.isSuccess(exit) ? exit.value : undefined
    if (end?.type === "response.completed") {
      if (end.responseId !== undefined) this.add(end.responseId, warmUp ? body : undefined)
    } else if (anchor !== undefined && end?.type !== "response.incomplete") this.#evict(anchor)
  }

  /** A turn of the socket made this response; `warmUp` is its request if it only got the upstream ready. */
  add(id: string, warmUp?: RequestBody) {
    this.#ids.add(id)
    for (const oldest of this.#ids) {
      if (this.#ids.size <= maxIds) break
      this.#ids.delete(oldest)
    }
    if (warmUp === undefined) return
    this.#warmUps.set(id, warmUp)
    this.#warmUpBytes += warmUp.bytes.length
    for (const oldest of this.#warmUps.keys()) {
      if (this.#warmUps.size <= maxWarmUps && this.#warmUpBytes <= maxWarmUpBytes) break
      this.#forgetWarmUp(oldest)
    }
  }

  has(id: string): boolean {
    return this.#ids.has(id)
  }

  warmUp(id: string): RequestBody | undefined {
    return this.#warmUps.get(id)
  }

  #evict(id: string) {
    this.#ids.delete(id)
    this.#forgetWarmUp(id)
  }

  #forgetWarmUp(id: string) {
    this.#warmUpBytes -= this.#warmUps.get(id)?.bytes.length ?? 0
    this.#warmUps.delete(id)
  }
}
