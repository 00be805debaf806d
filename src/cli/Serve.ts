/**
 * The command `serve`: the proxy, from its settings until the process is told to stop.
 */
import { Duration, Effect, Layer, Queue } from "effect"
import { Command } from "effect/cli"
import { environmentName, rows, Settings } from "../config/Settings.ts"
import * as Otlp from "../observe/Otlp.ts"
import { Reload } from "../Reload.ts"
import * as Server from "../Server.ts"
import { Turns } from "../turn/Turns.ts"
import { settingFlags, withFlags } from "./SettingFlags.ts"
import { banner } from "./Banner.ts"
import * as Logging from "./Logging.ts"

const settingsHelp = Object.entries(rows)
  .map(([name, { about, allowed, shown }]) => {
    const fallback = shown === "" ? "not set" : shown
    return `  ${environmentName(name)} (${fallback})\n      ${about}; ${allowed}`
  })
  .join("\n")

/** Said when the process was told to stop, before anything closes. */
const sayDraining = Effect.gen(function* () {
  const { drainTimeout } = yield* Settings
  const running = yield* Effect.flatMap(Turns, (turns) => turns.running)
  const turns = `${running} ${running === 1 ? "turn" : "turns"}`
  const atMost = Duration.format(Duration.millis(drainTimeout))
  yield* Effect.logInfo(`draining ${turns} for at most ${atMost}; a second signal stops at once`)
})

/** As daemons do: a hangup is no end, it asks to read the settings again. */
const layerHangup = Layer.effectDiscard(
  Effect.gen(function* () {
    const reload = yield* Reload
    const hangups = yield* Queue.sliding<void>(1)
    const hungUp = () => void Queue.offerUnsafe(hangups, undefined)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on("SIGHUP", hungUp)),
      () => Effect.sync(() => process.off("SIGHUP", hungUp)),
    )
    yield* Queue.take(hangups).pipe(Effect.andThen(reload.now), Effect.forever, Effect.forkScoped)
  }),
)

const layerServed = layerHangup.pipe(
  Layer.provide(Reload.layer),
  Layer.provideMerge(Server.layer),
  // Below the server, so that the last turns are sent as well.
  Layer.provideMerge(Otlp.layer.pipe(Layer.provide(Server.layerMetrics))),
  Layer.provideMerge(Logging.layer),
  Layer.provideMerge(Settings.layerConfig),
)

export const serve = Command.make("serve", settingFlags, (given) =>
  Effect.andThen(banner, Effect.never).pipe(
    Effect.onInterrupt(() => sayDraining),
    Effect.provide(layerServed),
    withFlags(given),
  ),
).pipe(
  Command.withDescription(
    [
      "Run the proxy against the configured upstream.",
      "Settings come from flags (--upstream-url), else from the environment, else from respool.json in the working folder",
      "(or where RESPOOL_CONFIG says), there in camelCase and without the prefix (upstreamUrl). Secrets have no flag.",
      "Name, default, meaning and what is allowed:",
      settingsHelp,
    ].join("\n"),
  ),
  Command.withShortDescription("Run the proxy against the configured upstream."),
)
