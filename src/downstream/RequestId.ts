/**
 * What the client calls its request: its own id, if it sent one that can stand in a header and a log line.
 */
import type { RequestHeaders } from "./Session.ts"

const usable = /^[\x21-\x7e]{1,128}$/

/** Undefined: it named none. */
export const requestId = (headers: RequestHeaders): string | undefined => {
  const given = headers["x-request-id"] ?? headers["x-client-request-id"]
  return given !== undefined && usable.test(given) ? given : undefined
}
