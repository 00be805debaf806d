/**
 * Says which turns may share a physical connection: all that the handshake fixed for its whole life.
 *
 * Two turns with one affinity have the same upstream, scope, credential identity, handshake headers, `user` and
 * `safety_identifier` (design.md 2). Headers come from an allow-list, so that a trace id never splits the pool.
 */
import { hash } from "node:crypto"
import { Redacted } from "effect"
import type { TurnRequest } from "../turn/Executor.ts"
import { memberText } from "../wire/RequestBody.ts"

export interface Affinity {
  /** A digest; equal keys mean equal affinity. */
  readonly key: string
  readonly scope: string
  readonly url: string
  /** Headers of the handshake, the credential among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
}

/** Headers of the client that an upstream binds to a connection. */
export const handshakeHeaders = [
  "openai-organization",
  "openai-project",
  "openai-beta",
  "chatgpt-account-id",
  "originator",
] as const

/** The affinity of a turn at the upstream's WebSocket `url`; `forward` names further client headers to send. */
export const affinityOf = (
  turn: TurnRequest & { readonly scope: string },
  url: string,
  forward: ReadonlyArray<string>,
): Affinity => {
  const headers: Record<string, string> = {}
  let parts = ""
  const part = (text: string) => {
    parts += `${text.length}:${text}`
  }
  part(url)
  part(turn.scope)
  part(turn.credentialId)
  part(memberText(turn.body, "user") ?? "")
  part(memberText(turn.body, "safety_identifier") ?? "")
  for (const name of new Set([...handshakeHeaders, ...forward].map((name) => name.toLowerCase()))) {
    const value = turn.headers[name]
    if (value === undefined) continue
    headers[name] = value
    part(name)
    part(value)
  }
  if (turn.credential !== undefined) headers["authorization"] = Redacted.value(turn.credential)
  return { key: hash("sha256", parts, "base64url"), scope: turn.scope, url, headers: Redacted.make(headers) }
}
