/**
 * Certificates made on the spot, self-signed or by a private CA, so that no key lies in the repository (RFC 5280, in DER by hand).
 */
import type { KeyObject } from "node:crypto"
import { createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto"

const der = (tag: number, ...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const hex = (bytes: string) => Buffer.from(bytes, "hex")
const sequence = (...parts: ReadonlyArray<Uint8Array>) => der(0x30, ...parts)

const ecdsaWithSha256 = sequence(der(6, hex("2a8648ce3d040302")))
const named = (name: string) => sequence(der(0x31, sequence(der(6, hex("550403")), der(12, Buffer.from(name)))))

/** A subject that the certificate is for: a DNS name, or an IPv4 address in four bytes. */
export type Subject = string | readonly [number, number, number, number]

export const loopback: Subject = [127, 0, 0, 1]

export interface Pair {
  readonly cert: string
  readonly key: string
}

interface Signer {
  readonly name: string
  readonly privateKey: KeyObject
}

const extension = (id: string, value: Uint8Array) => sequence(der(6, hex(id)), der(1, hex("ff")), der(4, value))

/** A certificate for `subject`, by its own key where nobody else signs it. */
const issue = (name: string, subject: Subject, isAuthority: boolean, signer?: Signer): Pair & Signer => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const by = signer ?? { name, privateKey }
  const alternative = typeof subject === "string" ? der(0x82, Buffer.from(subject)) : der(0x87, Buffer.from(subject))
  const authority = isAuthority ? [extension("551d13", sequence(der(1, hex("ff"))))] : []
  const names = sequence(der(6, hex("551d11")), der(4, sequence(alternative)))
  const body = sequence(
    der(0xa0, der(2, hex("02"))),
    der(2, Buffer.concat([hex("01"), randomBytes(7)])),
    ecdsaWithSha256,
    named(by.name),
    sequence(der(23, Buffer.from("200101000000Z")), der(23, Buffer.from("491231235959Z"))),
    named(name),
    createPublicKey(privateKey).export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...authority, names)),
  )
  const whole = sequence(body, ecdsaWithSha256, der(3, hex("00"), sign("sha256", body, by.privateKey)))
  return {
    name,
    privateKey,
    cert: `-----BEGIN CERTIFICATE-----\n${whole.toString("base64")}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ type: "pkcs8", format: "pem" })),
  }
}

export const selfSigned = (subject: Subject): Pair => {
  const { cert, key } = issue("respool test", subject, true)
  return { cert, key }
}

/** A private CA: its own certificate, and what it signs. */
export const authority = (): { readonly cert: string; readonly leaf: (subject: Subject) => Pair } => {
  const ca = issue("respool test authority", "authority.test", true)
  return {
    cert: ca.cert,
    leaf: (subject) => {
      const { cert, key } = issue("respool test leaf", subject, false, ca)
      return { cert, key }
    },
  }
}
