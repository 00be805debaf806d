/**
 * The routes of the proxy, as they are added to the router.
 */
import { Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import * as Routes from "../../src/downstream/http/Routes.ts"
import * as Server from "../../src/Server.ts"
import { AuthScope } from "../../src/downstream/auth/AuthScope.ts"
import { Ownership } from "../../src/downstream/tenants/Ownership.ts"
import { Settings } from "../../src/config/Settings.ts"
import { layerBun } from "../../src/upstream/dialer/DialerBun.ts"

interface Route {
  readonly method: string
  readonly path: string
}

/** Every route, in the order in which they are added. */
export const routes = Effect.gen(function* () {
  const added: Array<Route> = []
  const router = yield* HttpRouter.make
  const recording = HttpRouter.HttpRouter.of({
    ...router,
    add: (method, path, handler, options) => {
      added.push({ method, path })
      return router.add(method, path, handler, options)
    },
    addAll: (all) => {
      for (const { method, path } of all) added.push({ method, path })
      return router.addAll(all)
    },
  })
  yield* Layer.build(
    Layer.merge(Server.layerRoutes, Routes.layerNotFound).pipe(
      Layer.provide(Layer.succeed(HttpRouter.HttpRouter, recording)),
      Layer.provide([AuthScope.layerPassthrough, Ownership.layerOff]),
      Layer.provide(Server.layerExecutor),
      Layer.provide(layerBun),
      Layer.provide(Settings.layer({ upstreamUrl: "http://127.0.0.1:1/v1" })),
    ),
  )
  return added
  // What a served request may fail with is of no matter where none is served.
}).pipe(Effect.scoped, Effect.orDie) as unknown as Effect.Effect<ReadonlyArray<Route>>
