/**
 * The caller that asks for a turn, and the credential that the upstream is shown for it.
 *
 * Neither a scope, nor a label, nor a credential's identity ever holds a secret.
 */
import { Redacted } from "effect"

export interface Caller {
  /** Callers of one scope share connections and memory. Undefined: the caller is unknown, so nothing is kept for it. */
  readonly scope: string | undefined
  /** Names the caller in logs and metrics. */
  readonly label: string
  /** Undefined: the caller brings none, so the upstream is shown the one configured for it, or none. */
  readonly credential: Credential | undefined
  /** True: many callers share one upstream account, so an id must belong to the caller that uses it (`Ownership`). */
  readonly tenant: boolean
}

/** What an upstream is shown, and the one mark that says whether the caller may read it. */
export interface Credential {
  /** Header names in lower case: `authorization`, or `api-key`, or both. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  /** Stands for the credential where connections are compared: equal for equal credentials of this process only. */
  readonly identity: string
  /**
   * `caller`: the caller brought it, and may read it where an upstream repeats it. `app`: it belongs to the app that
   * embeds respool. `upstream`: it is configured for the upstream. The last two are kept from the caller (`Redaction`).
   */
  readonly owner: "caller" | "app" | "upstream"
}

/** What a caller may bring a credential in. */
export interface CredentialHeaders {
  /** The header's value: `Bearer …`. */
  readonly authorization?: string
  /** As SDKs for Azure send it. */
  readonly "api-key"?: string
}

const credentialOf = (owner: Credential["owner"], headers: CredentialHeaders, identity: string): Credential => ({
  headers: Redacted.make({ ...headers }),
  identity,
  owner,
})

/** A credential that the caller brought. A text is the value of `authorization`. */
export const callerCredential = (given: string | CredentialHeaders, identity: string): Credential =>
  credentialOf("caller", typeof given === "string" ? { authorization: given } : given, identity)

/**
 * A credential of the app, for callers that have none: no caller ever reads it, even where an upstream repeats it.
 * `identity` tells several such credentials apart, and must hold no secret.
 */
export const appCredential = (authorization: Redacted.Redacted<string>, identity = "app"): Credential =>
  credentialOf("app", { authorization: Redacted.value(authorization) }, identity)

/** The caller of a request that does not say who sends it. */
export const anonymous: Caller = { scope: undefined, label: "anonymous", credential: undefined, tenant: false }
