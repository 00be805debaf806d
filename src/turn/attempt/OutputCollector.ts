/**
 * Collects what a turn's events say that outlives them: the finished output items and the terminal event's id.
 *
 * The terminal event may leave `output` out; then finished items stand for it (docs/protocol.md 2.2). They are kept as raw
 * text, by output index, for the length of the turn only, and at most `maxItems` of them with `maxBytes` in all. A turn
 * that says more streams on, but nothing is collected of it any more: its terminal event stays as the upstream wrote it,
 * and its end has no `responseId` and no `output`, so that nobody takes a part of the turn for the whole of it.
 */
import { doneItem } from "../../wire/Event.ts"
import type { ResponseEvent } from "../../wire/ResponseEvent.ts"
import { changed, outputIn, readResponse, responseIdIn } from "../../wire/ResponseEvent.ts"
import type { TurnEnd } from "../Executor.ts"

/** Of one turn, in bytes of UTF-8: what one message of an upstream may hold. */
const maxBytes = 64 * 1024 * 1024
const maxItems = 10_000

export interface Finish {
  readonly event: ResponseEvent
  /** The event as the client gets it. */
  readonly frame: string
  readonly end: TurnEnd
}

export class OutputCollector {
  readonly #items = new Map<number, string>()
  #bytes = 0
  #gaveUp = false

  /** Reads one event; only finished items are looked into. */
  add(type: string, frame: string) {
    if (this.#gaveUp || type !== "response.output_item.done") return
    const done = doneItem(frame)
    if (done === undefined) return
    const { item, outputIndex } = done
    this.#bytes += Buffer.byteLength(item) - Buffer.byteLength(this.#items.get(outputIndex) ?? "")
    this.#items.set(outputIndex, item)
    if (this.#items.size <= maxItems && this.#bytes <= maxBytes) return
    this.#gaveUp = true
    this.#items.clear()
  }

  /**
   * The terminal event as the client gets it, and what it ends with; undefined when it is not whole, or holds no response.
   * `withoutAnchor`: the request went up with a `previous_response_id` that the client did not send.
   */
  finish(type: string, text: string, withoutAnchor = false): Finish | undefined {
    const event = readResponse(text)
    if (event === undefined) return undefined
    const nothing = () => ({
      event,
      frame: changed(event, { output: [], withoutAnchor }),
      end: { type, responseId: undefined, output: [] },
    })
    if (this.#gaveUp) return nothing()
    const done = [...this.#items.entries()].sort(([a], [b]) => a - b).map(([, item]) => item)
    const output = done.length > 0 ? done : outputIn(event)
    if (output === undefined || output.length > maxItems) return nothing()
    return {
      event,
      frame: changed(event, { output: done, withoutAnchor }),
      end: { type, responseId: responseIdIn(event), output },
    }
  }
}
