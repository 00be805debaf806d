/**
 * Reads the id that the client gave its request, if it can stand in a header and in a line of the log.
 */
import type { RequestHeaders } from "./Session.ts"

const usable = /^[\x21-\x7e]{1,128}$/

/** Undefined: the client sent no id, or none that can be used. */
export const requestId = (headers: RequestHeaders): string | undefined => {
  const given = headers["x-request-id"] ?? headers["x-client-request-id"]
  return given !== undefined && usable.test(given) ? given : undefined
}
