/**
 * The credential that an upstream is shown: where it comes from, and what a turn gets of it.
 */
import type { Effect, Redacted } from "effect"
import type { TurnError } from "../../turn/TurnError.ts"

export type CredentialSettings =
  /** The caller's own, passed through; where callers have keys of this proxy, `upstreamApiKey`. */
  | { readonly _tag: "Caller" }
  | { readonly _tag: "Fixed"; readonly apiKey: Redacted.Redacted<string> }
  /** The Codex CLI's `auth.json`, which is read and never written: Codex owns it. */
  | { readonly _tag: "CodexAuth"; readonly path: string }
  /** A token of our own, which is refreshed here. */
  | { readonly _tag: "TokenFile"; readonly path: string }

export interface Resolved {
  /** Lower case, `authorization` among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  /** Stands for whom the credential is of, in this process; a refresh does not change it, and it tells nothing. */
  readonly identity: string
}

/** Where one credential comes from. */
export interface Source {
  readonly current: Effect.Effect<Resolved, TurnError>
  /** An upstream answered 401 to this `authorization`. */
  readonly refused: (authorization: string) => Effect.Effect<void>
}
