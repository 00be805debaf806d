/**
 * Takes the way to an upstream one piece at a time, so that each can be told to work or not: name, TCP, tunnel, TLS.
 *
 * A socket that is opened here is for looking only and belongs to the `Scope` it was opened in. Errors carry Node's codes.
 */
import { Context, Effect, Layer, Schema, Scope } from "effect"
import type { Redacted } from "effect"
import { lookup } from "node:dns/promises"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { DialError, DialRequest } from "../../upstream/dialer/Dialer.ts"
import { unreachable } from "../../upstream/dialer/Dialer.ts"
import type { Address } from "../../config/Address.ts"
import { hostAndPort } from "../../config/Address.ts"
import { parseProxy } from "../../config/ProxyAddress.ts"
import { openTunnel, tlsOptions } from "../../upstream/dialer/TunnelNode.ts"

/** `code` is Node's, such as `ECONNREFUSED`, or empty. */
export class ReachError extends Schema.TaggedError<ReachError>()("ReachError", {
  code: Schema.String,
  message: Schema.String,
}) {}

export class Reach extends Context.Service<
  Reach,
  {
    /** The addresses of a name. */
    readonly resolve: (hostname: string) => Effect.Effect<ReadonlyArray<string>, ReachError>
    readonly connect: (to: Address) => Effect.Effect<Net.Socket, ReachError, Scope.Scope>
    /** A tunnel through a proxy, which `tls` is for as well where it is an `https:` one. */
    readonly tunnel: (
      proxy: Redacted.Redacted<string>,
      to: Address,
      tls: DialRequest["tls"],
    ) => Effect.Effect<Net.Socket, DialError, Scope.Scope>
    /** TLS on a connection of ours; gives the version. */
    readonly secure: (
      socket: Net.Socket,
      hostname: string,
      tls: DialRequest["tls"],
    ) => Effect.Effect<string, ReachError, Scope.Scope>
  }
>()("respool/cli/Reach") {
  static readonly layer = Layer.sync(Reach, () => Reach.of({ resolve, connect, tunnel, secure }))
}

const reachError = (cause: unknown): ReachError => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
  return new ReachError({ code, message: cause instanceof Error ? cause.message : "it failed" })
}

const resolve = (hostname: string) =>
  Effect.map(
    Effect.tryPromise({ try: () => lookup(hostname, { all: true }), catch: reachError }),
    (found): ReadonlyArray<string> => found.map(({ address }) => address),
  )

/** Starts at once; the socket ends with the scope, whether it was opened or not. */
const opening = Effect.fnUntraced(function* <A>(
  start: () => Net.Socket,
  done: "connect" | "secureConnect",
  value: (socket: Net.Socket) => A,
) {
  const scope = yield* Effect.scope
  const socket = start()
  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => socket.destroy()),
  )
  return yield* Effect.callback<A, ReachError>((resume) => {
    socket.once(done, () => resume(Effect.succeed(value(socket))))
    socket.on("error", (error) => resume(Effect.fail(reachError(error))))
    socket.on("close", () => resume(Effect.fail(new ReachError({ code: "ECONNRESET", message: "it hung up" }))))
  })
})

const connect = ({ hostname, port }: Address) =>
  opening(
    () => Net.connect({ host: hostname, port }),
    "connect",
    (socket) => socket,
  )

const tunnel = Effect.fnUntraced(function* (address: Redacted.Redacted<string>, to: Address, tls: DialRequest["tls"]) {
  const proxy = parseProxy(address)
  if (proxy === undefined) return yield* unreachable("the proxy's address is not one of http: or https:")
  // With `ws:` the tunnel is all there is; TLS inside of it is another step.
  const request = { url: `ws://${hostAndPort(to)}/`, headers: {}, maxMessage: 0, ...(tls && { tls }) }
  let terminate = () => {}
  yield* Scope.addFinalizer(
    yield* Effect.scope,
    Effect.sync(() => terminate()),
  )
  return yield* Effect.callback<Net.Socket, DialError>((resume) => {
    terminate = openTunnel(request, proxy, {
      opened: (socket) => resume(Effect.succeed(socket)),
      failed: (error) => resume(Effect.fail(error)),
    })
  })
})

const secure = (socket: Net.Socket, hostname: string, tls: DialRequest["tls"]) =>
  opening(
    () =>
      Tls.connect({
        ...tlsOptions(tls),
        socket,
        host: hostname,
        ...(Net.isIP(hostname) === 0 ? { servername: hostname } : {}),
      }),
    "secureConnect",
    (secured) => (secured instanceof Tls.TLSSocket ? (secured.getProtocol() ?? "TLS") : "TLS"),
  )
