/**
 * Reads the address of an HTTP proxy: where it is, and what it is shown.
 */
import { Redacted } from "effect"
import type { Address } from "./Address.ts"
import { addressOf } from "./Address.ts"

/** Where it is; `secure` says that the proxy itself is spoken to over TLS. */
export interface Proxy extends Address {
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
  const url = new URL(text)
  const user = `${decoded(url.username)}:${decoded(url.password)}`
  return {
    ...addressOf(url),
    authorization: user === ":" ? undefined : `Basic ${Buffer.from(user).toString("base64")}`,
  }
}

export const allowedProxy = "an http or https address of a proxy, such as `http://user:password@proxy:3128`"

/** The address with a scheme, which people leave out; undefined: it can't be a proxy's. */
export const normalProxy = (text: string): Redacted.Redacted<string> | undefined => {
  const address = Redacted.make(text.includes("://") ? text : `http://${text}`)
  return parseProxy(address) === undefined ? undefined : address
}

/** In place of a proxy's address in the settings: there is none on the way, whatever the environment says. */
export const direct = "direct"

export const isDirect = (address: Redacted.Redacted<string>): boolean => Redacted.value(address) === direct
