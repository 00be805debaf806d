/**
 * Decides whether an event that comes on a shared connection is of the turn that runs on it.
 *
 * An upstream may send frames behind a terminal event, when the connection is another turn's by then, perhaps another
 * session's. Such a frame must reach neither the client nor the memory, so an event has to show that it is the turn's:
 *
 * - before the turn's own `response.created` only lifecycle, metadata and a refusal may come; a kind that respool does
 *   not know is dropped there, unless its number leads up to that of `response.created`;
 * - an event that names a response names the turn's own, and none that ended on this connection before;
 * - an item is added at an output index of its own, and later events name it or, where an upstream changes ids between
 *   added and done, the index of one that is not done yet; none is an item of a turn that ended here;
 * - a flat error belongs into an answer, and its number follows that of the turn's latest event.
 *
 * On a connection's first turn nothing can be another's. So what breaks these rules there is the upstream's own way: the
 * turn goes on, and the connection carries no second one (`tells`).
 *
 * Some upstreams give the same ids again. An item that is added under an id of the turn before is in `doubt`: it is
 * shown once the turn's own last event has named it too, and from then on ids of items count for nothing there. Where
 * the ids of responses repeat, nothing tells two turns apart, and each gets a connection of its own (`Naming`).
 *
 * What can't be told apart: a refusal with a status that was meant for the turn before; and in the middle of an answer an
 * event that names nothing.
 *
 * No delta is parsed: a run of deltas of one item is told by one search for the item's id (`markOf`), some 30 ns.
 */
import { isLifecycle, textAt } from "../../wire/Event.ts"
import { readResponse, responseIdIn } from "../../wire/ResponseEvent.ts"
import type { UpstreamError } from "../../wire/UpstreamError.ts"
import type { EndedTurns, Hash } from "./EndedTurns.ts"
import { hashOf } from "./EndedTurns.ts"
import type { Naming } from "./Naming.ts"

/**
 * `drop`: harmless, but of no use to this turn. `early`: the turn's first event shows whose it is (`leads`). `doubt`: it
 * and what follows may be shown once the end has proved it. `foreign`: of another turn, so the connection can't be trusted.
 */
export type Verdict = "ours" | "drop" | "early" | "doubt" | "foreign"

/** Kinds that say nothing about a response: they cost neither the turn nor the connection, whenever they come. */
const harmless: ReadonlySet<string> = new Set([
  "response.done",
  "keepalive",
  "response.metadata",
  "responsesapi.websocket_timing",
])

export const isHarmless = (type: string): boolean => harmless.has(type) || type.startsWith("codex.")

/** The kinds of the API that carry an answer's content (docs/protocol.md 2.1). */
const content =
  /^response\.(?:output_item|content_part|output_text|refusal|audio|compaction|reasoning_(?:summary_)?(?:text|part)|mcp_list_tools|(?:function|custom_tool|file_search|web_search|code_interpreter|image_generation|mcp|shell)_call(?:_\w+)?)\./

/** For logs and errors: a type is the upstream's word, and may be anything. */
export const kindOf = (type: string | undefined) =>
  type !== undefined && /^[\w.]{1,64}$/.test(type) ? type : "no event of the API"

// In JSON text a name between its quotes can only be a member's, since the quotes of a text inside are escaped. An id
// with an escape in it is none of these, so such an event is read as a whole.
const itemId = /"item_id"\s*:\s*"([^"\\]*)"/
const ownerId = /"response_id"\s*:\s*"([^"\\]*)"/
const outputIndex = /"output_index"\s*:\s*(\d+)/
const sequenceNumber = /"sequence_number"\s*:\s*(\d+)/
const responseId = /"response"\s*:\s*\{\s*(?:"object"\s*:\s*"response"\s*,\s*)?"id"\s*:\s*"([^"\\]*)"/
const addedId = /"item"\s*:\s*\{\s*(?:"type"\s*:\s*"\w*"\s*,\s*)?"id"\s*:\s*"([^"\\]*)"/

const match = (pattern: RegExp, text: string): string | undefined => pattern.exec(text)?.[1]

const numberIn = (pattern: RegExp, text: string) => Number(match(pattern, text) ?? Number.NaN)

const stringAt = (text: string, path: ReadonlyArray<string>): string | undefined => {
  const raw = textAt(text, path)
  const value: unknown = raw === undefined ? undefined : JSON.parse(raw)
  return typeof value === "string" ? value : undefined
}

const itemIdIn = (text: string) => match(itemId, text) ?? stringAt(text, ["item_id"])
const addedIdIn = (text: string) => match(addedId, text) ?? stringAt(text, ["item", "id"])

/** The id in an event that carries a response. */
const responseIdOf = (text: string): string | undefined => {
  const id = match(responseId, text)
  if (id !== undefined) return id
  const event = readResponse(text)
  return event === undefined ? undefined : responseIdIn(event)
}

const ids = (items: ReadonlyArray<string> | undefined) => (items ?? []).map((item) => stringAt(item, ["id"]))

export interface BindingOptions {
  readonly ended: EndedTurns
  readonly naming: Naming
  /** True: the upstream's own kinds are of use to some of its clients (`CodexRules`), and go on to its dialect. */
  readonly hasDialect: boolean
}

export class Binding {
  /** Of the turn's own response, once it was seen. */
  #response: Hash | undefined
  /** Of the response that this one follows in the same turn. */
  #parent: Hash | undefined
  /** The turn has begun with an ended response's `response.created`: a late one, or an id that comes again. */
  #again: Hash | undefined
  readonly #items = new Set<Hash>()
  /** Items that only the turn's end can prove. */
  readonly #doubted: Array<string> = []
  /** Output indexes of items that were added and are not done. */
  readonly #open = new Set<number>()
  readonly #taken = new Set<number>()
  /** The connection's first turn. */
  readonly #first: boolean
  /** It had an event that would have been taken for another's on a later turn. */
  #odd = false
  readonly #options: BindingOptions

  constructor(options: BindingOptions) {
    this.#options = options
    this.#first = options.ended.isEmpty
  }

  /** Another turn on the same connection can be told from this one, which has ended. */
  get tells(): boolean {
    return !this.#odd && (this.#response ?? this.#parent) !== undefined && !this.#options.naming.responsesRepeat
  }

  /** Of an event that is not the last; deltas behind the first of a run are told by `markOf`. */
  judge(type: string, text: string): Verdict {
    if (isHarmless(type)) return type !== "response.done" && this.#options.hasDialect ? "ours" : "drop"
    return this.#unlessFirst(isLifecycle(type) ? this.#lifecycle(type, responseIdOf(text)) : this.#content(type, text))
  }

  /** Of the last event, by its response's id and items; `output` is only called where they are needed. */
  judgeEnd(id: string | undefined, output: () => ReadonlyArray<string> | undefined): Verdict {
    const verdict = this.#unlessFirst(this.#end(id))
    if (verdict !== "ours" || this.#doubted.length === 0) return verdict
    const proved = ids(output())
    if (id === undefined || !this.#doubted.every((doubted) => proved.includes(doubted))) return "foreign"
    this.#options.naming.sawItemAgain()
    return "ours"
  }

  /** Of an error; `latest` is the turn's latest event. */
  judgeError({ isFlat }: UpstreamError, text: string, latest: string): Verdict {
    if (this.#first || !isFlat) return "ours"
    const follows = numberIn(sequenceNumber, text) === numberIn(sequenceNumber, latest) + 1
    return this.#response !== undefined && follows ? "ours" : "foreign"
  }

  /** Whether the numbers of events that came early lead up to that of the turn's first one. */
  leads(early: ReadonlyArray<readonly [type: string, text: string]>, first: string): boolean {
    const begins = numberIn(sequenceNumber, first) - early.length
    return early.every(([, text], at) => numberIn(sequenceNumber, text) === begins + at)
  }

  /** What stands in each further delta of this one's item; undefined: this one names no item. */
  markOf(delta: string): string | undefined {
    return this.#first ? "" : itemId.exec(delta)?.[0]
  }

  /** The turn has ended. */
  end() {
    this.#options.ended.add(this.#response, this.#items)
  }

  /** The turn's response has ended, and a successor follows in the same turn. */
  goesOn() {
    this.end()
    this.#parent = this.#response
    this.#response = undefined
    this.#again = undefined
    this.#items.clear()
    this.#doubted.length = 0
    this.#open.clear()
    this.#taken.clear()
  }

  #unlessFirst(verdict: Verdict): Verdict {
    if (!this.#first) return verdict
    if (verdict === "foreign") this.#odd = true
    return "ours"
  }

  #lifecycle(type: string, id: string | undefined): Verdict {
    if (id === undefined) return "drop"
    const { ended } = this.#options
    const response = hashOf(id)
    if (this.#response === undefined && ended.hasResponse(response)) {
      if (type === "response.created") this.#again = response
      return response === this.#again ? "drop" : "foreign"
    }
    return this.#isOwn(response) ? "ours" : "foreign"
  }

  #end(id: string | undefined): Verdict {
    if (id === undefined) return this.#response === undefined ? "foreign" : "ours"
    const { ended, naming } = this.#options
    const response = hashOf(id)
    if (this.#first && response === naming.late) naming.sawResponseAgain()
    if (this.#response === undefined && ended.hasResponse(response)) {
      naming.sawLate(response)
      if (response === this.#again) naming.sawResponseAgain()
      return "foreign"
    }
    return this.#isOwn(response) ? "ours" : "foreign"
  }

  /** Of a response that has not ended here before. */
  #isOwn(response: Hash): boolean {
    if (this.#response !== undefined) return this.#response === response
    // The `response.created` before was late, and what else was, nobody knows.
    if (this.#again !== undefined) return false
    this.#response = response
    return true
  }

  #content(type: string, text: string): Verdict {
    const { ended, naming } = this.#options
    const owner = match(ownerId, text)
    if (owner !== undefined && ended.hasResponse(hashOf(owner))) return "foreign"
    if (this.#response === undefined) {
      if (!content.test(type)) return this.#hasEnded(itemIdIn(text)) ? "foreign" : "early"
      // An answer that begins under an ended response's id, where a late `response.created` has the true one behind it.
      if (this.#again !== undefined) naming.sawResponseAgain()
      return "foreign"
    }
    const index = numberIn(outputIndex, text)
    if (type === "response.output_item.added") return this.#added(addedIdIn(text), index)
    if (type === "response.output_item.done") return this.#done(addedIdIn(text), index)
    const id = itemIdIn(text)
    return id === undefined ? "ours" : this.#named(id, index)
  }

  #hasEnded(item: string | undefined): boolean {
    const { ended, naming } = this.#options
    return item !== undefined && !naming.itemsRepeat && ended.hasItem(hashOf(item))
  }

  #added(id: string | undefined, index: number): Verdict {
    if (this.#taken.has(index)) return "foreign"
    this.#take(index)
    return id === undefined ? "ours" : this.#claimed(id)
  }

  #take(index: number) {
    // Where an upstream counts no items, nothing is known of their places.
    if (Number.isNaN(index)) return
    this.#taken.add(index)
    this.#open.add(index)
  }

  /** An item that none of the turn's own is in the way of. */
  #claimed(id: string): Verdict {
    const doubtful = !this.#items.has(hashOf(id)) && this.#hasEnded(id)
    this.#items.add(hashOf(id))
    if (doubtful) this.#doubted.push(id)
    return doubtful ? "doubt" : "ours"
  }

  #done(id: string | undefined, index: number): Verdict {
    const isTwice = this.#taken.has(index) && !this.#open.has(index)
    const verdict = id === undefined ? (isTwice ? "foreign" : "ours") : this.#named(id, index)
    this.#take(index)
    this.#open.delete(index)
    return verdict
  }

  #named(id: string, index: number): Verdict {
    if (this.#items.has(hashOf(id))) return "ours"
    if (!this.#taken.has(index)) {
      // An item that the upstream did not announce.
      this.#take(index)
      return this.#claimed(id)
    }
    // Else an id that the upstream changed.
    if (this.#hasEnded(id) || !this.#open.has(index)) return "foreign"
    return this.#claimed(id)
  }
}
