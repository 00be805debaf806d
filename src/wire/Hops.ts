/**
 * The header by which a request that comes back to the proxy that sent it is known: `CDN-Loop` (RFC 8586), in which each
 * proxy on the way has an entry of its own.
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
