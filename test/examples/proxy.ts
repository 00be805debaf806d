/**
 * The proxy inside of an app, which looks into its pool.
 *
 *     UPSTREAM=https://api.openai.com/v1 bun test/examples/proxy.ts
 */
import { runMain } from "@effect/platform-node-shared/NodeRuntime"
import { Config, Console, Effect, Layer, Schedule } from "effect"
import { HttpServer } from "effect/http"
import * as Respool from "respool"

const layerProxy = Layer.unwrap(
  Effect.map(Config.String("UPSTREAM"), (upstreamUrl) => Respool.layer({ port: 0, upstreamUrl })),
)

/** Says where the proxy is, and from time to time what its pool holds. */
const layerWatch = Layer.effectDiscard(
  Effect.gen(function* () {
    const pool = yield* Respool.ConnectionPool
    yield* Console.log(`OPENAI_BASE_URL=${yield* HttpServer.addressFormattedWith(Effect.succeed)}/v1`)
    const look = Effect.suspend(() => Console.log(`${pool.connections().length} connections`))
    yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("10 seconds")))
  }),
)

export const layerApp = layerWatch.pipe(Layer.provideMerge(layerProxy))

if (import.meta.main) runMain(Layer.launch(layerApp))
