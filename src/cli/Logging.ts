/**
 * How respool logs: the level and format of the settings, one line per record on the standard error.
 */
import { Effect, Layer, Logger, References } from "effect"
import { Settings } from "../config/Settings.ts"

const levels = { debug: "Debug", info: "Info", warn: "Warn", error: "Error", none: "None" } as const

export const layer = Layer.unwrap(
  Effect.map(Settings, ({ logFormat, logLevel }) =>
    Layer.merge(
      Logger.layer([Logger.withConsoleError(logFormat === "json" ? Logger.formatJson : Logger.formatLogFmt)]),
      Layer.succeed(References.MinimumLogLevel, levels[logLevel]),
    ),
  ),
)
