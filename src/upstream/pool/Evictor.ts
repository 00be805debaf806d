/**
 * Sweeps the pool: evicts connections that idled or aged too long, and asks every socket for signs of life. Those of a
 * revoked scope, and of an upstream that a reload replaced, are evicted at once, or as soon as their turn is over.
 *
 * One fiber for all connections, so an idle session costs no timer. A sweep is only housekeeping: the pool checks age
 * and idleness again at each lease, so a late sweep never lets a turn start on an old connection.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { Settings } from "../../config/Settings.ts"
import { ageOf } from "../../turn/Elapsed.ts"
import { Revocation } from "../../turn/Revocation.ts"
import type { Connection } from "./Connection.ts"
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
      const age = ageOf(yield* Clock.Clock)
      const revocation = yield* Revocation
      const upstreams = yield* Upstreams
      let beat = 0

      const isRevoked = ({ affinity: { scope } }: Connection) => revocation.isRevoked(scope)
      const isReplaced = ({ affinity: { upstream } }: Connection) => !upstreams.isCurrent(upstream)

      const sweep = Effect.sync(() => {
        const now = age()
        pool.evictIdle(
          "age",
          ({ affinity, state }) => state._tag === "Open" && now - state.openedAt >= affinity.upstream.maxAge,
        )
        pool.evictIdle(
          "idle",
          ({ affinity, idleSince }) => idleSince !== undefined && now - idleSince >= affinity.upstream.idleTtl,
        )
        pool.heartbeat(beat++)
      })

      yield* revocation.listen(() => pool.evictIdle("revoked", isRevoked))
      yield* upstreams.listen(() => pool.evictIdle("replaced", isReplaced))
      yield* pool.onIdle((connection) => {
        if (isRevoked(connection)) connection.evict("revoked", "")
        else if (isReplaced(connection)) connection.evict("replaced", "")
      })
      yield* Effect.sleep(Duration.millis(settings.pingInterval / 2)).pipe(
        Effect.andThen(sweep),
        Effect.forever,
        Effect.forkScoped,
      )
      return Evictor.of({ sweep })
    }),
  )
}
