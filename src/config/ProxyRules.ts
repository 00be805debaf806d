/**
 * Says which proxy, if any, the way to a URL goes through; the same for sockets and for HTTP.
 *
 * What the settings say comes first, and nothing of the environment overrules it. Else it is `https_proxy` (for `https:`
 * and `wss:`) or `http_proxy` (for `http:` and `ws:`), then `all_proxy`, each in small letters before capitals, as with
 * curl; of these, what `no_proxy` names is reached directly. Loopback is no exception unless it says so.
 */
import { Config, Effect, Option, Redacted, Schema } from "effect"
import { BlockList, isIP } from "node:net"
import { addressOf } from "./Address.ts"
import { allowedProxy, isDirect, normalProxy } from "./ProxyAddress.ts"

/** What the environment says of proxies. */
export interface EnvironmentProxies {
  readonly http: Redacted.Redacted<string> | undefined
  readonly https: Redacted.Redacted<string> | undefined
  /** The entries of `no_proxy`, in small letters. */
  readonly no: ReadonlyArray<string>
}

export const noProxies: EnvironmentProxies = { http: undefined, https: undefined, no: [] }

/** A proxy's address that can't be used. `message` is the line to show, without the address, which may hold a password. */
export class ProxyError extends Schema.TaggedError<ProxyError>()("ProxyError", { message: Schema.String }) {}

const variable = Effect.fnUntraced(function* (name: string) {
  for (const spelled of [name, name.toUpperCase()]) {
    const text = Option.getOrElse(
      yield* Effect.orElseSucceed(Config.option(Config.String(spelled)), Option.none),
      () => "",
    )
    if (text.trim() !== "") return { spelled, text: text.trim() }
  }
  return undefined
})

const proxyIn = Effect.fnUntraced(function* (name: string) {
  const found = yield* variable(name)
  if (found === undefined) return undefined
  const proxy = normalProxy(found.text)
  if (proxy === undefined) return yield* new ProxyError({ message: `${found.spelled}: expected ${allowedProxy}` })
  return proxy
})

/** From `Config`, which is the environment unless an app provides another. */
export const environmentProxies: Effect.Effect<EnvironmentProxies, ProxyError> = Effect.gen(function* () {
  const http = yield* proxyIn("http_proxy")
  const https = yield* proxyIn("https_proxy")
  // Where both are named it is never used, and desktops set it to the SOCKS port of the proxy that the two name.
  const all = http === undefined || https === undefined ? yield* proxyIn("all_proxy") : undefined
  const no = (yield* variable("no_proxy"))?.text.toLowerCase() ?? ""
  return { http: http ?? all, https: https ?? all, no: no.split(/[\s,]+/).filter((entry) => entry !== "") }
})

const family = (address: string) => (isIP(address) === 6 ? "ipv6" : "ipv4")

/** An address, or a network such as `10.0.0.0/8`; what is neither holds nothing. */
const holds = (entry: string, address: string): boolean => {
  const [network = "", prefix] = entry.split("/")
  const longest = isIP(network) === 6 ? 128 : 32
  if (isIP(network) === 0 || (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= longest))) {
    return false
  }
  const list = new BlockList()
  list.addSubnet(network, prefix === undefined ? longest : Number(prefix), family(network))
  return list.check(address, family(address))
}

/**
 * Whether an entry of `no_proxy` names a host: `*`, `host` (and all below it), `.host` or `*.host` (only what is below
 * it), an address or a network of addresses; with `:port` only there.
 */
const names = (entry: string, host: string, port: string): boolean => {
  if (entry === "*") return true
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(entry)
  const plain = bracketed ?? /^([^:]+)(?::(\d+))?$/.exec(entry)
  const [, name = entry, only] = plain ?? []
  if (only !== undefined && only !== port) return false
  if (isIP(host) !== 0) return holds(name, host)
  const suffix = name.replace(/^\*?\./, "")
  return suffix !== "" && ((suffix === name && host === name) || host.endsWith(`.${suffix}`))
}

/** The proxy on the way to `url` (`http:`, `https:`, `ws:` or `wss:`); undefined: none. */
export const proxyFor = (
  environment: EnvironmentProxies,
  url: string,
  ofUpstream: Redacted.Redacted<string> | undefined,
): Redacted.Redacted<string> | undefined => {
  if (ofUpstream !== undefined) return isDirect(ofUpstream) ? undefined : ofUpstream
  const { hostname, port, secure } = addressOf(new URL(url))
  const host = hostname.replace(/\.$/, "")
  if (environment.no.some((entry) => names(entry, host, String(port)))) return undefined
  return secure ? environment.https : environment.http
}

/** The same for Bun's `fetch`, which would read proxies from the environment by rules of its own. */
export const proxyOfFetch = (proxy: Redacted.Redacted<string> | undefined) =>
  proxy === undefined ? false : { url: Redacted.value(proxy), respectNoProxy: false }
