/**
 * The port that `BunServer` listens on, and the certificate that it shows there.
 *
 * Bun can't change the certificate of a server. So another server takes the port over: the one before accepts no more
 * connections and closes the idle ones, and its requests under way end there as they would have. A
 * connection that is made at that moment may be refused or reset.
 */
import { Context, Duration, Effect, Predicate, Schema } from "effect"
import { setTimeout } from "node:timers/promises"
import type { Attached, SocketOptions } from "../socket/BunSockets.ts"
import type { Answered } from "./RequestLog.ts"
import type { Limits } from "./Descriptors.ts"

export interface Certificate {
  /** PEM texts. */
  readonly cert: string
  readonly key: string
}

export interface Options {
  readonly hostname: string
  /** 0 takes any free port; `HttpServer.address` tells which. */
  readonly port: number
  readonly tls?: Certificate
  /** How long requests under way may take to end once `serve` ends. Default 30 seconds. */
  readonly drainTimeout?: Duration.Input
  /** How long a connection may be quiet between two requests, up to 255 seconds, in steps of 4. Default 120 seconds. */
  readonly idleTimeout?: Duration.Input
  /** Above these, or half of what descriptors allow, idle connections are closed. Default: that half. */
  readonly clients?: Limits
  /** Called with each answer, when its head goes out. */
  readonly answered?: (answered: Answered) => void
  /** Bounds of WebSockets that requests are upgraded to. Default: messages of 64 MiB, not compressed. */
  readonly sockets?: SocketOptions
}

/** Why the server could not listen. */
export class ServeError extends Schema.TaggedError<ServeError>()("ServeError", {
  reason: Schema.Literals(["AddressInUse", "AddressUnavailable", "Forbidden", "Tls", "Other"]),
  hostname: Schema.String,
  port: Schema.Number,
  message: Schema.String,
  cause: Schema.Defect(),
}) {}

/** @internal So that Bun's types are asked of nobody who runs elsewhere. */
type Server = Bun.Server<Attached>

/** The certificate that the server shows. */
export class ListeningCertificate extends Context.Service<
  ListeningCertificate,
  {
    /** Shows another one from the next connection on. Where it can't be used, the one before stays. */
    readonly replace: (tls: Certificate) => Effect.Effect<void, ServeError>
  }
>()("respool/downstream/ListeningCertificate") {}

/** Tells when the listener begins to drain, so that an answer which would go on for ever ends. */
export class Draining extends Context.Service<Draining, { readonly begun: Effect.Effect<void> }>()(
  "respool/downstream/Draining",
) {}

interface Listener {
  /** What Bun says of the address; its types lack it. */
  readonly address: unknown
  /** Waits until no request is unanswered, and no WebSocket is open. */
  readonly answered: Effect.Effect<void>
  readonly replaceCertificate: ListeningCertificate["Service"]["replace"]
  /** How long a connection may be quiet between two requests, in seconds. */
  readonly idleSeconds: number
}

/**
 * Listens until the scope closes; then every connection is closed.
 *
 * @internal
 */
export const listen = Effect.fnUntraced(function* (
  options: Options,
  fetch: (request: Request, server: Server) => Response | Promise<Response | undefined>,
  failed: () => Response,
  websocket: Bun.WebSocketHandler<Attached>,
) {
  const idleSeconds = Math.min(255, Math.max(1, Math.ceil(Duration.toSeconds(options.idleTimeout ?? "120 seconds"))))
  const serve = (port: number, tls: Certificate | undefined) =>
    Effect.try({
      try: () =>
        Bun.serve({
          hostname: options.hostname,
          port,
          ...(tls === undefined ? {} : { tls: { ...tls } }),
          idleTimeout: idleSeconds,
          maxRequestBodySize: Number.MAX_SAFE_INTEGER,
          // In production mode Bun would share a port that is taken, so that two proxies would split the requests.
          reusePort: false,
          development: false,
          fetch,
          websocket,
          error: failed,
        }),
      catch: (cause) => serveError(options, cause),
    })

  /** Those that took the port over from one another; all but the last only end what they had begun. */
  const servers = new Set<Server>()
  const pending = () => [...servers].reduce((sum, server) => sum + server.pendingRequests + server.pendingWebSockets, 0)

  const server = yield* Effect.acquireRelease(
    Effect.tap(serve(options.port, options.tls), (server) => Effect.sync(() => servers.add(server))),
    // Some rounds of the event loop let the last writes leave, above all the error event of the shutdown.
    () =>
      Effect.yieldNow.pipe(
        Effect.repeat({ times: 100, while: () => pending() > 0 }),
        Effect.andThen(Effect.promise(() => Promise.all([...servers].map((server) => server.stop(true))))),
      ),
  )
  let current = server
  let shown = options.tls

  const replaceCertificate = (tls: Certificate) =>
    Effect.gen(function* () {
      // On a port of its own first: once the server before has left the port, there is no way back that can't fail.
      const trial = yield* serve(0, tls)
      yield* Effect.promise(() => trial.stop(true))
      const before = current
      const port = before.port ?? options.port
      before.stop(false).then(
        () => servers.delete(before),
        () => {},
      )
      current = yield* Effect.catch(serve(port, tls), () => serve(port, shown))
      servers.add(current)
      shown = tls
    }).pipe(Effect.uninterruptible)

  return {
    address: "address" in server ? server.address : undefined,
    answered: answered(pending),
    replaceCertificate,
    idleSeconds,
  } satisfies Listener
})

/**
 * Waits until no request is unanswered. Bun tells that only together with an end of listening, so it is asked again and
 * again, by the platform's timer: this waits for sockets, which know nothing of the clock of the program.
 */
const answered = (pending: () => number): Effect.Effect<void> =>
  Effect.suspend(() =>
    pending() === 0
      ? Effect.void
      : Effect.andThen(
          Effect.promise((signal) => setTimeout(10, undefined, { signal })),
          answered(pending),
        ),
  )

const serveError = ({ hostname, port }: Options, cause: unknown): ServeError => {
  const code = Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : ""
  const [reason, what] =
    code === "EADDRINUSE"
      ? (["AddressInUse", "the port is in use"] as const)
      : // Bun 1.4 gives the code ENOTTY for a name that has no address.
        code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "ENOTTY"
        ? (["AddressUnavailable", "this machine has no such address"] as const)
        : code === "EACCES" || code === "EPERM"
          ? (["Forbidden", "the system does not allow it"] as const)
          : code.startsWith("ERR_OSSL") || code.startsWith("ERR_SSL")
            ? (["Tls", "the certificate or its key cannot be read"] as const)
            : (["Other", cause instanceof Error ? cause.message : String(cause)] as const)
  return new ServeError({ reason, hostname, port, message: `Cannot listen on ${hostname}:${port}: ${what}`, cause })
}
