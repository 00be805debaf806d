/**
 * Says how the upstreams that speak this API differ: one row of rules for each, as data.
 *
 * A row only names rules, which other modules enforce. Where the sources leave room, the row takes the stricter
 * reading. Source: docs/protocol.md 5 and 6.
 */
export type ProfileName = "openai" | "azure" | "xai" | "vercel" | "codex"

/** What can't be continued any more after a failed turn. */
type FailedTurn =
  /** The response that it continued, on its lane. */
  | "its parent"
  /** The connection's latest response, whether the turn continued that or not. */
  | "the latest"
  /** Every response of its chain, stored ones too, and the connection. */
  | "its chain"

export interface Profile {
  readonly name: ProfileName
  /** What comes before `/responses` and `/models`. */
  readonly basePath: string
  /** Milliseconds. */
  readonly maxConnectionAge: number
  /** An error frame in answer to the next create request, or a close frame right at that age, even during a turn. */
  readonly atMaxAge: "error" | "close"
  /** Milliseconds without a message, a ping or a turn after which the socket is closed. */
  readonly maxIdle: number
  readonly maxMessageBytes: number
  /** Whether `stream_id` is known; without lanes a connection runs one turn at a time. */
  readonly lanes: boolean
  /** Whether every create request of a connection has to name the same model. */
  readonly oneModel: boolean
  /**
   * Which responses `previous_response_id` finds on a socket: stored ones too, or the connection's latest one alone.
   */
  readonly continues: "stored" | "latest"
  readonly failedTurn: FailedTurn
  /** Whether the error of an error frame has a `type`. */
  readonly errorTypes: boolean
  /** Whether reasoning has a `status`, as other items have. */
  readonly reasoningStatus: boolean
  /** Headers that may carry the token, beside `authorization`. */
  readonly tokenHeaders: { readonly websocket: ReadonlyArray<string>; readonly http: ReadonlyArray<string> }
  /** Whether a request needs a token even where any token is accepted. */
  readonly tokenRequired: boolean
  /** Headers that every request and upgrade must have to be authorized. */
  readonly requiredHeaders: ReadonlyArray<string>
  /** What `openai-beta` of the upgrade has to name; undefined: nothing. */
  readonly beta: string | undefined
  /** Whether `store` has to be false, `stream` (over HTTP) true, and instructions have to be there. */
  readonly codexRequests: boolean
  /** Whether `x-codex-turn-state` goes both ways. */
  readonly turnState: boolean
  /** Whether events that the public API does not know come among the others. */
  readonly extraEvents: boolean
  readonly compact: boolean
  /** Whether `model` names a deployment. */
  readonly deployments: boolean
  /** The models that are listed, and deployed, unless the options say otherwise. */
  readonly models: ReadonlyArray<string>
}

const minutes = 60_000

const openai: Profile = {
  name: "openai",
  basePath: "/v1",
  maxConnectionAge: 60 * minutes,
  atMaxAge: "error",
  maxIdle: Number.POSITIVE_INFINITY,
  maxMessageBytes: Number.POSITIVE_INFINITY,
  lanes: true,
  oneModel: false,
  continues: "stored",
  failedTurn: "its parent",
  errorTypes: true,
  reasoningStatus: false,
  tokenHeaders: { websocket: [], http: [] },
  tokenRequired: false,
  requiredHeaders: [],
  beta: undefined,
  codexRequests: false,
  turnState: false,
  extraEvents: false,
  compact: true,
  deployments: false,
  models: ["gpt-5.5", "gpt-5.5-mini"],
}

export const profiles: Readonly<Record<ProfileName, Profile>> = {
  openai,
  azure: {
    ...openai,
    name: "azure",
    basePath: "/openai/v1",
    lanes: false,
    errorTypes: false,
    tokenHeaders: { websocket: [], http: ["api-key"] },
    deployments: true,
    models: ["gpt-4.1"],
  },
  xai: {
    ...openai,
    name: "xai",
    maxConnectionAge: 25 * minutes,
    lanes: false,
    continues: "latest",
    failedTurn: "the latest",
    errorTypes: false,
    reasoningStatus: true,
    models: ["grok-4", "grok-4-fast"],
  },
  vercel: {
    ...openai,
    name: "vercel",
    maxConnectionAge: 13 * minutes,
    atMaxAge: "close",
    maxIdle: 5 * minutes,
    maxMessageBytes: 4 * 1024 * 1024,
    lanes: false,
    oneModel: true,
    failedTurn: "its chain",
    models: ["openai/gpt-5.5", "openai/gpt-5.4"],
  },
  codex: {
    ...openai,
    name: "codex",
    basePath: "/backend-api/codex",
    lanes: false,
    continues: "latest",
    tokenRequired: true,
    requiredHeaders: ["chatgpt-account-id"],
    beta: "responses_websockets=2026-02-06",
    codexRequests: true,
    turnState: true,
    extraEvents: true,
    compact: false,
    models: ["gpt-5.5-codex", "gpt-5.5"],
  },
}

export const profileNames = ["openai", "azure", "xai", "vercel", "codex"] as const satisfies ReadonlyArray<ProfileName>
