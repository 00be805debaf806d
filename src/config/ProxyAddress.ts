/**
 * Reads the address of an HTTP proxy: where it is, and what it is shown.
 */
import { Redacted } from "effect"

export interface Proxy {
  readonly hostname: string
  readonly port: number
  /** The proxy itself is spoken to over TLS. */
  readonly secure: boolean
  readonly authorization: string | undefined
}

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Undefined: it is no `http:` or `https:` address of a host, or one with a path, a query or a fragment. */
export const parseProxy = (address: Redacted.Redacted<string>): Proxy | undefined => {
  const text = Redacted.value(address)
  if (!/^https?:\/\/[^/?#\s]+\/?$/i.test(text) || !URL.canParse(text)) return undefined
  const { hostname, password, port, protocol, username } = new URL(text)
  const secure = protocol === "https:"
  const user = `${decoded(username)}:${decoded(password)}`
  return {
    hostname: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? (secure ? 443 : 80) : Number(port),
    secure,
    authorization: user === ":" ? undefined : `Basic ${Buffer.from(user).toString("base64")}`,
  }
}
