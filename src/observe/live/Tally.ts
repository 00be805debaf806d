/**
 * Adds up what happened since the proxy started: the sums that a page shows, by the same rules as the metrics.
 */
import type { TurnRecord } from "../../turn/record/TurnRecord.ts"
import type { Totals } from "./Frame.ts"
import { fellBack } from "./Hour.ts"

/** Reasons and outcomes are literals of the sources, so there are no more of them than those have. */
const add = (counts: Map<string, number>, name: string) => void counts.set(name, (counts.get(name) ?? 0) + 1)

export class Tally {
  readonly #sums = {
    turns: 0,
    suffix: 0,
    fallbacks: 0,
    clientBytes: 0,
    upstreamBytes: 0,
    inputTokens: 0,
    cachedTokens: 0,
    followUpInputTokens: 0,
    followUpCachedTokens: 0,
    forwardMs: 0,
  }
  readonly #outcomes = new Map<string, number>()
  readonly #reasons = new Map<string, number>()
  readonly #evictions = new Map<string, number>()
  readonly #forwards = new Map<string, number>()
  readonly #takeovers = new Map<string, number>()

  count(record: TurnRecord) {
    const { clientInputBytes, followsUp, outcome, upstreamInputBytes, usage, way } = record
    const sums = this.#sums
    sums.turns++
    if (way?.input === "suffix") sums.suffix++
    if (fellBack(record)) sums.fallbacks++
    sums.clientBytes += clientInputBytes
    sums.upstreamBytes += upstreamInputBytes
    if (usage !== undefined) {
      sums.inputTokens += usage.input
      sums.cachedTokens += usage.cached
      if (followsUp) {
        sums.followUpInputTokens += usage.input
        sums.followUpCachedTokens += usage.cached
      }
    }
    add(this.#outcomes, outcome)
    if (way !== undefined) add(this.#reasons, way.reason)
  }

  evicted(reason: string) {
    add(this.#evictions, reason)
  }

  forwarded(outcome: string, takenMs: number) {
    this.#sums.forwardMs += takenMs
    add(this.#forwards, outcome)
  }

  takenOver(reason: string) {
    add(this.#takeovers, reason)
  }

  get totals(): Totals {
    return {
      ...this.#sums,
      outcomes: Object.fromEntries(this.#outcomes),
      reasons: Object.fromEntries(this.#reasons),
      evictions: Object.fromEntries(this.#evictions),
      forwards: Object.fromEntries(this.#forwards),
      takeovers: Object.fromEntries(this.#takeovers),
    }
  }
}
