/**
 * Reads where a URL leads.
 */

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

/** Whether a host, with or without brackets, can only be this machine. */
export const isLoopback = (hostname: string): boolean => /^(127\.[\d.]+|::1|\[::1\]|localhost)$/i.test(hostname)
