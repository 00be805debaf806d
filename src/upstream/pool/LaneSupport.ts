/**
 * Remembers which upstreams have lanes, by the URL of their sockets: one that names them in its events has, one that
 * refuses the name or leaves it out has not. The latter is asked again after an hour, as upstreams are changed.
 */
import type { SettingsValues } from "../../config/Settings.ts"
import { LatestMap } from "../../turn/memory/LatestMap.ts"
import type { Affinity } from "./Affinity.ts"
import type { Sharing } from "./SharedTurns.ts"

const withoutFor = 60 * 60 * 1000

export class LaneSupport {
  /** By URL: until when there are none; undefined: there are. */
  readonly #known = new LatestMap<string, number | undefined>()
  readonly #settings: Pick<SettingsValues, "busy" | "maxBuffered">
  readonly #now: () => number

  /** `now` is in milliseconds. */
  constructor(settings: Pick<SettingsValues, "busy" | "maxBuffered">, now: () => number) {
    this.#settings = settings
    this.#now = now
  }

  /** How turns share the connections of an affinity; undefined: they don't. */
  sharing({ upstream, url }: Affinity): Sharing | undefined {
    const { busy, maxBuffered } = this.#settings
    if (busy !== "lane" || !upstream.known.lanes || this.#has(url) === false) return undefined
    return {
      known: () => this.#has(url) === true,
      learned: (hasLanes) => this.#known.set(url, hasLanes ? undefined : this.#now() + withoutFor),
      maxWaiting: maxBuffered,
    }
  }

  /** Undefined: nobody knows. */
  #has(url: string): boolean | undefined {
    const until = this.#known.get(url)
    if (until === undefined) return this.#known.has(url) ? true : undefined
    return this.#now() < until ? false : undefined
  }
}
