/**
 * Another app that serves respool's routes beside its own, with its own idea of who is asking.
 *
 *     UPSTREAM=https://api.openai.com/v1 TEAM_KEY=… UPSTREAM_KEY=… bun test/examples/embed.ts
 */
import { runMain } from "@effect/platform-node-shared/NodeRuntime"
import { Config, Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { ApiError, appCredential, AuthScope, BunServer, type Caller, ConnectionPool } from "respool"
import { layerDialerBun, Ownership, Server, Settings } from "respool"

const config = Config.all({
  upstreamUrl: Config.String("UPSTREAM"),
  teamKey: Config.Redacted("TEAM_KEY"),
  upstreamKey: Config.Redacted("UPSTREAM_KEY"),
})

/** The team shares connections, and goes upstream with the app's own credential, which it never reads. */
const team = Effect.map(config, ({ upstreamKey }): Caller => ({
  scope: "team",
  label: "team",
  credential: appCredential(Redacted.make(`Bearer ${Redacted.value(upstreamKey)}`)),
  tenant: false,
}))

/** One team, one key. */
const layerTeam = Layer.unwrap(
  Effect.map(Effect.all([config, team]), ([{ teamKey }, caller]) =>
    AuthScope.layer((headers) =>
      headers["x-team-key"] === Redacted.value(teamKey)
        ? Effect.succeed(caller)
        : Effect.fail(ApiError.unauthorized("unknown_team", "Who are you?")),
    ),
  ),
)

/** A route of the app's own, which looks into the pool. */
const layerStatus = HttpRouter.add(
  "GET",
  "/status",
  Effect.map(ConnectionPool, (pool) => HttpServerResponse.jsonUnsafe({ connections: pool.connections().length })),
)

export const layerApp = HttpRouter.serve(Layer.merge(Server.layerRoutes, layerStatus), { disableLogger: true }).pipe(
  Layer.provideMerge(Server.layerTurns),
  Layer.provide([layerTeam, Ownership.layerOff]),
  Layer.provide(Server.layerExecutor),
  Layer.provide(layerDialerBun),
  Layer.provide(Layer.unwrap(Effect.map(config, ({ upstreamUrl }) => Settings.layer({ upstreamUrl })))),
  Layer.provideMerge(BunServer.layer({ hostname: "127.0.0.1", port: 0 })),
)

if (import.meta.main) runMain(Layer.launch(layerApp))
