/**
 * How respool logs: the level and format of the settings, one line per record on the standard error.
 *
 * `--log-level` comes before the setting. Lines are written as they are: Bun's `console.error` colours them red where a
 * person reads them. Those of one round of the event loop go out in one write, since a call of the system costs a turn as
 * much as its line does.
 */
import { Effect, Layer, Logger, Option, References } from "effect"
import { GlobalFlag } from "effect/cli"
import { Settings } from "../config/Settings.ts"
import { logfmt } from "./LogLine.ts"

const levels = { debug: "Debug", info: "Info", warn: "Warn", error: "Error", none: "None" } as const

/** Each line goes to `write`, without its line end. */
export const layerTo = (write: (line: string) => void) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { logFormat, logLevel } = yield* Settings
      const flag = Option.flatten(yield* Effect.serviceOption(GlobalFlag.LogLevel))
      const format = logFormat === "json" ? Logger.formatJson : logfmt
      return Layer.merge(
        Logger.layer([Logger.map(format, write)]),
        Layer.succeed(
          References.MinimumLogLevel,
          Option.getOrElse(flag, () => levels[logLevel]),
        ),
      )
    }),
  )

/** So much text is written at once; in UTF-16 units. */
const most = 16 * 1024

/** Gathers lines for `write`. They are written when the scope closes, and when the process ends without that. */
export const together = (write: (text: string) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        let waiting = ""
        const flush = () => {
          const text = waiting
          waiting = ""
          if (text !== "") write(text)
        }
        const add = (line: string) => {
          if (waiting === "") setImmediate(flush)
          waiting += `${line}\n`
          if (waiting.length >= most) flush()
        }
        process.on("exit", flush)
        return { add, flush }
      }),
      ({ flush }) =>
        Effect.sync(() => {
          process.off("exit", flush)
          flush()
        }),
    ),
    ({ add }) => add,
  )

export const layer = Layer.unwrap(
  Effect.map(
    together((text) => void process.stderr.write(text)),
    layerTo,
  ),
)
