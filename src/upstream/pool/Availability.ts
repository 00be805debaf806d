/**
 * Remembers where no socket can be had at present: an upstream without WebSocket, and one that does not answer.
 *
 * It is kept for each URL as it is dialled, so that the query of one caller does not put the other callers on HTTP.
 * Failed dials back off: 1 second, then twice as long each time, at most 30. Refusals that concern the caller alone
 * (401, 403, 429) don't count.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import type { TurnError } from "../../turn/TurnError.ts"

interface Trouble {
  readonly kind: "upstream_http_only" | "dial_backoff"
  /** In milliseconds of the clock; from then on the URL is dialled again. */
  readonly until: number
  /** How long the last pause was. */
  readonly pause: number
}

export class Availability extends Context.Service<
  Availability,
  {
    /** Why no socket should be dialled now; undefined: nothing is known against it. */
    readonly trouble: (url: string) => Trouble["kind"] | undefined
    readonly opened: (url: string) => void
    readonly failed: (url: string, error: TurnError) => void
  }
>()("respool/upstream/Availability") {
  static readonly layer = Layer.effect(
    Availability,
    Effect.map(Clock.Clock, (clock) => make(() => clock.currentTimeMillisUnsafe())),
  )
}

/** More URLs than these are met only when callers make queries up; then the oldest trouble is forgotten. */
const maxUrls = 256

const httpOnlyFor = Duration.toMillis("5 minutes")
const firstPause = Duration.toMillis("1 second")
const longestPause = Duration.toMillis("30 seconds")

/** The statuses that answer an upgrade where there is no WebSocket. */
const noSocket: ReadonlySet<number> = new Set([404, 405, 426, 501])

const make = (now: () => number): Availability["Service"] => {
  const troubles = new Map<string, Trouble>()

  const remember = (url: string, trouble: Trouble) => {
    troubles.delete(url)
    troubles.set(url, trouble)
    const oldest = troubles.size > maxUrls ? troubles.keys().next().value : undefined
    if (oldest !== undefined) troubles.delete(oldest)
  }

  return {
    trouble: (url) => {
      const trouble = troubles.get(url)
      return trouble !== undefined && now() < trouble.until ? trouble.kind : undefined
    },
    opened: (url) => troubles.delete(url),
    failed: (url, { answer }) => {
      if (answer !== undefined && noSocket.has(answer.status)) {
        return remember(url, { kind: "upstream_http_only", until: now() + httpOnlyFor, pause: 0 })
      }
      if (answer !== undefined && answer.status < 500) return
      const last = troubles.get(url)
      // Dials that were under way at the same time fail at the same time, and count as one.
      if (last !== undefined && now() < last.until) return
      const pause = last === undefined || last.pause === 0 ? firstPause : Math.min(last.pause * 2, longestPause)
      remember(url, { kind: "dial_backoff", until: now() + pause, pause })
    },
  }
}
