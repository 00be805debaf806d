/**
 * Says what a failure on the way to an upstream means, and what to change.
 *
 * The texts are for people. Only those marked so repeat what the upstream said; `Examine` strikes secrets out of them.
 */
import type { Address } from "../../config/Address.ts"
import type { DialError } from "../../upstream/dialer/Dialer.ts"
import { isCertificateCode } from "../../upstream/dialer/Dialer.ts"
import type { Ended } from "./Exchange.ts"
import type { ReachError } from "./Reach.ts"

/** Which end of the way is meant; each has a setting for its address. */
export type End = "upstream" | "proxy"

const setting = (end: End) => (end === "proxy" ? "RESPOOL_PROXY (or HTTPS_PROXY, HTTP_PROXY)" : "RESPOOL_UPSTREAM_URL")

const coded = (code: string) => (code === "" ? "" : ` (${code})`)

export const unresolved = ({ code }: ReachError, hostname: string, end: End): string =>
  code === "EAI_AGAIN" || code === "ETIMEOUT"
    ? `no name server answered for ${hostname}${coded(code)}: check the network and its DNS`
    : `there is no host ${hostname}${coded(code)}: check ${setting(end)}`

const connectHints: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ETIMEDOUT: "no answer comes; a firewall may drop what is sent",
  EHOSTUNREACH: "there is no way to that host; check the network",
  ENETUNREACH: "there is no way to that network; check the network",
}

export const unconnected = ({ code }: ReachError, { hostname, port }: Address, end: End): string =>
  `${hostname}:${port}: ${connectHints[code] ?? "no connection"}${coded(code)}: check ${setting(end)}${
    end === "upstream" ? ", or set RESPOOL_PROXY if only a proxy leads out of this network" : ""
  }`

const proxyWants =
  "the proxy wants credentials or does not take these (407): set RESPOOL_PROXY=http://user:password@host:port"

export const notTunnelled = ({ message }: DialError): string => {
  if (/status 407/.test(message)) return proxyWants
  if (/status 403/.test(message)) return "the proxy lets nothing through to this host (403): have it allowed there"
  return `${message}: check ${setting("proxy")}`
}

export const notSecured = ({ code, message }: ReachError, hostname: string): string => {
  if (/ALTNAME/.test(code)) return `the certificate is not for ${hostname}${coded(code)}: check ${setting("upstream")}`
  if (/EXPIRED|NOT_YET_VALID/.test(code)) {
    return `the certificate is not valid at this time${coded(code)}: check this machine's clock, or tell the upstream`
  }
  if (isCertificateCode(code)) {
    return `the certificate is by a CA that is not known here${coded(code)}: set RESPOOL_TLS_CA to the file (PEM) of the CA of the upstream, or of the proxy that looks into TLS`
  }
  if (/WRONG_VERSION_NUMBER|UNEXPECTED_MESSAGE/.test(code)) {
    return `what answers there speaks no TLS${coded(code)}: use http: in ${setting("upstream")}, or another port`
  }
  if (/ALERT|HANDSHAKE_FAILURE/.test(code)) {
    return `the upstream ended the handshake${coded(code)}: it may want a client certificate, RESPOOL_TLS_CERT and RESPOOL_TLS_KEY`
  }
  return `TLS could not be set up: ${message}${coded(code)}`
}

const isPage = (headers: Readonly<Record<string, string>>, body: string) =>
  /html/i.test(headers["content-type"] ?? "") || /^\s*</.test(body)

/** A refusal that is about who asks, over either transport; undefined: it is about something else. */
export const unauthorised = (
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string,
): string | undefined => {
  if (status === 401) {
    return "the key was not accepted (401): check RESPOOL_UPSTREAM_API_KEY or OPENAI_API_KEY, and that it is one of this upstream"
  }
  if (status === 403 && isPage(headers, body)) {
    return "a page was the answer (403), so a firewall or a sign-in stands before the API: have this host allowed there, or try another way out (RESPOOL_PROXY)"
  }
  if (status === 403) return "the key may not be used for this (403): check its rights, its project and the region"
  if (status === 407) return proxyWants
  if (status === 429) return "too many requests, or no credit left (429): wait, or check the account"
  return undefined
}

const without = new Set([404, 405, 426, 501])

export const notUpgraded = ({ answer, message }: DialError): string => {
  if (/https: proxy/.test(message)) {
    return "the proxy itself is spoken to over TLS, and there is no TLS inside TLS for sockets here: use an http: proxy, else everything goes over HTTP"
  }
  if (answer === undefined)
    return `${message}: something on the way may not know WebSocket, then everything goes over HTTP`
  if (without.has(answer.status)) {
    return `there is no WebSocket (${answer.status}), so everything goes over HTTP; if there should be one, check the path in ${setting("upstream")}`
  }
  return answer.status >= 500
    ? `the upstream is in trouble (${answer.status}): try again later`
    : `${message}; then everything goes over HTTP`
}

/** Repeats what the upstream said. */
export const notAnswered = (ended: Exclude<Ended, { readonly _tag: "Answered" }>): string => {
  if (ended._tag === "Lost") return `${ended.message} before the answer had ended`
  const { code, message, status } = ended
  const known = status === 403 ? undefined : unauthorised(status, {}, "")
  if (isAnchorRefused(ended)) {
    return `what was just answered is not known any more (${code}), so nothing can be continued here: set RESPOOL_TRANSPORT=http`
  }
  if (known !== undefined) return known
  const hint = /model/.test(`${code} ${message}`) ? "; choose another model with --model" : ""
  return `the upstream refused it (${status}${code === "" ? "" : ` ${code}`}): ${message}${hint}`
}

export const isAnchorRefused = (ended: Ended): boolean =>
  ended._tag === "Refused" &&
  ended.status < 500 &&
  (ended.code === "previous_response_not_found" || ended.param === "previous_response_id")
