import { assert, describe, it } from "@effect/vitest"
import type { Address } from "../../src/config/Address.ts"
import { addressOf, hostAndPort, isLoopback } from "../../src/config/Address.ts"

describe("The address of a URL", () => {
  const urls: ReadonlyArray<readonly [url: string, address: Address, written: string]> = [
    ["http://Host.test/v1", { hostname: "host.test", port: 80, secure: false }, "host.test:80"],
    ["ws://host.test", { hostname: "host.test", port: 80, secure: false }, "host.test:80"],
    ["https://host.test:443/", { hostname: "host.test", port: 443, secure: true }, "host.test:443"],
    ["wss://[::1]?x", { hostname: "::1", port: 443, secure: true }, "[::1]:443"],
    ["ws://127.0.0.1:0", { hostname: "127.0.0.1", port: 0, secure: false }, "127.0.0.1:0"],
    ["wss://[2001:DB8::2]:8443", { hostname: "2001:db8::2", port: 8443, secure: true }, "[2001:db8::2]:8443"],
  ]
  it.each(urls)("%s is %o, written %s", (url, address, written) => {
    assert.deepStrictEqual(addressOf(new URL(url)), address)
    assert.strictEqual(hostAndPort(address), written)
  })
})

describe("Loopback", () => {
  it.each(["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"])("is %s", (host) => {
    assert.isTrue(isLoopback(host))
  })

  it.each(["0.0.0.0", "::", "::ffff:127.0.0.1", "128.0.0.1", "127.evil.test", "localhost.test", "127.0.0.1.test", ""])(
    "is not known to be %j",
    (host) => {
      assert.isFalse(isLoopback(host))
    },
  )
})
