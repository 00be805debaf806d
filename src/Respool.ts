/**
 * The package's entry point: the layers of respool, to run whole or to compose into another Effect app.
 *
 *     Respool.layer(settings)    the proxy, with all that it needs
 *     Respool.layerHttpClient()  an `HttpClient` whose turns go through a pool in this process
 *     Server.layer               the proxy: needs Settings, FileSystem and Path
 *     Server.layerRoutes         the API's routes for an app's HttpRouter: needs AuthScope, Ownership, Executor, Forwarder
 *     Server.layerExecutor       turns over sockets with the HTTP fallback: needs Settings and a Dialer
 *
 * Every service is a class with its layers on it, so replacing one needs nothing but another layer.
 */
/** @stability stable */
export { layer } from "./Whole.ts"
/** @stability stable */
export { type HttpClientOptions, layerHttpClient } from "./PooledClient.ts"
/** @stability experimental */
export { Admission, type Entering, type Place } from "./downstream/Admission.ts"
/** @stability stable */
export { ApiError } from "./downstream/ApiError.ts"
/** @stability experimental */
export { Answers } from "./downstream/answer/Answers.ts"
/** @stability experimental */
export type { Answer } from "./downstream/answer/Answer.ts"
/** @stability stable */
export { AuthScope } from "./downstream/auth/AuthScope.ts"
/** @stability experimental */
export * as BunServer from "./downstream/http/BunServer.ts"
/** @stability experimental */
export { Draining, ListeningCertificate } from "./downstream/http/Listener.ts"
/** @stability experimental */
export { PassThrough } from "./downstream/http/PassThrough.ts"
/** @stability experimental */
export { Keys } from "./downstream/auth/Keys.ts"
/** @stability experimental */
export { addKey } from "./downstream/auth/KeysFile.ts"
/** @stability experimental */
export { type Incoming, Intake } from "./downstream/Intake.ts"
/** @stability stable */
export { Ownership } from "./downstream/tenants/Ownership.ts"
/** @stability experimental */
export * as Routes from "./downstream/http/Routes.ts"
/** @stability experimental */
export { Session } from "./downstream/Session.ts"
/** @stability experimental */
export { monotonicMillis } from "./turn/Elapsed.ts"
/** @stability experimental */
export { ClientSockets } from "./downstream/socket/ClientSockets.ts"
/** @stability experimental */
export { Turns } from "./turn/Turns.ts"
/** @stability experimental */
export { Reload } from "./Reload.ts"
/** @stability stable */
export * as Server from "./Server.ts"
/** @stability stable */
export { Settings, SettingsError, type SettingsOptions, type SettingsValues } from "./config/Settings.ts"
/** @stability stable */
export { anonymous, appCredential, type Caller, callerCredential, type Credential } from "./turn/Caller.ts"
/** @stability experimental */
export { Executor, TurnEnd, type TurnRequest, TurnRoute, type TurnSink } from "./turn/Executor.ts"
/** @stability experimental */
export { type ForwardAnswer, Forwarder, type ForwardRequest } from "./turn/Forwarder.ts"
/** @stability experimental */
export { type Plan, plan } from "./turn/memory/Plan.ts"
/** @stability experimental */
export { TurnError } from "./turn/TurnError.ts"
/** @stability experimental */
export { BodyHeads } from "./turn/memory/BodyHeads.ts"
/** @stability experimental */
export { TurnMemory } from "./turn/memory/TurnMemory.ts"
/** @stability experimental */
export { Revocation } from "./turn/Revocation.ts"
/** @stability experimental */
export { Availability } from "./upstream/pool/Availability.ts"
/** @stability experimental */
export { type FetchedTurn, FetchFront } from "./downstream/fetch/FetchFront.ts"
/** @stability experimental */
export { ConnectionPool } from "./upstream/pool/ConnectionPool.ts"
/** @stability experimental */
export { DialError, Dialer, type DialRequest, type Socket, type SocketHandlers } from "./upstream/dialer/Dialer.ts"
/** @stability stable */
export { layerBun as layerDialerBun } from "./upstream/dialer/DialerBun.ts"
/** @stability stable */
export { layerWs as layerDialerWs } from "./upstream/dialer/DialerWs.ts"
/** @stability experimental */
export { Credentials } from "./upstream/credential/Credentials.ts"
/** @stability experimental */
export { Evictor } from "./upstream/pool/Evictor.ts"
/** @stability experimental */
export { FallbackExecutor } from "./upstream/FallbackExecutor.ts"
/** @stability experimental */
export * as Forwarding from "./upstream/http/Forwarding.ts"
/** @stability experimental */
export { HttpExecutor } from "./upstream/http/HttpExecutor.ts"
/** @stability experimental */
export { HttpUpstream } from "./upstream/http/HttpUpstream.ts"
/** @stability experimental */
export { type Destination, Routing } from "./upstream/route/Routing.ts"
/** @stability experimental */
export * as Observing from "./turn/record/Observing.ts"
/** @stability experimental */
export * as Tracing from "./turn/record/Tracing.ts"
/** @stability experimental */
export { Overview } from "./observe/live/Overview.ts"
/** @stability experimental */
export { Upstreams } from "./upstream/route/Upstreams.ts"
/** @stability experimental */
export { WebSocketExecutor } from "./upstream/socket/WebSocketExecutor.ts"
/** @stability experimental */
export { parseRequestBody, type RequestBody } from "./wire/RequestBody.ts"
