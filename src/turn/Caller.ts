/**
 * Who asks for a turn, and what is shown to the upstream for it.
 *
 * Neither a scope, nor a label, nor a credential's identity ever holds a secret.
 */
import { Redacted } from "effect"

export interface Caller {
  /** Who asks, as far as reuse is concerned. Undefined: the caller is not known, so nothing is pooled or remembered. */
  readonly scope: string | undefined
  /** Names the caller in logs and metrics. */
  readonly label: string
  /** Undefined: the caller brings none, so the upstream is shown its own, or none. */
  readonly credential: Credential | undefined
  /** True: many callers share one upstream account, so an id must belong to the caller that uses it (`Ownership`). */
  readonly tenant: boolean
}

/** What an upstream is shown, and the one mark that says whether the caller may read it. */
export interface Credential {
  /** Header names in lower case, `authorization` among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  /** Stands for the credential where connections are compared: equal for equal credentials of this process only. */
  readonly identity: string
  /**
   * `caller`: the caller brought it, and may read whatever an upstream repeats of it. `app`: it is the app's that took the
   * caller in. `upstream`: it is configured for the upstream. The last two are kept from the caller (`Redaction`).
   */
  readonly owner: "caller" | "app" | "upstream"
}

const credentialOf = (owner: Credential["owner"], authorization: string, identity: string): Credential => ({
  headers: Redacted.make({ authorization }),
  identity,
  owner,
})

/** What the caller brought itself. `authorization` is the header's value: `Bearer …`. */
export const callerCredential = (authorization: string, identity: string): Credential =>
  credentialOf("caller", authorization, identity)

/**
 * A credential of the app's own, for callers that have none: no caller ever reads it, even where an upstream repeats it.
 * `identity` tells several of them apart, and must hold no secret.
 */
export const appCredential = (authorization: Redacted.Redacted<string>, identity = "app"): Credential =>
  credentialOf("app", Redacted.value(authorization), identity)

/** A caller that is not known. */
export const anonymous: Caller = { scope: undefined, label: "anonymous", credential: undefined, tenant: false }
