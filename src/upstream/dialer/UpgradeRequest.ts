/**
 * Writes the request that asks for a WebSocket (RFC 6455, section 4.1).
 *
 * No header can end its line early or replace one of the handshake's.
 */
import { createHash } from "node:crypto"
import type { Address } from "../../config/Address.ts"
import { addressOf } from "../../config/Address.ts"

/** Where the peer listens, and what is written to it. */
export interface UpgradeRequest extends Address {
  readonly head: string
}

/** Headers that the client can't set: the handshake's, and those about a body or about the connection. */
const reserved =
  /^(?:connection|upgrade|sec-websocket-.*|content-length|transfer-encoding|trailer|te|expect|keep-alive)$/i

/** Throws where a name or a value is none that a header may have; the error does not name the value. */
export const upgradeRequest = (
  address: string,
  headers: Readonly<Record<string, string>>,
  key: string,
): UpgradeRequest => {
  const url = new URL(address)
  const handshake = [
    ["connection", "Upgrade"],
    ["upgrade", "websocket"],
    ["sec-websocket-version", "13"],
    ["sec-websocket-key", key],
  ]
  const given = Object.entries(headers).filter(([name]) => !reserved.test(name))
  const host = given.some(([name]) => name.toLowerCase() === "host") ? [] : [["host", url.host]]
  const lines = [...host, ...handshake, ...given].map(([name = "", value = ""]) => {
    const fault = headerFault(name, value)
    if (fault !== undefined) throw new Error(fault)
    return `${name}: ${value}\r\n`
  })
  return {
    ...addressOf(url),
    head: `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`,
  }
}

/** Why a header can't be written; it does not name the value. Undefined: it can. */
export const headerFault = (name: string, value: string): string | undefined => {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return "a header's name is none"
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? undefined : `the header ${name} has a character that none may have`
}

/** What a server that has read `key` must answer in `sec-websocket-accept`. */
export const acceptFor = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
