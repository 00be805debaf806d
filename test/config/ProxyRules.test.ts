import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { noProxies, proxyFor } from "../../src/config/ProxyRules.ts"

const http = Redacted.make("http://plain.test:1")
const https = Redacted.make("http://secure.test:2")
const own = Redacted.make("http://own.test:3")

const through = (url: string, no: string, mine?: Redacted.Redacted<string>): string => {
  const found = proxyFor({ http, https, no: no === "" ? [] : no.split(",") }, url, mine)
  return found === undefined ? "none" : new URL(Redacted.value(found)).hostname
}

describe("ProxyRules", () => {
  it("takes the proxy of the address's scheme, and an upstream's own before it", () => {
    for (const url of ["https://api.test/v1", "wss://api.test/v1"]) assert.strictEqual(through(url, ""), "secure.test")
    for (const url of ["http://api.test/v1", "ws://api.test/v1"]) assert.strictEqual(through(url, ""), "plain.test")
    assert.strictEqual(through("https://api.test/", "", own), "own.test")
    assert.isUndefined(proxyFor(noProxies, "https://api.test/", undefined))
    assert.strictEqual(proxyFor(noProxies, "https://api.test/", own), own)
  })

  it("goes directly where the settings say so, whatever the environment says", () => {
    for (const url of ["https://api.test/v1", "wss://api.test/v1", "http://127.0.0.1/", "ws://[::1]:1/"]) {
      assert.strictEqual(through(url, "", Redacted.make("direct")), "none")
    }
  })

  it("makes no exception of loopback by itself", () => {
    for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
      assert.strictEqual(through(`https://${host}:8443/`, ""), "secure.test")
    }
  })

  const exceptions: ReadonlyArray<readonly [entries: string, url: string, direct: boolean]> = [
    ["*", "https://api.test/", true],
    ["api.test", "https://api.test/", true],
    ["api.test", "https://API.test./", true],
    ["api.test", "https://eu.api.test/", true],
    ["api.test", "https://myapi.test/", false],
    [".api.test", "https://eu.api.test/", true],
    [".api.test", "https://api.test/", false],
    ["*.api.test", "wss://eu.api.test/", true],
    ["*.api.test", "https://api.test/", false],
    ["other.test,api.test", "https://api.test/", true],
    ["api.test:443", "https://api.test/", true],
    ["api.test:443", "wss://api.test/", true],
    ["api.test:443", "http://api.test/", false],
    ["api.test:8443", "https://api.test:8443/", true],
    ["api.test:8443", "https://api.test/", false],
    ["127.0.0.1", "http://127.0.0.1:8080/", true],
    ["127.0.0.1", "http://127.0.0.10:8080/", false],
    ["0.0.1", "http://127.0.0.1/", false],
    ["127.0.0.1:8080", "http://127.0.0.1:8080/", true],
    ["127.0.0.1:8081", "http://127.0.0.1:8080/", false],
    ["10.0.0.0/8", "https://10.20.30.40/", true],
    ["10.0.0.0/8", "https://11.20.30.40/", false],
    ["10.0.0.0/99", "https://10.20.30.40/", false],
    ["::1", "http://[::1]:8080/", true],
    ["[::1]:8080", "http://[::1]:8080/", true],
    ["[::1]:8081", "http://[::1]:8080/", false],
    ["fd00::/8", "https://[fd12::1]/", true],
    ["fd00::/8", "https://[fe12::1]/", false],
    ["127.0.0.1", "http://[::1]/", false],
    [".", "https://api.test/", false],
    ["localhost", "https://localhost:1/", true],
  ]
  for (const [entries, url, direct] of exceptions) {
    it(`${direct ? "reaches" : "does not reach"} ${url} directly where no_proxy is ${entries}`, () => {
      const scheme = /^(https|wss)/.test(url) ? "secure.test" : "plain.test"
      assert.strictEqual(through(url, entries), direct ? "none" : scheme)
      assert.strictEqual(through(url, entries, own), "own.test", "what the settings say is not overruled")
    })
  }
})
