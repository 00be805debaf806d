/**
 * Says which headers of a client's request go upstream: its own, and not those of the way that it came.
 *
 * Left out is what concerns one hop, the framing, the credential (which is set anew), and all that a browser, an edge or
 * a proxy in front of respool tells of the client: where it is, who it is, which page asked. None of that is meant for
 * the upstream. An operator who means one of them for it names it in `RESPOOL_FORWARD_HEADERS`.
 */

import { saidByProxies } from "../../wire/Hops.ts"

/** Headers of one hop, in requests and in answers (RFC 9110, 7.6.1). */
export const hop = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]

const always: ReadonlySet<string> = new Set([
  ...hop,
  "host",
  "content-length",
  "accept-encoding",
  "expect",
  "authorization",
  "cookie",
])

/** Said by a browser of itself and of its page. */
const ofBrowsers = [
  "origin",
  "referer",
  "dnt",
  "upgrade-insecure-requests",
  "sec-fetch-.*",
  "sec-ch-.*",
  "sec-gpc",
  "access-control-request-.*",
]

const ofTheWay = new RegExp(`^(${[...ofBrowsers, ...saidByProxies].join("|")})$`)

/** Whether a header of a request stays here. `forwarded`: names that the settings send on. */
export const staysHere = (name: string, forwarded: ReadonlyArray<string>): boolean =>
  always.has(name) || (ofTheWay.test(name) && !forwarded.includes(name))
