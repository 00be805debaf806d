/**
 * Starts a real proxy process for a test, and an upstream that is spoken to over TLS.
 */
import { Effect, Redacted } from "effect"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { fileURLToPath } from "node:url"
import type { Pair } from "./Certificate.ts"

export interface ProxyOptions {
  readonly user?: string
  readonly refuse?: number
  readonly tls?: Pair
}

const script = fileURLToPath(new URL("./ConnectProxyProcess.ts", import.meta.url))

/** `address` is without a user. The process ends with the scope. */
export const connectProxy = Effect.fnUntraced(function* (options: ProxyOptions = {}) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn([process.execPath, script, JSON.stringify(options)], {
        stdin: "pipe",
        stdout: "pipe",
        stderr: "inherit",
      }),
    ),
    (child) =>
      Effect.promise(async () => {
        await child.stdin.end()
        await child.exited
      }),
  )
  const reader = child.stdout.getReader()
  const first = yield* Effect.promise(() => reader.read())
  const port = Number(new TextDecoder().decode(first.value))
  const scheme = options.tls === undefined ? "http" : "https"
  return {
    port,
    address: Redacted.make(`${scheme}://127.0.0.1:${port}`),
    with: (user: string) => Redacted.make(`${scheme}://${user}@127.0.0.1:${port}`),
    /** What it was asked, as `CONNECT host:port`. Not for one over TLS. */
    seen: Effect.promise(async (): Promise<ReadonlyArray<string>> => {
      const response = await fetch(`http://127.0.0.1:${port}/seen`, { proxy: false })
      return JSON.parse(await response.text())
    }),
  }
})

/** Takes TLS off and passes the bytes on to a port; `clients` is the CA of the certificates that clients must show. */
export const tlsFront = Effect.fnUntraced(function* (port: number, pair: Pair, clients?: string) {
  const server = yield* Effect.acquireRelease(
    Effect.callback<Tls.Server>((resume) => {
      const demand = clients === undefined ? {} : { requestCert: true, rejectUnauthorized: true, ca: clients }
      const server = Tls.createServer({ ...pair, ...demand }, (client) => {
        const peer = Net.connect({ host: "127.0.0.1", port })
        for (const [one, other] of [
          [client, peer],
          [peer, client],
        ] as const) {
          one.pipe(other)
          one.on("error", () => other.destroy())
          one.on("close", () => other.destroy())
        }
      })
      server.on("tlsClientError", () => {})
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close()),
  )
  const address = server.address()
  return address !== null && typeof address === "object" ? address.port : 0
})
