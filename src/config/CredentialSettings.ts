/**
 * The kinds of credentials that an upstream can be shown, and where each comes from.
 */
import type { Redacted } from "effect"

export type CredentialSettings =
  /** The caller's own, passed through. */
  | { readonly _tag: "Caller" }
  /**
   * One key for all callers. Where they bring keys of this proxy, an upstream without another credential has
   * `upstreamApiKey` for it.
   */
  | { readonly _tag: "Fixed"; readonly apiKey: Redacted.Redacted<string> }
  /** The Codex CLI's `auth.json`, which is read and never written: Codex owns it. */
  | { readonly _tag: "CodexAuth"; readonly path: string }
  /** A token that this proxy keeps, and refreshes. */
  | { readonly _tag: "TokenFile"; readonly path: string }
