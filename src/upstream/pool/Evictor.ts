/**
 * Sweeps the pool: evicts connections that idled or aged too long, those of a revoked scope, and those of an upstream
 * that a reload replaced, and asks every socket for signs of life.
 *
 * One fiber for all connections, so an idle session costs no timer. A sweep is only housekeeping: the pool checks age
 * and idleness again at each lease, so a late sweep never lets a turn start on an old connection.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { Settings } from "../../config/Settings.ts"
import { Revocation } from "../../turn/Revocation.ts"
import { ConnectionPool } from "./ConnectionPool.ts"
import { Upstreams } from "../route/Upstreams.ts"

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
      const upstreams = yield* Upstreams
      let beat = 0

      const evictRevoked = () => pool.evictIdle("revoked", ({ affinity: { scope } }) => revocation.isRevoked(scope))
      const evictReplaced = () => pool.evictIdle("replaced", ({ affinity }) => !upstreams.isCurrent(affinity.upstream))

      const sweep = Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        pool.evictIdle(
          "age",
          ({ affinity, state }) => state._tag === "Open" && now - state.openedAt >= affinity.upstream.maxAge,
        )
        pool.evictIdle(
          "idle",
          ({ affinity, idle }) => idle !== undefined && now - idle.state.since >= affinity.upstream.idleTtl,
        )
        // A connection that was leased when its scope was revoked or its upstream replaced may be idle by now.
        evictRevoked()
        evictReplaced()
        pool.heartbeat(beat++)
      })

      yield* revocation.listen(evictRevoked)
      yield* upstreams.listen(evictReplaced)
      yield* Effect.sleep(Duration.millis(settings.pingInterval / 2)).pipe(
        Effect.andThen(sweep),
        Effect.forever,
        Effect.forkScoped,
      )
      return Evictor.of({ sweep })
    }),
  )
}
