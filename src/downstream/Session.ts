/**
 * Reads how a client names its conversation: a hint that narrows the search for a connection, no proof of continuity.
 *
 * The first source that is present and not blank wins:
 *
 * 1. `session-id`, `session_id` or `conversation_id` header, together with `thread-id` when that differs,
 * 2. `x-session-affinity` header,
 * 3. the header of the setting `RESPOOL_SESSION_HEADER`,
 * 4. the body's `prompt_cache_key`.
 *
 * A name is at most 256 characters long; a longer one is replaced by its SHA-256. A name means nothing outside its
 * scope: `sessionKey` joins the two so that no caller can name another caller's session
 * (docs/life-of-a-turn.md, Caller and session).
 */
import { Context, Layer } from "effect"
import { createHash } from "node:crypto"

const maxLength = 256

/** Values by names in lower case, as the server hands them over. */
export type RequestHeaders = Readonly<Record<string, string | undefined>>

const present = (value: string | undefined): string | undefined => {
  const trimmed = value?.trim()
  return trimmed === "" ? undefined : trimmed
}

const bounded = (name: string): string =>
  name.length <= maxLength ? name : `sha256:${createHash("sha256").update(name).digest("hex")}`

const fromSessionHeaders = (headers: RequestHeaders): string | undefined => {
  const session =
    present(headers["session-id"]) ?? present(headers["session_id"]) ?? present(headers["conversation_id"])
  if (session === undefined) return undefined
  const thread = present(headers["thread-id"])
  return thread === undefined || thread === session ? session : JSON.stringify([session, thread])
}

/**
 * The session's name, or undefined if the client gave none.
 *
 * @param promptCacheKey the body's `prompt_cache_key`, if it is a string
 * @param configuredHeader the name of one more header to read, in any case
 */
export const sessionName = (
  headers: RequestHeaders,
  promptCacheKey: string | undefined,
  configuredHeader?: string | undefined,
): string | undefined => {
  const name =
    fromSessionHeaders(headers) ??
    present(headers["x-session-affinity"]) ??
    (configuredHeader === undefined ? undefined : present(headers[configuredHeader.toLowerCase()])) ??
    present(promptCacheKey)
  return name === undefined ? undefined : bounded(name)
}

/** A session's name inside its scope. The scope's length goes first, so no choice of names makes two pairs equal. */
export const sessionKey = (scope: string, name: string): string => `${scope.length}:${scope}${name}`

export class Session extends Context.Service<
  Session,
  {
    /** The session's name inside the caller's scope, or undefined if the client gave none. */
    readonly name: (headers: RequestHeaders, promptCacheKey: string | undefined) => string | undefined
  }
>()("respool/downstream/Session") {
  /** `header`: the name of one more header to read, in any case. */
  static readonly layer = (options: { readonly header?: string | undefined } = {}): Layer.Layer<Session> =>
    Layer.succeed(Session, {
      name: (headers, promptCacheKey) => sessionName(headers, promptCacheKey, options.header),
    })
}
