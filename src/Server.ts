/**
 * Puts a proxy together: the API's routes and a client socket's, who may ask, and the listener, before the engine
 * (`Engine.ts`) that carries the turns.
 *
 * Closing goes the other way round: the listener drains, turns are interrupted, then the pool closes its sockets.
 */
import { Effect, FileSystem, Layer, Option, Path } from "effect"
import { HttpRouter } from "effect/http"
import { KeyValueStore } from "effect/persistence"
import { Admission } from "./downstream/Admission.ts"
import { Answers } from "./downstream/answer/Answers.ts"
import { AuthScope } from "./downstream/auth/AuthScope.ts"
import * as BunServer from "./downstream/http/BunServer.ts"
import { Draining } from "./downstream/http/Listener.ts"
import { Keys } from "./downstream/auth/Keys.ts"
import { privateFolder } from "./downstream/auth/KeysFile.ts"
import { Ownership } from "./downstream/tenants/Ownership.ts"
import { PassThrough } from "./downstream/http/PassThrough.ts"
import * as RequestLog from "./downstream/http/RequestLog.ts"
import * as Routes from "./downstream/http/Routes.ts"
import * as OperatorRoutes from "./downstream/operator/OperatorRoutes.ts"
import { ClientSockets } from "./downstream/socket/ClientSockets.ts"
import { Overview, UpstreamsInForce } from "./observe/live/Overview.ts"
import { boundedReads } from "./config/Files.ts"
import { ClusterIds } from "./cluster/ClusterIds.ts"
import { clusterKeys } from "./config/cluster/ClusterSecret.ts"
import { Settings, SettingsError } from "./config/Settings.ts"
import { layerExecutorNoCredentials, layerTurns } from "./Engine.ts"
import { noModelLeadsThere, unreached } from "./config/UpstreamSettings.ts"
import { Executor } from "./turn/Executor.ts"
import * as Observing from "./turn/record/Observing.ts"
import { Revocation } from "./turn/Revocation.ts"
import { layerBun } from "./upstream/dialer/DialerBun.ts"
import * as CheckFiles from "./upstream/credential/CheckFiles.ts"
import { Credentials } from "./upstream/credential/Credentials.ts"
import { Upstreams } from "./upstream/route/Upstreams.ts"

export { layerExecutor, layerExecutorNoCredentials, layerMetrics, layerPool, layerTurns } from "./Engine.ts"

/** The API's routes for an `HttpRouter`. Needs `Settings`, `AuthScope`, `Ownership`, `Executor` and `Forwarder`. */
export const layerRoutes = Routes.layerNoDeps.pipe(
  Layer.provide([PassThrough.layerNoDeps, Answers.layerNoDeps, ClientSockets.layerNoDeps]),
  Layer.provideMerge(layerTurns),
  Layer.provide([Admission.layerNoDeps, Revocation.layer, Observing.layer]),
)

const keysOf = (settings: Parameters<typeof clusterKeys>[0]) =>
  Effect.mapError(clusterKeys(settings), ({ message }) => new SettingsError({ message }))

/** Where the settings make a cluster, an `Executor` in front of the one that is there. Else that one. */
const layerCluster = Layer.unwrap(
  Effect.gen(function* () {
    const settings = yield* Settings
    const derive = yield* keysOf(settings)
    const { clusterAddress: address } = settings
    if (derive === undefined || address === undefined) return Layer.effect(Executor, Executor)
    const { begun: stops } = yield* Draining
    // Loaded here, so that nobody else pays for it.
    const { layer } = yield* Effect.promise(() => import("./cluster/Cluster.ts"))
    return layer({ address, derive, stops })
  }),
).pipe(Layer.provide(Observing.layer))

/** `AuthScope` and `Ownership` as `RESPOOL_AUTH` says; the record of ids lies beside the keys file. */
export const layerAuth = Layer.unwrap(
  Effect.gen(function* () {
    const { auth, keysFile, sharedIds, upstreams, ...settings } = yield* Settings
    if (auth === "passthrough") {
      // Every node of a cluster must know the same caller by the same scope.
      const scopeKey = (yield* keysOf(settings))?.("scopes", 32)
      const scopes = scopeKey === undefined ? AuthScope.layerPassthrough : AuthScope.layerPassthroughUnder(scopeKey)
      return Layer.merge(scopes, Ownership.layerOff)
    }
    if (upstreams.some(({ credential }) => credential._tag === "Caller")) {
      return yield* new SettingsError({ message: "RESPOOL_AUTH=keys needs RESPOOL_UPSTREAM_API_KEY" })
    }
    const path = yield* Path.Path
    const ids = path.join(path.dirname(keysFile), "respool.ids")
    yield* privateFolder(ids)
    const others = Option.getOrUndefined(yield* Effect.serviceOption(ClusterIds))
    return Layer.merge(
      AuthScope.layerKeys.pipe(Layer.provide(Keys.layerFile(keysFile)), Layer.provide(Revocation.layer)),
      Ownership.layer({ shared: sharedIds, ask: others?.ask, answer: others?.answerWith }).pipe(
        Layer.provide(KeyValueStore.layerFileSystem(ids)),
        Layer.provide(Layer.effect(FileSystem.FileSystem, Effect.map(FileSystem.FileSystem, boundedReads))),
      ),
    )
  }),
)

const layerListener = Layer.unwrap(
  Effect.map(Effect.all([Settings, RequestLog.make]), ([settings, answered]) => {
    const { downstreamDeflate, drainTimeout, host, listenTls, maxClients, maxClientsPerAddress, port } = settings
    return BunServer.layer({
      answered,
      hostname: host,
      port,
      drainTimeout,
      clients: { all: maxClients, perAddress: maxClientsPerAddress },
      sockets: {
        maxMessage: Math.min(settings.maxClientMessage, settings.maxBody),
        deflate: downstreamDeflate === "on",
      },
      ...(listenTls === undefined ? {} : { tls: listenTls }),
    })
  }),
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

/** What an operator may look at, unless `RESPOOL_METRICS` is off. */
const layerOperator = Layer.unwrap(
  Effect.map(Settings, ({ metrics }) => (metrics === "on" ? OperatorRoutes.layer : Layer.empty)),
).pipe(
  Layer.provide(Overview.layerNoDeps),
  Layer.provide([
    Observing.layer,
    Layer.effect(
      UpstreamsInForce,
      Effect.map(Upstreams, ({ all }) => all),
    ),
  ]),
)

/** The whole proxy without its `Dialer`, settings and the platform's file system. `HttpServer` tells the address. */
export const layerNoDialer = Layer.merge(
  HttpRouter.serve(Layer.mergeAll(layerRoutes, layerOperator, Routes.layerRoot, Routes.layerNotFound), {
    disableLogger: true,
    disableListenLog: true,
  }),
  layerWarnings,
).pipe(
  Layer.provide(layerAuth),
  Layer.provideMerge(Layer.provideMerge(layerCluster, layerExecutorNoCredentials)),
  Layer.provide(Credentials.layer),
  Layer.provideMerge(layerListener),
  Layer.provide(CheckFiles.layer),
)

/** The whole proxy, with Bun's sockets upstream. */
export const layer = layerNoDialer.pipe(Layer.provide(layerBun))
