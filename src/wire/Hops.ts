/**
 * What the headers of a request tell of the way that it came.
 *
 * A request that comes back to the proxy that sent it is known by `CDN-Loop` (RFC 8586), in which each proxy on the way
 * has an entry of its own.
 */
import { randomBytes } from "node:crypto"

const names = new WeakMap<object, string>()

/** The entry of a proxy, drawn for it once and the same for as long as it runs. */
export const hopOf = (proxy: object): string => {
  const known = names.get(proxy)
  if (known !== undefined) return known
  const name = `respool-${randomBytes(6).toString("hex")}`
  names.set(proxy, name)
  return name
}

/** The entries of proxies like this one; those of others say nothing here. */
const hopsIn = (header: string | undefined): ReadonlyArray<string> =>
  (header ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => /^respool-[0-9a-f]{12}$/.test(entry))

/** So many proxies in a row are no way that anybody meant. */
const longestWay = 8

/** Whether a request with this header has been at the proxy before, or goes round elsewhere. */
export const comesBack = (header: string | undefined, own: string): boolean => {
  if (header === undefined) return false
  const hops = hopsIn(header)
  return hops.includes(own) || hops.length >= longestWay
}

/** The header of the request that goes on. */
export const withHop = (header: string | undefined, own: string): string => [...hopsIn(header), own].join(", ")

/** Headers by which edges, balancers and proxies tell of the client and of the way: patterns of whole names, in lower case. */
export const saidByProxies: ReadonlyArray<string> = [
  "forwarded",
  "via",
  "cdn-loop",
  "x-forwarded",
  "x-forwarded-.*",
  "x-real-.*",
  "x-original-.*",
  "x-rewrite-url",
  "x-client-(ip|port|cert|verify|dn)",
  "x-cluster-client-ip",
  "x-proxyuser-ip",
  "x-scheme",
  "x-request-start",
  "x-queue-start",
  "x-envoy-.*",
  "x-accel-.*",
  "x-arr-.*",
  "x-azure-.*",
  "x-appengine-.*",
  "x-akamai-.*",
  "akamai-.*",
  "true-client-ip",
  "fastly-.*",
  "cloudfront-.*",
  "x-amz-cf-id",
  "x-amzn-oidc-.*",
  "x-goog-iap-.*",
  "x-goog-authenticated-user-.*",
  // Those of Cloudflare's gateway for AI are for an upstream there, and a client sets them itself.
  "cf-(?!aig-).*",
  "fly-.*",
  "x-vercel-.*",
  "x-nf-.*",
  "x-render-.*",
  "x-railway-.*",
  "tailscale-.*",
  "x-auth-request-.*",
  "x-remote-user",
  "remote-user",
]

const said = new RegExp(`^(${saidByProxies.join("|")})$`)

/** Whether a request has come through a proxy that says so. */
export const cameThroughProxy = (headers: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(headers).some((name) => said.test(name))
