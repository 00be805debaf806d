/**
 * Sums up what happened in each of the last sixty minutes.
 */
import type { TurnRecord } from "../../turn/record/TurnRecord.ts"
import type { Minute } from "./Frame.ts"

const minutes = 60

/** Times are counted by classes, each a twelfth of an octave wide, so a percentile is within 3 % of the true one. */
const perOctave = 12
/** Up to half an hour. */
const classes = 21 * perOctave

const classOf = (millis: number): number =>
  Math.min(classes - 1, Math.max(0, Math.round(Math.log2(Math.max(1, millis)) * perOctave)))

/** Reasons why a turn went over HTTP by its own wish, or the settings'. All others are fallbacks. */
const asked: ReadonlySet<string> = new Set(["transport_http", "background", "no_scope", "unusual_member"])

/** Whether the turn would have used a socket, if it could. */
export const fellBack = ({ way }: Pick<TurnRecord, "way">): boolean =>
  way?.transport === "http" && !asked.has(way.reason)

interface Sum {
  minute: number
  turns: number
  suffix: number
  fallbacks: number
  followUpInputTokens: number
  followUpCachedTokens: number
  saved: number
  firsts: Uint32Array | undefined
  readonly evictions: Map<string, number>
}

/** The time below which this share of those that were counted lies. */
const percentile = (firsts: Uint32Array | undefined, share: number): number | undefined => {
  if (firsts === undefined) return undefined
  const rank = Math.ceil(firsts.reduce((sum, count) => sum + count, 0) * share)
  let below = 0
  const at = firsts.findIndex((count) => (below += count) >= rank)
  return Math.round(2 ** (at / perOctave))
}

const shown = ({ evictions, firsts, ...sum }: Sum): Minute => ({
  ...sum,
  p50: percentile(firsts, 0.5),
  p95: percentile(firsts, 0.95),
  evictions: Object.fromEntries(evictions),
})

const minuteOf = (now: number) => Math.floor(now / 60_000)

export class Hour {
  readonly #sums: Array<Sum | undefined> = Array.from({ length: minutes })

  /** `now` is in milliseconds of a clock that never goes back. */
  count(record: TurnRecord, now: number) {
    const sum = this.#at(now)
    sum.turns++
    if (record.way?.input === "suffix") sum.suffix++
    if (fellBack(record)) sum.fallbacks++
    if (record.usage !== undefined && record.followsUp) {
      sum.followUpInputTokens += record.usage.input
      sum.followUpCachedTokens += record.usage.cached
    }
    sum.saved += record.clientInputBytes - record.upstreamInputBytes
    if (record.firstMs === undefined) return
    sum.firsts ??= new Uint32Array(classes)
    const index = classOf(record.firstMs)
    sum.firsts[index] = (sum.firsts[index] ?? 0) + 1
  }

  evicted(reason: string, now: number) {
    const { evictions } = this.#at(now)
    evictions.set(reason, (evictions.get(reason) ?? 0) + 1)
  }

  /** The minutes in which anything happened, from the one with this number on. */
  since(minute: number, now: number): ReadonlyArray<Minute> {
    const oldest = Math.max(minute, minuteOf(now) - minutes + 1)
    return this.#sums
      .filter((sum): sum is Sum => sum !== undefined && sum.minute >= oldest)
      .sort((a, b) => a.minute - b.minute)
      .map(shown)
  }

  #at(now: number): Sum {
    const minute = minuteOf(now)
    const kept = this.#sums[minute % minutes]
    if (kept?.minute === minute) return kept
    const sum: Sum = {
      minute,
      turns: 0,
      suffix: 0,
      fallbacks: 0,
      followUpInputTokens: 0,
      followUpCachedTokens: 0,
      saved: 0,
      firsts: undefined,
      evictions: new Map(),
    }
    this.#sums[minute % minutes] = sum
    return sum
  }
}
