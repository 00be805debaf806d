/**
 * Refuses what no upstream could be asked with, before anything else is done: a header or a query of the caller's in
 * which there is a character that has no place there. Else it would fail at the upstream's door, where it would look like a
 * failure of the upstream's.
 */
import { ApiError, shortened } from "./ApiError.ts"
import type { RequestHeaders } from "./Session.ts"

/** What a header's value is made of (RFC 9110, section 5.5). */
const value = /^[\t\x20-\x7e\x80-\xff]*$/

/** What a query is made of: visible ASCII without `#`, which would end it. What is not may come percent-encoded. */
const query = /^[\x21\x22\x24-\x7e]*$/

/** The answer for a request that can't be sent on; undefined: it can. */
export const unsendable = (headers: RequestHeaders, url: string): ApiError | undefined => {
  for (const [name, text = ""] of Object.entries(headers)) {
    if (!value.test(text)) {
      const message = `The header ${shortened(name)} has a character that no header may have.`
      return ApiError.badRequest("invalid_header", message)
    }
  }
  return query.test(url) ? undefined : ApiError.badRequest("invalid_url", "The URL has a character that none may have.")
}
