/**
 * Says which turns may share a connection: those that agree in all that its handshake fixed for its whole life.
 *
 * Two turns with one affinity have the same upstream, scope, credential identity, handshake headers, `user` and
 * `safety_identifier` (docs/life-of-a-turn.md, Affinity), and the same model where a connection serves one. Headers
 * come from an allow-list, so that a trace id never splits the pool.
 */
import { hash } from "node:crypto"
import { Redacted } from "effect"
import packageJson from "../../../package.json" with { type: "json" }
import { profileOf } from "../../config/Profile.ts"
import { withHop } from "../../wire/Hops.ts"
import { memberText } from "../../wire/RequestBody.ts"
import type { Destination, RoutedTurn } from "../route/Routing.ts"
import type { Upstream } from "../route/Upstreams.ts"

export interface Affinity {
  /** A digest; equal keys mean equal affinities. */
  readonly key: string
  readonly scope: string
  readonly upstream: Upstream
  /** Stands for the credential that the connection was opened with, and never holds it. */
  readonly credential: string
  readonly url: string
  /** The headers of the handshake, the credential's among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
}

/** Headers of the client that an upstream binds to a connection. */
const handshakeHeaders = [
  "openai-organization",
  "openai-project",
  "openai-beta",
  "chatgpt-account-id",
  "originator",
] as const

const userAgent = `respool/${packageJson.version}`

const beta = "openai-beta"

/** The beta names that the client gives and those that the upstream asks for, each once. */
const merged = (given: string | undefined, needed: string | undefined): string | undefined => {
  if (needed === undefined) return given
  const names = `${given ?? ""},${needed}`.split(",").map((name) => name.trim())
  return [...new Set(names.filter((name) => name !== ""))].join(",")
}

/** What stands for the credential that the upstream is shown. */
export const credentialOf = ({ shown }: Destination): string =>
  shown === undefined ? "none" : `${shown.owner} ${shown.identity}`

/** The credential's headers as the upgrade must have them. */
const onUpgrade = (shown: Readonly<Record<string, string>>, { known }: Upstream): Readonly<Record<string, string>> => {
  const { "api-key": key, ...others } = shown
  return known.bearerOnUpgrade && key !== undefined ? { authorization: `Bearer ${key}`, ...others } : shown
}

/** The affinity of a turn at its upstream. `ownHop`: this proxy's entry among the hops of a request. */
export const affinityOf = (turn: RoutedTurn, scope: string, ownHop: string): Affinity => {
  const { shown, upstream } = turn
  const url = upstream.socketFor(turn.query)
  const credential = credentialOf(turn)
  const headers: Record<string, string> = {}
  let parts = ""
  const part = (text: string) => {
    parts += `${text.length}:${text}`
  }
  part(upstream.digest)
  part(url)
  part(scope)
  part(credential)
  part(memberText(turn.body, "user") ?? "")
  part(memberText(turn.body, "safety_identifier") ?? "")
  if (upstream.known.modelPerConnection) part(memberText(turn.body, "model") ?? "")
  for (const name of new Set([...handshakeHeaders, ...upstream.forwardHeaders])) {
    const value = name === beta ? merged(turn.headers[name], upstream.known.beta) : turn.headers[name]
    if (value === undefined) continue
    headers[name] = value
    part(name)
    part(value)
  }
  // Who asks is told, and splits no pool: the program that opens a connection is not always the one that uses it.
  headers["user-agent"] = turn.headers["user-agent"] ?? userAgent
  // A way that leads back to this proxy is known by it.
  if (profileOf(upstream.url) === "custom") headers["cdn-loop"] = withHop(turn.headers["cdn-loop"], ownHop)
  if (shown !== undefined) Object.assign(headers, onUpgrade(Redacted.value(shown.headers), upstream))
  return {
    key: hash("sha256", parts, "base64url"),
    scope,
    upstream,
    credential,
    url,
    headers: Redacted.make(headers),
  }
}
