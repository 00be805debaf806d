/**
 * The package's entry point: the layers of respool, to run whole or to compose into another Effect app.
 *
 *     Server.layer          the proxy: needs Settings, FileSystem and Path
 *     Server.layerRoutes    the API's routes for your own HttpRouter: needs AuthScope, Ownership, Executor, Forwarder
 *     Server.layerExecutor  turns over sockets with the HTTP fallback: needs Settings and a Dialer
 *
 * Every service is a class with its layers on it, so replacing one needs nothing but another layer.
 */
export { ApiError } from "./downstream/ApiError.ts"
export { AuthScope, type Caller } from "./downstream/AuthScope.ts"
export * as BunServer from "./downstream/BunServer.ts"
export { addKey, Keys } from "./downstream/Keys.ts"
export { Ownership } from "./downstream/Ownership.ts"
export * as Routes from "./downstream/Routes.ts"
export { Session } from "./downstream/Session.ts"
export { Turns } from "./downstream/Turns.ts"
export { Reload } from "./Reload.ts"
export * as Server from "./Server.ts"
export { Settings, SettingsError } from "./settings/Settings.ts"
export { Executor, type TurnEnd, type TurnRequest, type TurnRoute, type TurnSink } from "./turn/Executor.ts"
export { Forwarder } from "./turn/Forwarder.ts"
export { type Plan, plan } from "./turn/Plan.ts"
export { TurnError } from "./turn/TurnError.ts"
export { TurnMemory } from "./turn/TurnMemory.ts"
export { ConnectionPool } from "./upstream/ConnectionPool.ts"
export { DialError, Dialer } from "./upstream/Dialer.ts"
export { layerBun as layerDialerBun } from "./upstream/DialerBun.ts"
export { layerWs as layerDialerWs } from "./upstream/DialerWs.ts"
export { Credentials } from "./upstream/Credentials.ts"
export { Evictor } from "./upstream/Evictor.ts"
export { FallbackExecutor } from "./upstream/FallbackExecutor.ts"
export { HttpExecutor } from "./upstream/HttpExecutor.ts"
export { Upstreams } from "./upstream/Upstream.ts"
export { WebSocketExecutor } from "./upstream/WebSocketExecutor.ts"
export { parseRequestBody, type RequestBody } from "./wire/RequestBody.ts"
