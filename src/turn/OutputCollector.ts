/**
 * Collects what a turn's events say that outlives them: the finished output items and the terminal event's id.
 *
 * The terminal event may leave `output` out; then the finished items stand for it (protocol.md 2.2). They are kept as raw
 * text, by output index, for the length of the turn only, and at most `maxItems` of them with `maxBytes` in all. A turn
 * that says more streams on, but nothing is collected of it any more: its terminal event stays as the upstream wrote it,
 * and its end has no `responseId` and no `output`, so that nobody takes a part of the turn for the whole of it.
 */
import { Result } from "effect"
import { doneItem, fillOutput, responseId, responseText, textAt } from "../wire/Event.ts"
import { scanObject } from "../wire/Json.ts"
import type { TurnEnd } from "./Executor.ts"

/** Of one turn, in bytes of UTF-8: what one message of an upstream may hold. */
const maxBytes = 64 * 1024 * 1024
const maxItems = 10_000

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
   * The terminal event as the client gets it, and what it ends with; undefined when it holds no response, or is not whole:
   * the scan for the response reads all of it.
   */
  finish(type: string, frame: string): { readonly frame: string; readonly end: TurnEnd } | undefined {
    if (responseText(frame)?.startsWith("{") !== true) return undefined
    const nothing = { frame, end: { type, responseId: undefined, output: [] } }
    if (this.#gaveUp) return nothing
    const done = [...this.#items.entries()].sort(([a], [b]) => a - b).map(([, item]) => item)
    const filled = fillOutput(frame, done)
    const output = done.length > 0 ? done : outputOf(filled)
    return output === undefined ? nothing : { frame: filled, end: { type, responseId: responseId(frame), output } }
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Raw items of a terminal event that came without any `output_item.done`; undefined when they are too many to keep. */
const outputOf = (frame: string): ReadonlyArray<string> | undefined => {
  const text = textAt(frame, ["response", "output"])
  if (text === undefined || !text.startsWith("[")) return []
  const bytes = encoder.encode(`{"output":${text}}`)
  const members = Result.getOrElse(scanObject(bytes, { elementsOf: "output" }), () => [])
  const elements = members[0]?.elements
  if (elements === undefined || elements.length > maxItems) return undefined
  return elements.map((span) => decoder.decode(bytes.subarray(span.start, span.end)))
}
