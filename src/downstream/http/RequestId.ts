/**
 * The id a turn is known by in its response and its log line: the client's own if it sent a usable one, else a new one.
 */
import { randomUUID } from "node:crypto"
import type { RequestHeaders } from "../Session.ts"

const usable = /^[\x21-\x7e]{1,128}$/

export const requestId = (headers: RequestHeaders): string => {
  const given = headers["x-request-id"] ?? headers["x-client-request-id"]
  return given !== undefined && usable.test(given) ? given : `req_${randomUUID().replaceAll("-", "")}`
}
