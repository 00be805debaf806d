/**
 * A self-signed certificate made on the spot, so that no key lies in the repository (RFC 5280, in DER by hand).
 */
import { createPublicKey, generateKeyPairSync, sign } from "node:crypto"

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

export const selfSigned = (subject: Subject): { readonly cert: string; readonly key: string } => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const alternative = typeof subject === "string" ? der(0x82, Buffer.from(subject)) : der(0x87, Buffer.from(subject))
  const basic = sequence(der(6, hex("551d13")), der(1, hex("ff")), der(4, sequence(der(1, hex("ff")))))
  const body = sequence(
    der(0xa0, der(2, hex("02"))),
    der(2, hex("01")),
    ecdsaWithSha256,
    named("respool test"),
    sequence(der(23, Buffer.from("200101000000Z")), der(23, Buffer.from("491231235959Z"))),
    named("respool test"),
    createPublicKey(privateKey).export({ type: "spki", format: "der" }),
    der(0xa3, sequence(basic, sequence(der(6, hex("551d11")), der(4, sequence(alternative))))),
  )
  const whole = sequence(body, ecdsaWithSha256, der(3, hex("00"), sign("sha256", body, privateKey)))
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${whole.toString("base64")}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ type: "pkcs8", format: "pem" })),
  }
}
