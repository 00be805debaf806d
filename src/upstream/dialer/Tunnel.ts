/**
 * Asks an HTTP proxy for a tunnel (`CONNECT`, RFC 9110, section 9.3.6): what is written to it, and its answer.
 *
 * No error here names the proxy's address or its credentials. An answer's head is bounded as an upgrade's is, and the
 * proxy may send nothing after it, since the peer behind it speaks only when asked.
 *
 * Bun's sockets have no `CONNECT`. `node:http` has one, which gives up the bounds and takes 1.8 to 2.2 times the CPU of
 * `TunnelBun.ts`, and 1.1 to 1.2 times that of `TunnelNode.ts` (a tunnel opened and closed, Bun 1.4.5).
 */
import { hostAndPort } from "../../config/Address.ts"
import type { Proxy } from "../../config/ProxyAddress.ts"
import type { DialError } from "./Dialer.ts"
import { unreachable } from "./Dialer.ts"
import { maxHead, parseHead } from "./UpgradeAnswer.ts"

/** The request for a tunnel to an upstream; `hostname` without brackets. */
export const connectRequest = (proxy: Proxy, hostname: string, port: number): Buffer => {
  const target = hostAndPort({ hostname, port })
  const credential = proxy.authorization === undefined ? "" : `proxy-authorization: ${proxy.authorization}\r\n`
  return Buffer.from(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n${credential}\r\n`, "latin1")
}

export class TunnelAnswer {
  #bytes: Buffer = Buffer.alloc(0)
  #skipped = 0

  /** Gives `Open`, or why there is no tunnel; undefined: the answer is not whole yet. */
  read(chunk: Buffer): "Open" | DialError | undefined {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    for (;;) {
      const end = this.#bytes.indexOf("\r\n\r\n")
      if (this.#skipped + (end < 0 ? this.#bytes.length : end) > maxHead) {
        return unreachable("the proxy's answer has too long a head")
      }
      if (end < 0) return undefined
      const head = parseHead(this.#bytes.subarray(0, end).toString("latin1"))
      const rest = this.#bytes.subarray(end + 4)
      if (head === undefined || head.status === 101) return unreachable("the proxy's answer is no HTTP")
      if (head.status >= 300) return unreachable(`the proxy refused the tunnel with status ${head.status}`)
      if (head.status >= 200) return rest.length === 0 ? "Open" : unreachable("the proxy spoke before it was asked")
      this.#skipped += end + 4
      this.#bytes = rest
    }
  }
}

/** The error for a proxy that could not be reached, or hung up. */
export const lostProxy = (reason: string): DialError => unreachable(`the proxy could not be used: ${reason}`)
