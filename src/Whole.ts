/**
 * The whole proxy in one line, for an app that wants it beside its own: everything is given, and nothing is shared with
 * another one in the same process.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { Effect, Layer, Metric } from "effect"
import type { SettingsOptions } from "./config/Settings.ts"
import { Settings } from "./config/Settings.ts"
import * as Server from "./Server.ts"

/**
 * Runs the proxy as long as the layer lives: it listens once the layer is built, and drains when its scope closes.
 * `HttpServer` tells its address, and `ConnectionPool` what it holds. Settings are those of `respool.json`; what is not
 * given has its default, whatever the environment says. Fails for settings that can't hold, and where it can't listen.
 *
 *     Layer.launch(Respool.layer({ port: 8787 }))
 *
 * Each call gives a proxy of its own, also where two are given to one app. Its metrics are at its own `/metrics` alone; for
 * those of the app to have them, compose `Server.layer`. Needs Bun.
 *
 * @stability stable
 */
export const layer = (settings: SettingsOptions = {}) => {
  const whole = Server.layer.pipe(
    Layer.provide(Settings.layer(settings)),
    Layer.provide([NodeFileSystem.layer, NodePath.layer]),
    Layer.provide(Layer.sync(Metric.MetricRegistry, () => new Map())),
  )
  // A map of its own: the layers of two proxies are the same values, which are else built once. (`Layer.fresh` has one, and
  // yet layers that are built while it is being built have the app's.)
  return Layer.effectContext(
    Effect.flatMap(Effect.scope, (scope) => Layer.buildWithMemoMap(whole, Layer.makeMemoMapUnsafe(), scope)),
  )
}
