/**
 * Walks the way to an upstream, directly or through a proxy, up to where it could be asked something.
 */
import { Effect } from "effect"
import * as Net from "node:net"
import type { DialRequest } from "../../upstream/dialer/Dialer.ts"
import type { Address } from "../../config/Address.ts"
import { addressOf } from "../../config/Address.ts"
import { parseProxy } from "../../config/ProxyAddress.ts"
import type { End } from "./Explain.ts"
import * as Explain from "./Explain.ts"
import { Reach } from "./Reach.ts"
import type { Target } from "./Report.ts"
import type { RunStep } from "./Steps.ts"
import { fail } from "./Steps.ts"

/** Takes the steps from the name to TLS. Gives how far the way can be used: not at all, over HTTP only, or whole. */
export const way = Effect.fnUntraced(function* (target: Target, tls: NonNullable<DialRequest["tls"]>, step: RunStep) {
  const reach = yield* Reach
  const upstream = addressOf(new URL(target.url))
  const { hostname, secure } = upstream
  const proxy = target.proxy === undefined ? undefined : parseProxy(target.proxy)
  const next: Address = proxy ?? upstream
  const end: End = proxy === undefined ? "upstream" : "proxy"
  const at = `${end === "proxy" ? "the proxy " : ""}${next.hostname}`

  if (Net.isIP(next.hostname) === 0) {
    const found = yield* step("resolve", reach.resolve(next.hostname), {
      ok: (addresses) => ["ok", `${at} is ${addresses.join(", ")}`],
      wrong: (error) => fail(Explain.unresolved(error, next.hostname, end)),
    })
    if (found === undefined) return "none"
  }
  const direct = yield* step("connect", reach.connect(next), {
    ok: () => ["ok", `${at}:${next.port} takes connections`],
    wrong: (error) => fail(Explain.unconnected(error, next, end)),
  })
  if (direct === undefined) return "none"
  const tunnel =
    target.proxy === undefined
      ? undefined
      : yield* step("tunnel", reach.tunnel(target.proxy, upstream, tls), {
          ok: () => ["ok", `the proxy lets through to ${hostname}:${upstream.port}`],
          wrong: (error) => fail(Explain.notTunnelled(error)),
        })
  // Without TLS a proxy passes HTTP on without a tunnel, which many give to port 443 only.
  if (target.proxy !== undefined && tunnel === undefined) return secure ? "none" : "http"
  if (!secure) return "whole"
  const version = yield* step("tls", reach.secure(tunnel ?? direct, hostname, tls), {
    ok: (version) =>
      tls.verify === false
        ? ["warn", `${version}, with a certificate that was not verified (RESPOOL_TLS_VERIFY=off)`]
        : ["ok", `${version}, with a certificate that is trusted`],
    wrong: (error) => fail(Explain.notSecured(error, hostname)),
  })
  return version === undefined ? "none" : "whole"
})
