/**
 * Decides by the headers whether a request or an upgrade is admitted.
 *
 * A client that is refused for its token, or for a header that must come with it, gets a 401. A token is never
 * repeated, in an answer or in a report.
 */
import { createHash } from "node:crypto"
import type { Transport } from "./CreateRequest.ts"
import type { Profile } from "../Profile.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid } from "../Refusal.ts"
import type { SimulatorState } from "../SimulatorState.ts"

/** Names a token in reports without giving it away: `token-` and 12 hexadecimal digits of its SHA-256. */
export const tokenLabel = (token: string): string =>
  `token-${createHash("sha256").update(token).digest("hex").slice(0, 12)}`

export const tokenOf = (profile: Profile, headers: Headers, transport: Transport): string | undefined => {
  const bearer = /^bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1]
  if (bearer !== undefined) return bearer
  return profile.tokenHeaders[transport].map((name) => headers.get(name)).find((value) => value !== null) ?? undefined
}

/** Why the client is not authorized; undefined: it is. */
export const notAuthorized = (
  { profile, switches }: SimulatorState,
  headers: Headers,
  transport: Transport,
): Refusal | undefined => {
  const { apiKeys } = switches
  const token = tokenOf(profile, headers, transport)
  const accepted = apiKeys === undefined ? token !== undefined || !profile.tokenRequired : apiKeys.includes(token ?? "")
  if (!accepted) {
    return invalid("Incorrect API key provided.", { status: 401, code: "invalid_api_key" })
  }
  const missing = profile.requiredHeaders.find((name) => (headers.get(name) ?? "") === "")
  return missing === undefined
    ? undefined
    : invalid(`Missing required header: '${missing}'.`, { status: 401, code: "missing_required_header" })
}

/** Why an authorized upgrade is refused; undefined: it is not. */
export const notUpgradable = ({ beta, turnState }: Profile, headers: Headers): Refusal | undefined => {
  const betas = (headers.get("openai-beta") ?? "").split(",").map((token) => token.trim())
  if (beta !== undefined && !betas.includes(beta)) {
    return invalid(`The upgrade needs 'OpenAI-Beta: ${beta}'.`, { code: "missing_beta" })
  }
  return turnState && headers.has("x-codex-turn-state")
    ? invalid("'x-codex-turn-state' belongs to a turn, not to a connection.", { code: "invalid_turn_state" })
    : undefined
}
