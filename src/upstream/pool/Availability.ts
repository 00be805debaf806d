/**
 * Remembers where no socket can be had at present: an upstream without WebSocket, and one that does not answer.
 *
 * It is kept for each URL as it is dialled, so that one caller's query puts nobody else on HTTP. Failed dials back off:
 * 1 second, then twice as long each time, at most 30. Refusals that are the caller's matter (401, 403, 429) don't count.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import type { TurnError } from "../../turn/TurnError.ts"

interface Trouble {
  readonly kind: "upstream_http_only" | "dial_backoff"
  /** In milliseconds of the clock; from then on it is tried again. */
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

/** More URLs than these are only met when callers make them up; the oldest trouble is forgotten. */
const maxUrls = 256

const httpOnlyFor = Duration.toMillis("5 minutes")
const firstPause = Duration.toMillis("1 second")
const longestPause = Duration.toMillis("30 seconds")

/** Answers to an upgrade that mean: there is no WebSocket here. */
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
      // Dials that were under way together fail together, and count once.
      if (last !== undefined && now() < last.until) return
      const pause = last === undefined || last.pause === 0 ? firstPause : Math.min(last.pause * 2, longestPause)
      remember(url, { kind: "dial_backoff", until: now() + pause, pause })
    },
  }
}
