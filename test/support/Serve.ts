/**
 * An HTTP server on loopback, for as long as the scope.
 */
import { Effect } from "effect"

export const serve = (fetch: (request: Request) => Response | Promise<Response>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Bun.serve({ hostname: "127.0.0.1", port: 0, fetch })),
      (server) => Effect.promise(() => server.stop(true)),
    ),
    (server) => ({ port: server.port ?? 0, stop: Effect.promise(() => server.stop(true)) }),
  )
