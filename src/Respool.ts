/**
 * The package's entry point: the layers of respool, to run whole or to compose into another Effect app.
 *
 *     Server.layer          the proxy: needs Settings, FileSystem and Path
 *     Server.layerRoutes    the API's routes for an app's HttpRouter: needs AuthScope, Ownership, Executor, Forwarder
 *     Server.layerExecutor  turns over sockets with the HTTP fallback: needs Settings and a Dialer
 *
 * Every service is a class with its layers on it, so replacing one needs nothing but another layer.
 */
export { ApiError } from "./downstream/ApiError.ts"
export { Answers } from "./downstream/answer/Answers.ts"
export { AuthScope } from "./downstream/auth/AuthScope.ts"
export * as BunServer from "./downstream/http/BunServer.ts"
export { Keys } from "./downstream/auth/Keys.ts"
export { addKey } from "./downstream/auth/KeysFile.ts"
export { type Incoming, Intake } from "./downstream/Intake.ts"
export { Ownership } from "./downstream/tenants/Ownership.ts"
export * as Routes from "./downstream/http/Routes.ts"
export { Session } from "./downstream/Session.ts"
export { monotonicMillis } from "./turn/Elapsed.ts"
export { ClientSockets } from "./downstream/socket/ClientSockets.ts"
export { Turns } from "./turn/Turns.ts"
export { Reload } from "./Reload.ts"
export * as Server from "./Server.ts"
export { Settings, SettingsError } from "./config/Settings.ts"
export { anonymous, appCredential, type Caller, callerCredential, type Credential } from "./turn/Caller.ts"
export { Executor, TurnEnd, type TurnRequest, TurnRoute, type TurnSink } from "./turn/Executor.ts"
export { Forwarder } from "./turn/Forwarder.ts"
export { type Plan, plan } from "./turn/memory/Plan.ts"
export { TurnError } from "./turn/TurnError.ts"
export { BodyHeads } from "./turn/memory/BodyHeads.ts"
export { TurnMemory } from "./turn/memory/TurnMemory.ts"
export { Revocation } from "./turn/Revocation.ts"
export { Availability } from "./upstream/pool/Availability.ts"
export { FetchFront } from "./downstream/fetch/FetchFront.ts"
export { ConnectionPool } from "./upstream/pool/ConnectionPool.ts"
export { DialError, Dialer } from "./upstream/dialer/Dialer.ts"
export { layerBun as layerDialerBun } from "./upstream/dialer/DialerBun.ts"
export { layerWs as layerDialerWs } from "./upstream/dialer/DialerWs.ts"
export { Credentials } from "./upstream/credential/Credentials.ts"
export { Evictor } from "./upstream/pool/Evictor.ts"
export { FallbackExecutor } from "./upstream/FallbackExecutor.ts"
export { HttpExecutor } from "./upstream/http/HttpExecutor.ts"
export { Upstreams } from "./upstream/route/Upstreams.ts"
export { WebSocketExecutor } from "./upstream/socket/WebSocketExecutor.ts"
export { parseRequestBody, type RequestBody } from "./wire/RequestBody.ts"
