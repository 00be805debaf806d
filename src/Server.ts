/**
 * Puts the layers together, which no other file does: to an executor, the API's routes, and a server.
 *
 *     routes ─▶ turns ─▶ executor = fallback(WebSocket executor ─▶ pool ─▶ dialer, HTTP executor ─▶ fetch)
 *
 * Closing goes the other way round: the listener drains, turns are interrupted, then the pool closes its sockets.
 */
import { Effect, FileSystem, Layer, Path } from "effect"
import { HttpRouter } from "effect/http"
import { KeyValueStore } from "effect/persistence"
import { Admission } from "./downstream/Admission.ts"
import { Answers } from "./downstream/answer/Answers.ts"
import { AuthScope } from "./downstream/auth/AuthScope.ts"
import * as BunServer from "./downstream/http/BunServer.ts"
import { Keys } from "./downstream/auth/Keys.ts"
import { privateFolder } from "./downstream/auth/KeysFile.ts"
import { Intake } from "./downstream/Intake.ts"
import { Ownership } from "./downstream/tenants/Ownership.ts"
import { PassThrough } from "./downstream/http/PassThrough.ts"
import * as Routes from "./downstream/http/Routes.ts"
import * as OperatorRoutes from "./downstream/operator/OperatorRoutes.ts"
import { Session } from "./downstream/Session.ts"
import { ClientSockets } from "./downstream/socket/ClientSockets.ts"
import * as Metrics from "./observe/Metrics.ts"
import * as Observing from "./turn/record/Observing.ts"
import { Turns } from "./turn/Turns.ts"
import { boundedReads } from "./config/Files.ts"
import { Settings, SettingsError } from "./config/Settings.ts"
import { noModelLeadsThere, unreached } from "./config/UpstreamSettings.ts"
import { BodyHeads } from "./turn/memory/BodyHeads.ts"
import { Revocation } from "./turn/Revocation.ts"
import { TurnMemory } from "./turn/memory/TurnMemory.ts"
import { Availability } from "./upstream/pool/Availability.ts"
import { ConnectionPool } from "./upstream/pool/ConnectionPool.ts"
import { layerBun } from "./upstream/dialer/DialerBun.ts"
import { Evictor } from "./upstream/pool/Evictor.ts"
import { FallbackExecutor } from "./upstream/FallbackExecutor.ts"
import { HttpExecutor } from "./upstream/http/HttpExecutor.ts"
import * as CheckFiles from "./upstream/credential/CheckFiles.ts"
import { Credentials } from "./upstream/credential/Credentials.ts"
import * as Forwarding from "./upstream/http/Forwarding.ts"
import { HttpUpstream } from "./upstream/http/HttpUpstream.ts"
import { Routing } from "./upstream/route/Routing.ts"
import { Upstreams } from "./upstream/route/Upstreams.ts"
import { WebSocketExecutor } from "./upstream/socket/WebSocketExecutor.ts"

/** Counts what happens, unless `RESPOOL_METRICS` is off. */
const layerMetrics = Layer.unwrap(
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
  Layer.provide(Observing.layer),
)

/** The API's routes for an `HttpRouter`. Needs `Settings`, `AuthScope`, `Ownership`, `Executor` and `Forwarder`. */
export const layerRoutes = Routes.layerNoDeps.pipe(
  Layer.provide([PassThrough.layerNoDeps, Answers.layerNoDeps, ClientSockets.layerNoDeps]),
  Layer.provideMerge(layerTurns),
  Layer.provide([Admission.layerNoDeps, Revocation.layer, Observing.layer]),
)

/** `AuthScope` and `Ownership` as `RESPOOL_AUTH` says; the record of ids lies beside the keys file. */
export const layerAuth = Layer.unwrap(
  Effect.gen(function* () {
    const { auth, keysFile, sharedIds, upstreams } = yield* Settings
    if (auth === "passthrough") return Layer.merge(AuthScope.layerPassthrough, Ownership.layerOff)
    if (upstreams.some(({ credential }) => credential._tag === "Caller")) {
      return yield* new SettingsError({ message: "RESPOOL_AUTH=keys needs RESPOOL_UPSTREAM_API_KEY" })
    }
    const path = yield* Path.Path
    const ids = path.join(path.dirname(keysFile), "respool.ids")
    yield* privateFolder(ids)
    return Layer.merge(
      AuthScope.layerKeys.pipe(Layer.provide(Keys.layerFile(keysFile)), Layer.provide(Revocation.layer)),
      Ownership.layer({ shared: sharedIds }).pipe(
        Layer.provide(KeyValueStore.layerFileSystem(ids)),
        Layer.provide(Layer.effect(FileSystem.FileSystem, Effect.map(FileSystem.FileSystem, boundedReads))),
      ),
    )
  }),
)

const layerListener = Layer.unwrap(
  Effect.map(
    Settings,
    ({ downstreamDeflate, drainTimeout, host, listenTls, maxBody, maxClients, maxClientsPerAddress, port }) =>
      BunServer.layer({
        hostname: host,
        port,
        drainTimeout,
        clients: { all: maxClients, perAddress: maxClientsPerAddress },
        sockets: { maxMessage: maxBody, deflate: downstreamDeflate === "on" },
        ...(listenTls === undefined ? {} : { tls: listenTls }),
      }),
  ),
)

/** Warns at every start, since a setting that was made for a trial is easily forgotten. */
const layerWarnings = Layer.effectDiscard(
  Effect.gen(function* () {
    const { remarks, upstreams } = yield* Settings
    yield* Effect.forEach(remarks, (remark) => Effect.logWarning(remark), { discard: true })
    const idle = unreached(upstreams)
    if (idle.length > 0) {
      yield* Effect.annotateLogs(Effect.logWarning(noModelLeadsThere), { upstreams: idle.join(" ") })
    }
    const unverified = upstreams.filter(({ tlsVerify }) => tlsVerify === "off").map(({ url }) => url)
    if (unverified.length === 0) return
    const warning =
      "CERTIFICATES ARE NOT VERIFIED (tlsVerify is off): anyone on the way can read and change what goes there"
    yield* Effect.annotateLogs(Effect.logWarning(warning), { upstreams: unverified.join(" ") })
  }),
)

/** The whole proxy without its `Dialer`, settings and the platform's file system. `HttpServer` tells the address. */
export const layerNoDialer = Layer.merge(
  HttpRouter.serve(Layer.mergeAll(layerRoutes, OperatorRoutes.layer, Routes.layerRoot, Routes.layerNotFound), {
    disableLogger: true,
    disableListenLog: true,
  }),
  layerWarnings,
).pipe(
  Layer.provide(layerAuth),
  Layer.provideMerge(layerExecutorNoCredentials),
  Layer.provide(Credentials.layer),
  Layer.provideMerge(layerListener),
  Layer.provide(CheckFiles.layer),
)

/** The whole proxy, with Bun's sockets upstream. */
export const layer = layerNoDialer.pipe(Layer.provide(layerBun))
