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
import type { Credential } from "../../turn/Caller.ts"
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

/** Names of the headers that decide, by upstream. */
const namesOf = new WeakMap<Upstream, ReadonlyArray<string>>()

const namesAt = (upstream: Upstream): ReadonlyArray<string> => {
  let names = namesOf.get(upstream)
  if (names === undefined) {
    names = [...new Set([...handshakeHeaders, ...upstream.forwardHeaders])]
    namesOf.set(upstream, names)
  }
  return names
}

/** The latest affinity of a credential, and all that it was made of. Nobody else has the credential. */
const latest = new WeakMap<Credential, { readonly made: string; readonly affinity: Affinity }>()

/** A longer text is not kept. */
const maxMade = 4096

/** The affinity of a turn at its upstream. `ownHop`: this proxy's entry among the hops of a request. */
export const affinityOf = (turn: RoutedTurn, scope: string, ownHop: string): Affinity => {
  const { headers, shown, upstream } = turn
  const url = upstream.socketFor(turn.query)
  const credential = credentialOf(turn)
  const names = namesAt(upstream)
  const valueOf = (name: string) => (name === beta ? merged(headers[name], upstream.known.beta) : headers[name])
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
  for (const name of names) {
    const value = valueOf(name)
    if (value === undefined) continue
    part(name)
    part(value)
  }
  // Who asks is told, and splits no pool: the program that opens a connection is not always the one that uses it.
  const asks = headers["user-agent"] ?? userAgent
  const hops = headers["cdn-loop"]
  const made = `${ownHop} ${hops?.length ?? -1} ${hops ?? ""}${asks.length} ${asks}${parts}`
  const before = shown === undefined ? undefined : latest.get(shown)
  if (before?.made === made && before.affinity.upstream === upstream) return before.affinity

  const told: Record<string, string> = {}
  for (const name of names) {
    const value = valueOf(name)
    if (value !== undefined) told[name] = value
  }
  told["user-agent"] = asks
  // A way that leads back to this proxy is known by it.
  if (profileOf(upstream.url) === "custom") told["cdn-loop"] = withHop(hops, ownHop)
  if (shown !== undefined) Object.assign(told, onUpgrade(Redacted.value(shown.headers), upstream))
  const key = hash("sha256", parts, "base64url")
  const affinity: Affinity = { key, scope, upstream, credential, url, headers: Redacted.make(told) }
  if (shown !== undefined && made.length <= maxMade) latest.set(shown, { made, affinity })
  return affinity
}
