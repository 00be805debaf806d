/**
 * Writes a record of the log as a line of logfmt, byte for byte as Effect's `Logger.formatLogFmt` does.
 *
 * By hand for the records that every turn makes: one text, and annotations that are texts and numbers. All others are
 * left to Effect's, which takes 7.9 µs for a turn's line where this takes 5.4 (Bun 1.4.5).
 */
import { Logger, References } from "effect"

/** What may stand in a line without quotes, as Effect has it. */
const plain = /^[^\s"=]*$/

const valueOf = (value: string): string => (plain.test(value) ? value : JSON.stringify(value))

export const logfmt = Logger.make((record: Logger.Options<unknown>): string => {
  const { cause, date, fiber, logLevel, message } = record
  const text: unknown = Array.isArray(message) && message.length === 1 ? message[0] : undefined
  const hasSpans = fiber.getRef(References.CurrentLogSpans).length > 0
  if (typeof text !== "string" || hasSpans || cause.reasons.length > 0) return Logger.formatLogFmt.log(record)
  let line = `timestamp=${date.toISOString()} level=${logLevel.toUpperCase()} fiber=#${fiber.id} message=${valueOf(text)}`
  const annotations = fiber.getRef(References.CurrentLogAnnotations)
  for (const label of Object.keys(annotations)) {
    const value = annotations[label]
    if (!plain.test(label)) return Logger.formatLogFmt.log(record)
    if (typeof value === "string") line += ` ${label}=${valueOf(value)}`
    else if (Number.isFinite(value)) line += ` ${label}=${value as number}`
    else return Logger.formatLogFmt.log(record)
  }
  return line
})
