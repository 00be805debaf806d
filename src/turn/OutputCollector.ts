/**
 * Collects what a turn's events say that outlives them: the finished output items and the terminal event's id.
 *
 * The terminal event may leave `output` out; then the finished items stand for it (protocol.md 2.2). They are kept as raw
 * text, by output index, for the length of the turn only.
 */
import { Result } from "effect"
import { doneItem, fillOutput, responseId, textAt } from "../wire/Event.ts"
import { scanObject } from "../wire/Json.ts"
import type { TurnEnd } from "./Executor.ts"

export class OutputCollector {
  readonly #items = new Map<number, string>()

  /** Reads one event; only finished items are looked into. */
  add(type: string, frame: string) {
    if (type !== "response.output_item.done") return
    const done = doneItem(frame)
    if (done !== undefined) this.#items.set(done.outputIndex, done.item)
  }

  /** The terminal event as the client gets it, and what it ends with. */
  finish(type: string, frame: string): { readonly frame: string; readonly end: TurnEnd } {
    const done = [...this.#items.entries()].sort(([a], [b]) => a - b).map(([, item]) => item)
    const filled = fillOutput(frame, done)
    const output = done.length > 0 ? done : outputOf(filled)
    return { frame: filled, end: { type, responseId: responseId(frame), output } }
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Raw items of a terminal event that came without any `output_item.done`. */
const outputOf = (frame: string): ReadonlyArray<string> => {
  const text = textAt(frame, ["response", "output"])
  if (text === undefined || !text.startsWith("[")) return []
  const bytes = encoder.encode(`{"output":${text}}`)
  return Result.match(scanObject(bytes, { elementsOf: "output" }), {
    onFailure: () => [],
    onSuccess: (members) =>
      (members[0]?.elements ?? []).map((span) => decoder.decode(bytes.subarray(span.start, span.end))),
  })
}
