/**
 * The command `serve`: the proxy, from its settings until the process is told to stop.
 */
import { Duration, Effect, Layer, Queue } from "effect"
import { Settings } from "../config/Settings.ts"
import * as Otlp from "../observe/Otlp.ts"
import { Reload } from "../Reload.ts"
import * as Server from "../Server.ts"
import { Turns } from "../turn/Turns.ts"
import { banner } from "./Banner.ts"
import * as Logging from "./Logging.ts"

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

/** Prints where it listens, and never ends by itself. */
export const serve = Effect.andThen(banner, Effect.never).pipe(
  Effect.onInterrupt(() => sayDraining),
  Effect.provide(layerServed),
)
