/**
 * Collects what is logged, a line each in logfmt.
 */
import { Logger } from "effect"

export const collectingLogger = () => {
  const logged: Array<string> = []
  return { logged, logger: Logger.layer([Logger.map(Logger.formatLogFmt, (line) => void logged.push(line))]) }
}

/** The turns that the log tells of: in a line for each, or in one that says how many lines were left out. */
export const turnsIn = (logged: ReadonlyArray<string>): number =>
  logged.reduce((sum, line) => {
    const leftOut = /left out of the log.* kind="?turn.* lines=(\d+)/.exec(line)?.[1]
    return sum + (line.includes("message=turn ") ? 1 : Number(leftOut ?? 0))
  }, 0)
