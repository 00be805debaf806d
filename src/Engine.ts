/**
 * Puts the layers of a turn together, from its bytes to the upstream: what every front needs, and no front.
 *
 *     intake, turns ─▶ executor = fallback(WebSocket executor ─▶ pool ─▶ dialer, HTTP executor ─▶ fetch)
 *
 * Closing goes the other way round: turns are interrupted, then the pool closes its sockets.
 */
import { Effect, Layer } from "effect"
import { Settings } from "./config/Settings.ts"
import { Intake } from "./downstream/Intake.ts"
import { Session } from "./downstream/Session.ts"
import * as Metrics from "./observe/Metrics.ts"
import * as Traces from "./observe/Traces.ts"
import { BodyHeads } from "./turn/memory/BodyHeads.ts"
import { TurnMemory } from "./turn/memory/TurnMemory.ts"
import * as Observing from "./turn/record/Observing.ts"
import { Revocation } from "./turn/Revocation.ts"
import { Turns } from "./turn/Turns.ts"
import { Credentials } from "./upstream/credential/Credentials.ts"
import { FallbackExecutor } from "./upstream/FallbackExecutor.ts"
import * as Forwarding from "./upstream/http/Forwarding.ts"
import { HttpExecutor } from "./upstream/http/HttpExecutor.ts"
import { HttpUpstream } from "./upstream/http/HttpUpstream.ts"
import { Availability } from "./upstream/pool/Availability.ts"
import { ConnectionPool } from "./upstream/pool/ConnectionPool.ts"
import { Evictor } from "./upstream/pool/Evictor.ts"
import { Routing } from "./upstream/route/Routing.ts"
import { Upstreams } from "./upstream/route/Upstreams.ts"
import { WebSocketExecutor } from "./upstream/socket/WebSocketExecutor.ts"

/** Counts what happens, unless `RESPOOL_METRICS` is off. */
export const layerMetrics = Layer.unwrap(
  Effect.map(Settings, ({ metrics }) => (metrics === "on" ? Metrics.layer : Layer.empty)),
).pipe(Layer.provide(Observing.layer))

/** The pool of connections, with its memory, evictor and upstreams. Needs `Settings` and a `Dialer`. */
export const layerPool = Layer.merge(Evictor.layerNoDeps, layerMetrics).pipe(
  Layer.provideMerge(ConnectionPool.layerNoDeps),
  Layer.provide(Observing.layer),
  Layer.provideMerge([TurnMemory.layer, BodyHeads.layer, Availability.layer, Revocation.layer, Upstreams.layerNoDeps]),
)

/** `Executor` and `Forwarder`, over both transports. Needs `Settings`, `Credentials` and a `Dialer`. */
export const layerExecutorNoCredentials = Layer.merge(
  FallbackExecutor.layerExecutor.pipe(
    Layer.provide(FallbackExecutor.layerNoDeps),
    Layer.provide([WebSocketExecutor.layerNoDeps, HttpExecutor.layerNoDeps]),
  ),
  Forwarding.layerNoDeps,
).pipe(Layer.provide([HttpUpstream.layer, Routing.layerNoDeps, Observing.layer]), Layer.provideMerge(layerPool))

/** `Executor` and `Forwarder` with credentials that callers bring, or fixed ones. Needs `Settings` and a `Dialer`. */
export const layerExecutor = layerExecutorNoCredentials.pipe(Layer.provide(Credentials.layerFixed))

const layerSession = Layer.unwrap(Effect.map(Settings, ({ sessionHeader }) => Session.layer({ header: sessionHeader })))

/**
 * `Intake` and `Turns`: turns from bytes, without HTTP. Needs `Settings`, `Ownership` and an `Executor` with a pool.
 */
export const layerTurns = Layer.merge(Intake.layerNoDeps.pipe(Layer.provide(layerSession)), Turns.layerNoDeps).pipe(
  Layer.provide([Observing.layer, Traces.layer]),
)
