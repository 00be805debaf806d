/**
 * Reads what a client offers as subprotocols of its socket. A browser can set no header, so clients there bring their
 * key in one of them, which is an answer to nobody but them and is never logged.
 */
import type { RequestHeaders } from "../Session.ts"

const keyed = "openai-insecure-api-key."

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

const offered = (headers: RequestHeaders): ReadonlyArray<string> =>
  (headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => token.test(name))

/** The subprotocol to accept: the first that holds no key. A client that offers any must be given one of them. */
export const accepted = (headers: RequestHeaders): string | undefined => {
  const names = offered(headers)
  return names.find((name) => !name.startsWith(keyed)) ?? names[0]
}

/** Headers that concern the hop, or the upgrade alone. */
const ofUpgrade = /^(connection|upgrade|sec-websocket-.*|content-length|content-type|transfer-encoding|accept)$/

const transportBeta = /^responses_websockets=/

/**
 * The headers that the turns of a socket have: those of its upgrade, as far as a request over HTTP could have them, so
 * that a conversation may change between the two. A key that was offered as a subprotocol counts where there is no
 * other.
 */
export const headersOfTurns = (headers: RequestHeaders): RequestHeaders => {
  const kept: Record<string, string | undefined> = {}
  for (const [name, value] of Object.entries(headers)) if (!ofUpgrade.test(name)) kept[name] = value
  const betas = (headers["openai-beta"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "" && !transportBeta.test(name))
  kept["openai-beta"] = betas.length === 0 ? undefined : betas.join(",")
  const key = offered(headers)
    .find((name) => name.startsWith(keyed))
    ?.slice(keyed.length)
  if (kept["authorization"] === undefined && key !== undefined && key !== "") kept["authorization"] = `Bearer ${key}`
  return kept
}
