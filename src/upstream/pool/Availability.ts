/**
 * Remembers where no socket can be had at present: an upstream without WebSocket, and one that does not answer.
 *
 * Failed dials back off: 1 second, then twice as long each time, at most 30. Whom that keeps from dialling depends on
 * what failed:
 * - Where the upstream was not reached at all, every caller: nothing of the caller's had been said yet.
 * - Where the upgrade was refused (a 5xx, or one of the statuses that say that there is no WebSocket), broken off or left
 *   without an answer, the scope that asked: it may be because of its headers, its credential or its query.
 * - Refusals that concern the caller alone (every other 4xx) and requests that can't be written, nobody.
 *
 * Sockets that open and are closed before the upstream says anything are remembered apart: two in a row, and the scope
 * that asked has none for five minutes.
 *
 * Once the pause is over one dial at a time tries again where nothing was reached, since a dial into nowhere keeps its
 * descriptor for longer than anybody waits for it: Linux gives up after some 130 seconds, and Bun can't before (1.4.5).
 *
 * A dial that succeeds ends it for all that dial the same URL: unless they fail again, and then it is their own doing.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import { LatestMap } from "../../turn/memory/LatestMap.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import type { Affinity } from "./Affinity.ts"

interface Trouble {
  readonly kind: "upstream_http_only" | "dial_backoff"
  readonly url: string
  /** As `monotonicMillis` has it; from then on the URL is dialled again. */
  readonly until: number
  /** How long the last pause was. */
  readonly pause: number
  /** `ended`: by another's success. `own`: it failed again after that, so another's success says nothing. */
  readonly cause: "unknown" | "ended" | "own"
}

/** Who dials, and where. */
export type Dialled = Pick<Affinity, "scope" | "url">

export class Availability extends Context.Service<
  Availability,
  {
    /** Why no socket should be dialled now; undefined: nothing is known against it. */
    readonly trouble: (dialled: Dialled) => Trouble["kind"] | "sockets_closed" | undefined
    /** A dial begins; what it gives is to be called when that is over, however it ends. */
    readonly dialling: (dialled: Dialled) => () => void
    readonly opened: (dialled: Dialled) => void
    /** `reached`: the upstream had been reached, and may have been asked. */
    readonly failed: (dialled: Dialled, error: TurnError, reached: boolean) => void
    /** The upstream closed a connection on which it had never said anything. True: none is opened for a while now. */
    readonly closedUnheard: (dialled: Dialled) => boolean
    /** The upstream has said something on a connection. */
    readonly heard: (dialled: Dialled) => void
  }
>()("respool/upstream/Availability") {
  static readonly layer = Layer.effect(
    Availability,
    Effect.map(Clock.Clock, (clock) => make(() => monotonicMillisOf(clock))),
  )
}

const httpOnlyFor = Duration.toMillis("5 minutes")
/** So many connections in a row that are closed unheard. */
const unheardInARow = 2
const firstPause = Duration.toMillis("1 second")
const longestPause = Duration.toMillis("30 seconds")

/** The statuses that answer an upgrade where there is no WebSocket. */
const noSocket: ReadonlySet<number> = new Set([404, 405, 426, 501])

/** An upstream is reached at the same place whatever the query is. */
const forAll = (url: string) => url.replace(/\?.*$/, "")
/** No URL has a blank in it. */
const ofScope = ({ scope, url }: Dialled) => `${url} ${scope}`

const isPage = ({ body, status }: NonNullable<TurnError["answer"]>) =>
  (status === 401 || status === 403 || status === 429) && !body.trimStart().startsWith("{")

const make = (now: () => number): Availability["Service"] => {
  const troubles = new LatestMap<string, Trouble>()
  /** Where a dial is under way that tries a place again which could not be reached. */
  const trying = new Set<string>()
  const unheard = new LatestMap<string, { readonly count: number; readonly until: number }>()

  const at = (key: string) => {
    const trouble = troubles.get(key)
    return trouble !== undefined && now() < trouble.until ? trouble.kind : undefined
  }

  const ofAll = (place: string) => at(place) ?? (trying.has(place) ? "dial_backoff" : undefined)

  return {
    trouble: (dialled) => {
      const key = ofScope(dialled)
      return now() < (unheard.get(key)?.until ?? -Infinity) ? "sockets_closed" : (at(key) ?? ofAll(forAll(dialled.url)))
    },
    dialling: ({ url }) => {
      const place = forAll(url)
      if (!troubles.has(place) || trying.has(place)) return () => {}
      trying.add(place)
      return () => trying.delete(place)
    },
    closedUnheard: (dialled) => {
      const key = ofScope(dialled)
      const count = (unheard.get(key)?.count ?? 0) + 1
      const isMute = count >= unheardInARow
      unheard.set(key, { count, until: isMute ? now() + httpOnlyFor : -Infinity })
      return isMute
    },
    heard: (dialled) => void (unheard.size > 0 && unheard.delete(ofScope(dialled))),
    opened: (dialled) => {
      troubles.delete(ofScope(dialled))
      troubles.delete(forAll(dialled.url))
      // One that is set anew comes once more, and has ended by then.
      for (const [key, trouble] of troubles) {
        if (trouble.url === dialled.url && trouble.cause === "unknown") {
          troubles.set(key, { ...trouble, until: -Infinity, cause: "ended" })
        }
      }
    },
    failed: (dialled, { answer }, reached) => {
      const { url } = dialled
      const key = reached ? ofScope(dialled) : forAll(url)
      const last = troubles.get(key)
      const cause = last === undefined || last.cause === "unknown" ? "unknown" : "own"
      if (answer !== undefined && noSocket.has(answer.status)) {
        return void troubles.set(key, { kind: "upstream_http_only", url, until: now() + httpOnlyFor, pause: 0, cause })
      }
      // A page with such a status is of what stands in front of the API, and says nothing about the caller.
      if (answer !== undefined && answer.status < 500 && !isPage(answer)) return
      // Dials that were under way at the same time fail at the same time, and count as one.
      if (last !== undefined && now() < last.until) return
      const pause = last === undefined || last.pause === 0 ? firstPause : Math.min(last.pause * 2, longestPause)
      troubles.set(key, { kind: "dial_backoff", url, until: now() + pause, pause, cause })
    },
  }
}
