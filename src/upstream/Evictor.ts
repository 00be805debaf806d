/**
 * Sweeps the pool: evicts connections that idled or aged too long, or whose scope was revoked, and asks every socket for
 * signs of life.
 *
 * One fiber for all connections, so an idle session costs no timer. A sweep is only housekeeping: the pool checks age
 * and idleness again at each lease, so a late sweep never lets a turn start on an old connection.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { Settings } from "../Settings.ts"
import { Revocation } from "../turn/Revocation.ts"
import { ConnectionPool } from "./ConnectionPool.ts"

export class Evictor extends Context.Service<Evictor, { readonly sweep: Effect.Effect<void> }>()(
  "respool/upstream/Evictor",
) {
  static readonly layerNoDeps = Layer.effect(
    Evictor,
    Effect.gen(function* () {
      const settings = yield* Settings
      const pool = yield* ConnectionPool
      const clock = yield* Clock.Clock
      const revocation = yield* Revocation
      let beat = 0

      const evictRevoked = () => pool.evictIdle("affinity", ({ affinity }) => revocation.isRevoked(affinity.scope))

      const sweep = Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        pool.evictIdle("age", (connection) => now - connection.openedAt >= settings.maxAge)
        pool.evictIdle("idle", ({ state }) => state._tag === "Idle" && now - state.since >= settings.idleTtl)
        // What was leased when its scope was revoked has been let go on.
        evictRevoked()
        pool.heartbeat(beat++)
      })

      yield* revocation.listen(evictRevoked)
      yield* Effect.sleep(Duration.millis(settings.pingInterval / 2)).pipe(
        Effect.andThen(sweep),
        Effect.forever,
        Effect.forkScoped,
      )
      return Evictor.of({ sweep })
    }),
  )
}
