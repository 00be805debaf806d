/**
 * The API's routes for teams of a database: each has a token of its own and goes upstream with the team's own key.
 *
 *     TEAMS=teams.sqlite UPSTREAM=https://api.openai.com/v1 bun test/examples/teams.ts
 */
import { runMain } from "@effect/platform-node-shared/NodeRuntime"
import { Database } from "bun:sqlite"
import { Config, Effect, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { hash } from "node:crypto"
import * as Respool from "respool"

/** As `create table` has it; the token itself is not kept. */
export const schema = "create table teams (name text, token_sha256 text primary key, upstream_key text)"

interface Team {
  readonly name: string
  readonly upstream_key: string
}

const layerTeams = Layer.effect(
  Respool.AuthScope,
  Effect.gen(function* () {
    const path = yield* Config.String("TEAMS")
    const database = yield* Effect.acquireRelease(
      Effect.sync(() => new Database(path)),
      (open) => Effect.sync(() => open.close()),
    )
    const find = database.query<Team, [string]>("select name, upstream_key from teams where token_sha256 = ?")
    const resolve = Effect.fn("teams")(function* (headers: Readonly<Record<string, string | undefined>>) {
      const token = /^Bearer (\S+)$/i.exec(headers["authorization"] ?? "")?.[1] ?? ""
      const team = find.get(hash("sha256", token))
      if (team === null) return yield* Respool.ApiError.unauthorized("unknown_team", "Which team are you of?")
      const credential = Respool.appCredential(Redacted.make(`Bearer ${team.upstream_key}`))
      // Who has the scope shares connections and what they remember: the database chooses it, and no caller.
      return { scope: `team:${team.name}`, label: team.name, credential, tenant: false }
    })
    return { resolve }
  }),
)

const layerSettings = Layer.unwrap(
  Effect.map(Config.String("UPSTREAM"), (upstreamUrl) => Respool.Settings.layer({ upstreamUrl })),
)

export const layerApp = HttpRouter.serve(Respool.Server.layerRoutes, { disableLogger: true }).pipe(
  Layer.provide([layerTeams, Respool.Ownership.layerOff]),
  Layer.provide(Respool.Server.layerExecutor),
  Layer.provide([Respool.layerDialerBun, layerSettings]),
  Layer.provideMerge(Respool.BunServer.layer({ hostname: "127.0.0.1", port: 0 })),
)

if (import.meta.main) runMain(Layer.launch(layerApp))
