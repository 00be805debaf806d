/**
 * Notices when what should show signs of life shows none. One fiber watches all, and sleeps where there is nothing to.
 *
 * Time is counted in ticks of this process and not by a clock: where the process itself stood still, that is one tick,
 * and what had come meanwhile is read before the next. So neither a stall here nor a clock that jumps looks like a dead
 * peer.
 */
import { Effect, Latch } from "effect"

/** In milliseconds. */
const tick = 100

/** Without a sign of life for so many ticks, a peer counts as dead: 1.5 seconds. */
const patience = 15

export interface Watched {
  /** Set to 0 at each sign of life: of the peer's, or while this side does not listen, of the client's that it waits for. */
  ticks: number
  /** True: it is this side that does not listen, since its client is behind. */
  readonly paused: boolean
  /** How long the client may take nothing, in milliseconds. */
  readonly clientTimeout: number
  /** Called once the peer was silent for too long. */
  readonly silent: () => void
  /** Called once the client has taken nothing for too long. */
  readonly stuck: () => void
}

export interface Silence {
  readonly watch: (watched: Watched) => void
  readonly leave: (watched: Watched) => void
}

export const make = Effect.gen(function* () {
  const all = new Set<Watched>()
  const busy = yield* Latch.make(false)

  const look = () => {
    for (const one of all) {
      const most = one.paused ? one.clientTimeout / tick : patience
      if (++one.ticks <= most) continue
      all.delete(one)
      if (one.paused) one.stuck()
      else one.silent()
    }
    if (all.size === 0) busy.closeUnsafe()
  }

  yield* busy.await.pipe(
    Effect.andThen(Effect.sleep(tick)),
    Effect.andThen(Effect.sync(look)),
    Effect.forever,
    Effect.forkScoped,
  )

  return {
    watch: (watched) => {
      all.add(watched)
      busy.openUnsafe()
    },
    leave: (watched) => void all.delete(watched),
  } satisfies Silence
})
