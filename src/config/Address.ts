/**
 * Reads where a URL leads.
 */
import { networkInterfaces } from "node:os"

export interface Address {
  /** A name, or an IP address without brackets. */
  readonly hostname: string
  readonly port: number
  /** Over TLS. */
  readonly secure: boolean
}

/** Of an `http:`, `https:`, `ws:` or `wss:` URL. Where it names no port, that is 80, or 443 over TLS. */
export const addressOf = ({ hostname, port, protocol }: URL): Address => {
  const secure = protocol === "https:" || protocol === "wss:"
  return {
    hostname: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? (secure ? 443 : 80) : Number(port),
    secure,
  }
}

/** As it is written where the port always is: `host:443`, `[::1]:443`. */
export const hostAndPort = ({ hostname, port }: Pick<Address, "hostname" | "port">): string =>
  `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`

/** Names and addresses that stand for this machine's own, as an address that can be compared. */
const plainHost = (host: string): string => {
  const bare = host.toLowerCase().replace(/^\[|\]$|\.$/g, "")
  return bare === "0.0.0.0" || bare === "localhost" ? "127.0.0.1" : bare === "::" ? "::1" : bare
}

const machines = (): ReadonlyArray<string> =>
  Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address.toLowerCase()))

/** Whether a URL leads to what listens at a host and port, as far as that can be told without asking for names. */
export const leadsTo = (url: string, host: string, port: number): boolean => {
  const { hostname, port: its } = addressOf(new URL(url))
  if (port === 0 || its !== port) return false
  const there = plainHost(hostname)
  if (there === plainHost(host)) return true
  const isLocal = hostname.toLowerCase() === "localhost" && isLoopback(host)
  return isLocal || (/^(0\.0\.0\.0|::|\[::\])$/.test(host) && (isLoopback(there) || machines().includes(there)))
}

/** Whether a host, with or without brackets, can only be this machine. */
export const isLoopback = (hostname: string): boolean => /^(127\.[\d.]+|::1|\[::1\]|localhost)$/i.test(hostname)
