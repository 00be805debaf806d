/**
 * Says whose credential an upstream is shown, and where that comes from.
 */
import type { Redacted } from "effect"

export type CredentialSettings =
  /** The caller's own, passed through. */
  | { readonly _tag: "Caller" }
  /** One key for all callers; where they bring keys of this proxy, `upstreamApiKey` for each upstream that has no other. */
  | { readonly _tag: "Fixed"; readonly apiKey: Redacted.Redacted<string> }
  /** The Codex CLI's `auth.json`, which is read and never written: Codex owns it. */
  | { readonly _tag: "CodexAuth"; readonly path: string }
  /** A token of our own, which is refreshed here. */
  | { readonly _tag: "TokenFile"; readonly path: string }
