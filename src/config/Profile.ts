/**
 * What is known of the upstreams that people use: where they are, how long a connection lives there, and what they ask
 * for beyond the API (docs/protocol.md 5 and 6).
 */

export const profileNames = ["openai", "azure", "xai", "vercel", "codex", "custom"] as const

export type ProfileName = (typeof profileNames)[number]

export interface Profile {
  /** The base URL; undefined: everybody has another one. */
  readonly url: string | undefined
  /** The path of a base URL that was written without one. */
  readonly path: string
  /** How long a connection lives there, in ms; infinite where nobody knows. */
  readonly cap: number
  /** No turn starts on a connection older than this, in ms: the cap, less the time for a long turn. */
  readonly maxAge: number
  /** The largest message that is taken, in bytes. */
  readonly maxMessage: number
  /** What `openai-beta` must name on the upgrade, beside what the client names. */
  readonly beta: string | undefined
  /** An API key is taken on the upgrade as a bearer's token only, and not in `api-key` as over HTTP. */
  readonly bearerOnUpgrade: boolean
  /** A connection serves the model of its first turn only. */
  readonly modelPerConnection: boolean
  /** The rules of the ChatGPT backend hold: nothing is stored, answers stream, a turn has a state (`CodexRules`). */
  readonly codex: boolean
  /** Turns may share a connection as lanes, each under a `stream_id` of its own (docs/protocol.md 1.4). */
  readonly lanes: boolean
}

const minutes = (count: number) => count * 60_000

const ofOpenAi: Profile = {
  url: "https://api.openai.com/v1",
  path: "/v1",
  cap: minutes(60),
  maxAge: minutes(50),
  maxMessage: Number.POSITIVE_INFINITY,
  beta: undefined,
  bearerOnUpgrade: false,
  modelPerConnection: false,
  codex: false,
  lanes: false,
}

export const profiles: Readonly<Record<ProfileName, Profile>> = {
  openai: { ...ofOpenAi, lanes: true },
  azure: { ...ofOpenAi, url: undefined, path: "/openai/v1", bearerOnUpgrade: true },
  xai: { ...ofOpenAi, url: "https://api.x.ai/v1", cap: minutes(25), maxAge: minutes(20) },
  vercel: {
    ...ofOpenAi,
    url: "https://ai-gateway.vercel.sh/v1",
    cap: minutes(13),
    maxAge: minutes(10),
    maxMessage: 4 * 1024 * 1024,
    modelPerConnection: true,
  },
  codex: {
    ...ofOpenAi,
    url: "https://chatgpt.com/backend-api/codex",
    path: "/backend-api/codex",
    beta: "responses_websockets=2026-02-06",
    codex: true,
  },
  custom: { ...ofOpenAi, url: undefined, path: "", cap: Number.POSITIVE_INFINITY },
}

const hosts: ReadonlyArray<readonly [RegExp, ProfileName]> = [
  [/^api\.openai\.com$/, "openai"],
  [/\.(openai|services\.ai|cognitiveservices)\.azure\.com$/, "azure"],
  [/^api\.x\.ai$/, "xai"],
  [/^ai-gateway\.vercel\.sh$/, "vercel"],
  [/^chatgpt\.com$/, "codex"],
]

/** The profile that an address is of, as its host tells. */
export const profileOf = (url: string): ProfileName => {
  const { hostname } = new URL(url.replace(/^ws/i, "http"))
  return hosts.find(([host]) => host.test(hostname))?.[1] ?? "custom"
}

/**
 * The base for HTTP (`https://…/v1`, no slash at the end) of an address as people write it: for sockets or for HTTP, with
 * or without the profile's path, or the whole address of the endpoint.
 */
export const baseOf = (url: string, profile: Profile): string => {
  const address = url
    .replace(/^ws/i, "http")
    .replace(/\/+$/, "")
    .replace(/\/responses$/, "")
  return /^https?:\/\/[^/]+$/i.test(address) ? `${address}${profile.path}` : address
}
