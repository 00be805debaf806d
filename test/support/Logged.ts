/**
 * Collects what is logged, a line each in logfmt.
 */
import { Logger } from "effect"

export const collectingLogger = () => {
  const logged: Array<string> = []
  return { logged, logger: Logger.layer([Logger.map(Logger.formatLogFmt, (line) => void logged.push(line))]) }
}
