/**
 * Opens a tunnel through an HTTP proxy with `node:net` and `node:tls`, and TLS to the upstream inside it.
 *
 * At most one of `opened` and `failed` is called, and none after the returned function was called, which ends the
 * connection. The certificate of a proxy with an `https:` address is verified as the upstream's is.
 * Why this is written by hand, `Tunnel.ts` says.
 */
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { DialError, DialRequest } from "./Dialer.ts"
import { unreachable } from "./Dialer.ts"
import { addressOf } from "../../config/Address.ts"
import type { Proxy } from "../../config/ProxyAddress.ts"
import { connectRequest, lostProxy, TunnelAnswer } from "./Tunnel.ts"

export interface TunnelHandlers {
  /** The socket is ready for the upgrade request. */
  readonly opened: (socket: Net.Socket) => void
  readonly failed: (error: DialError) => void
}

/** The TLS options of a request, as Node names them. */
export const tlsOptions = (tls: DialRequest["tls"]): Tls.SecureContextOptions & Tls.CommonConnectionOptions => {
  const { verify, ...certificates } = tls ?? {}
  return { ...certificates, rejectUnauthorized: verify !== false }
}

/** The host that the certificate must be for. A name is told to the peer as well (SNI), an address is not. */
const named = (hostname: string) =>
  Net.isIP(hostname) === 0 ? { host: hostname, servername: hostname } : { host: hostname }

export const openTunnel = (
  request: DialRequest,
  proxy: Proxy,
  { failed: tellFailed, opened: tellOpened }: TunnelHandlers,
): (() => void) => {
  const { hostname, port, secure } = addressOf(new URL(request.url))
  const answer = new TunnelAnswer()
  const { cert: _, key: __, ...trust } = tlsOptions(request.tls)
  const outer = proxy.secure
    ? Tls.connect({ ...named(proxy.hostname), ...trust, port: proxy.port })
    : Net.connect({ host: proxy.hostname, port: proxy.port })
  let inner: Net.Socket = outer
  let state: "asking" | "securing" | "over" = "asking"

  const terminate = () => {
    state = "over"
    inner.destroy()
    outer.destroy()
  }
  const failed = (error: DialError) => {
    if (state === "over") return
    terminate()
    tellFailed(error)
  }
  const lost = (reason: string) =>
    failed(state === "asking" ? lostProxy(reason) : unreachable(`the upstream's TLS was not accepted: ${reason}`))
  const opened = () => {
    if (state === "over") return
    state = "over"
    tellOpened(inner)
  }
  const read = (chunk: Buffer) => {
    const answered = answer.read(chunk)
    if (answered === undefined || state !== "asking") return
    if (answered !== "Open") return failed(answered)
    outer.off("data", read)
    if (!secure) return opened()
    outer.pause()
    state = "securing"
    try {
      inner = Tls.connect({ ...named(hostname), ...tlsOptions(request.tls), socket: outer })
    } catch (cause) {
      return lost(cause instanceof Error ? cause.message : "it could not be begun")
    }
    inner.on("error", (error) => lost(error.message))
    inner.on("close", () => lost("the upstream hung up"))
    inner.once("secureConnect", opened)
  }

  outer.setNoDelay(true)
  outer.on("error", (error) => lost(error.message))
  outer.on("close", () => lost("it hung up"))
  outer.on("data", read)
  outer.once(proxy.secure ? "secureConnect" : "connect", () => {
    outer.write(connectRequest(proxy, hostname, port))
  })
  return terminate
}
