/**
 * Leases of a pool whose sockets are a test's own.
 */
import { Effect, Layer, Redacted, Scope } from "effect"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"
import { Revocation } from "../../src/turn/Revocation.ts"
import type { Affinity } from "../../src/upstream/pool/Affinity.ts"
import { Availability } from "../../src/upstream/pool/Availability.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { Evictor } from "../../src/upstream/pool/Evictor.ts"
import type { LeaseRequest } from "../../src/upstream/pool/Decision.ts"
import { makeUpstream, Upstreams } from "../../src/upstream/route/Upstreams.ts"
import { TestDialer } from "./TestDialer.ts"

export const pool = (settings: Partial<SettingsValues> = {}) =>
  Evictor.layerNoDeps.pipe(
    Layer.provideMerge(ConnectionPool.layerNoDeps),
    Layer.provideMerge([TestDialer.layer, Availability.layer, Revocation.layer, Upstreams.layerNoDeps]),
    Layer.provide(Settings.layer(settings)),
  )

export const affinity = (key = "a", scope = "s"): Affinity => ({
  key,
  scope,
  upstream: makeUpstream(Settings.defaults.upstreams[0]),
  credential: "id",
  url: "ws://upstream/v1/responses",
  headers: Redacted.make({}),
})

export const request = (options: Partial<LeaseRequest> = {}): LeaseRequest => ({
  affinity: affinity(),
  session: undefined,
  anchor: undefined,
  recall: () => [],
  ...options,
})

export const lease = Effect.fnUntraced(function* (options?: Partial<LeaseRequest>) {
  const pool = yield* ConnectionPool
  const [upstream] = (yield* Upstreams).all()
  const asked = request(options)
  return yield* pool.lease({ ...asked, affinity: { ...asked.affinity, upstream } })
})

/** A lease with a scope of its own, which the test closes as it likes. */
export const open = Effect.fnUntraced(function* (options?: Partial<LeaseRequest>) {
  const scope = yield* Scope.make()
  const leased = yield* lease(options).pipe(Scope.provide(scope))
  return { lease: leased, scope }
})
