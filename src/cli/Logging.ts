/**
 * How respool logs: the level and format of the settings, one line per record on the standard error.
 *
 * `--log-level` comes before the setting. Lines are written as they are: Bun's `console.error` colours them red where a
 * person reads them.
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

export const layer = layerTo((line) => void process.stderr.write(`${line}\n`))
