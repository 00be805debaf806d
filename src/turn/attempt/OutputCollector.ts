/**
 * Collects what is needed of a turn's events at its end: the finished output items, and the response's id.
 *
 * The terminal event may leave `output` out; then the finished items are put there (docs/protocol.md 2.2). They are
 * kept as raw text, by output index, until the turn ends, and at most `maxItems` of them with `maxBytes` in all. A turn
 * that has more streams on, but nothing is collected of it any more: its terminal event stays as the upstream wrote it,
 * and its end has no `responseId` and no `output`, so that a part of the turn is never remembered as the whole.
 */
import { doneItem, textAt } from "../../wire/Event.ts"
import type { ResponseEvent } from "../../wire/ResponseEvent.ts"
import { changed, memberTextIn, outputIn, readResponse, responseIdIn } from "../../wire/ResponseEvent.ts"
import { usageOf } from "../record/Usage.ts"
import type { TurnEnd } from "../Executor.ts"

/** The most that is kept of one turn, in bytes of UTF-8: as much as one message of an upstream may hold. */
const maxBytes = 64 * 1024 * 1024
const maxItems = 10_000

export interface Finish {
  readonly event: ResponseEvent
  /** The terminal event's text as the client gets it. */
  readonly frame: string
  readonly end: TurnEnd
}

export class OutputCollector {
  readonly #items = new Map<number, string>()
  #bytes = 0
  #gaveUp = false

  /** Takes one event; only finished items are kept. */
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
   * The terminal event as the client gets it, and the turn's end; undefined when the event is cut or holds no response.
   * `withoutAnchor`: the request was sent with a `previous_response_id` that the client did not send.
   */
  finish(type: string, text: string, withoutAnchor = false): Finish | undefined {
    const event = readResponse(text)
    if (event === undefined) return undefined
    const told = toldBy(type, event)
    const nothing = () => ({
      event,
      frame: changed(event, { output: [], withoutAnchor }),
      end: { type, responseId: undefined, output: [], ...told },
    })
    if (this.#gaveUp) return nothing()
    const done = [...this.#items.entries()].sort(([a], [b]) => a - b).map(([, item]) => item)
    const output = wholeOutput(done, outputIn(event))
    if (output === undefined || output.length > maxItems) return nothing()
    return {
      event,
      frame: changed(event, { output, withoutAnchor }),
      end: { type, responseId: responseIdIn(event), output, ...told },
    }
  }
}

/** What a terminal event says of the turn beside its output. */
export const toldBy = (type: string, event: ResponseEvent): Pick<TurnEnd, "code" | "usage"> => {
  const usage = usageOf(memberTextIn(event, "usage"))
  const error = type === "response.failed" ? memberTextIn(event, "error") : undefined
  const code = error?.startsWith("{") === true ? (JSON.parse(error) as { readonly code?: unknown }).code : undefined
  return { ...(usage === undefined ? {} : { usage }), ...(typeof code === "string" ? { code } : {}) }
}

/**
 * The finished items, and those that only the terminal event has. `shown`: the latter's; undefined: too many to tell
 * apart.
 *
 * Where as many items have come as the terminal event shows, they are the same.
 */
const wholeOutput = (done: ReadonlyArray<string>, shown: ReadonlyArray<string> | undefined) => {
  if (shown === undefined || shown.length === done.length || shown.length === 0) return done.length > 0 ? done : shown
  if (done.length < shown.length) return shown
  const byId = new Map(shown.map((item) => [idOf(item), item]))
  const ids = new Set(done.map(idOf))
  return [
    ...done.map((item) => byId.get(idOf(item)) ?? item),
    ...shown.filter((item) => idOf(item) !== undefined && !ids.has(idOf(item))),
  ]
}

/** A finished item may have no id; then it can't be told from another. */
const idOf = (item: string): string | undefined => {
  const id = textAt(item, ["id"])
  return id?.startsWith('"') === true ? id : undefined
}
