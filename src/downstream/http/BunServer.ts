/**
 * Listens with `Bun.serve`, as an `HttpServer` that any Effect HTTP application can be served with.
 *
 * - Request fibers belong to the scope of `serve` and have its context. A client that goes away interrupts its one.
 * - When that scope closes, requests under way (fibers and streaming bodies alike) may finish within `drainTimeout`; then
 *   fibers are interrupted. Meanwhile every other request, on a new connection as on one that was kept, is answered 503,
 *   so that what probes the server learns why it should ask another.
 * - When the layer's scope closes, listening stops and every connection is closed.
 * - A raw web `Response` passes untouched, and its body's `cancel()` fires when the client goes away.
 * - An answer may take any time. The head of a request may not: Bun gives it 12 s on a new connection, and
 *   `idleTimeout` on one that is kept alive. A head over 16 KiB or with more than some 200 headers is answered 431,
 *   without a body.
 * - The body of a request has no bound here, in time or size: the code that reads it sets both, as `RequestBytes` does.
 * - Every request is answered. Where a defect leaves one without an answer (it may lie in the answer itself: a status
 *   that HTTP does not have, a header that can't be sent), the answer is 500, and the cause is logged.
 * - An answer of 400 or above that would be empty gets the API's error shape.
 * - A request may become a WebSocket (`BunSockets`), which counts as one under way: at the drain its peer is told.
 *
 * By hand, because `@effect/platform-bun` has no release for this version of Effect, and for the rules above, not for
 * speed: a request with a short answer takes 1.2 times the CPU that it takes there (4.0.0-rc.117), and 1.8 times that
 * of a bare `Bun.serve` (Bun 1.4.5).
 */
import type { Cause, Scope } from "effect"
import { Clock, Context, Effect, Exit, FiberSet, FileSystem, Layer, Option, Path, Schema } from "effect"
import type { HttpMiddleware } from "effect/http"
import { Etag, HttpEffect, HttpPlatform, HttpServer, HttpServerError } from "effect/http"
import { HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { NetAddress } from "effect/net"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import { ApiError } from "../ApiError.ts"
import { makeSockets, upgradable } from "../socket/BunSockets.ts"
import * as Descriptors from "./Descriptors.ts"
import type { Options, ServeError } from "./Listener.ts"
import { listen, ListeningCertificate } from "./Listener.ts"
import { peerOf } from "./SystemCalls.ts"

export type { Options } from "./Listener.ts"

type Handle = Parameters<typeof listen>[1]

const make = Effect.fn("BunServer.make")(function* (options: Options) {
  const sockets = makeSockets(options.sockets ?? { maxMessage: 64 * 1024 * 1024, deflate: false })
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)
  const began = new WeakMap<object, number>()
  const tell = (request: Request, address: string | undefined, status: number, code?: string | null) =>
    options.answered?.({ request, address, status, code: code ?? null, millis: now() - (began.get(request) ?? now()) })
  const refusing =
    (error: ApiError): Handle =>
    (request, server) => {
      tell(request, server.requestIP(request)?.address, error.status, error.code)
      return webResponse(error)
    }
  let handle: Handle = refusing(starting)
  let served = false
  /** The peers with a request under way. */
  const busy = new Set<string>()

  const { address, answered, idleSeconds, replaceCertificate } = yield* listen(
    options,
    (request, server) => handle(request, server),
    () => webResponse(errorOf(500)),
    sockets.handlers,
  )

  const serve = Effect.fnUntraced(function* <E>(
    httpEffect: Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      E,
      HttpServerRequest.HttpServerRequest | Scope.Scope
    >,
    middleware?: HttpMiddleware.HttpMiddleware,
  ) {
    if (served) return yield* Effect.die(new Error("a BunServer serves once"))
    served = true
    const fibers = yield* FiberSet.make<void>()
    const fork = yield* FiberSet.runtime(fibers)<never>()
    const context = yield* Effect.context<never>()
    const answers = new WeakMap<object, (response: Response | undefined) => void>()

    const send = (request: HttpServerRequest.HttpServerRequest, response: HttpServerResponse.HttpServerResponse) =>
      Effect.gen(function* () {
        const source = webRequest(request)
        const withoutBody = request.method === "HEAD"
        let answer = shaped(response)
        if (HttpServerResponse.omitsBody(answer, withoutBody)) {
          cancelRaw(answer)
          answerEnds(request)
        } else if (answer.body._tag === "Stream") {
          // The head is tried first: a throw after the stream has got the request's scope would leave the scope open.
          HttpServerResponse.toWeb(answer, { withoutBody: true })
          yield* Effect.addFinalizer(() => Effect.sync(() => answerEnds(request)))
          answer = HttpEffect.scopeTransferToStream(answer)
        } else if (!isOpenEnded(answer)) {
          answerEnds(request)
        }
        const web = HttpServerResponse.toWeb(answer, { withoutBody, context, signal: source.signal })
        tell(source, Option.getOrUndefined(request.remoteAddress), answer.status)
        answers.get(source)?.(web)
        answers.delete(source)
      })

    // `toHandled` is uninterruptible around the application, which would outlive its client and hold up the drain.
    const app = Effect.interruptible(Effect.tapCause(httpEffect, logUnexpected))
    const handled = HttpEffect.toHandled(app, send, middleware)

    /** Answers a request when its fiber ended without an answer, and logs the failure, of which nothing else tells. */
    const answerAnyway = (request: Request, exit: Exit.Exit<void>) => {
      const resolve = answers.get(request)
      if (resolve === undefined) return
      answers.delete(request)
      keepAlive.get(request)?.()
      tell(request, undefined, 500, "internal_error")
      resolve(webResponse(errorOf(500)))
      if (Exit.isFailure(exit)) fork(logUnexpected(exit.cause))
    }

    yield* Effect.addFinalizer(() => {
      handle = refusing(unavailable)
      sockets.leave()
      return Effect.andThen(FiberSet.awaitEmpty(fibers), answered).pipe(
        Effect.interruptible,
        Effect.timeoutOption(options.drainTimeout ?? "30 seconds"),
      )
    })

    handle = (request, server) => {
      const address = server.requestIP(request)
      const httpRequest = HttpServerRequest.fromWeb(request).modify({
        remoteAddress: Option.fromNullishOr(address?.address),
        protocol: options.tls === undefined ? "http" : "https",
      })
      server.timeout(request, 0)
      began.set(request, now())
      const peer = address === null ? "" : peerOf(address.address, address.port)
      busy.add(peer)
      keepAlive.set(request, () => {
        busy.delete(peer)
        server.timeout(request, idleSeconds)
      })
      request.signal.addEventListener("abort", () => busy.delete(peer), { once: true })
      return new Promise<Response | undefined>((resolve) => {
        answers.set(request, resolve)
        upgradable(request, server, {
          // From here on the connection is busy until it is gone.
          upgraded: () => {
            answers.delete(request)
            keepAlive.delete(request)
            busy.add(peer)
            resolve(undefined)
          },
          gone: () => busy.delete(peer),
        })
        const fiber = fork(Effect.provideService(handled, HttpServerRequest.HttpServerRequest, httpRequest))
        const ended = fiber.pollUnsafe()
        if (ended === undefined) {
          const abort = () => fiber.interruptUnsafe(undefined, HttpServerError.ClientAbort.annotation)
          request.signal.addEventListener("abort", abort, { once: true })
          fiber.addObserver((exit) => {
            request.signal.removeEventListener("abort", abort)
            answerAnyway(request, exit)
          })
        } else {
          answerAnyway(request, ended)
        }
      })
    }
  })

  // The numbers that a host name and port 0 became.
  const bound = yield* Effect.orDie(Schema.decodeUnknownEffect(Bound)(address))
  const { clients = { all: Infinity, perAddress: Infinity } } = options
  yield* Descriptors.watch({ port: bound.port, limits: clients, isBusy: (peer) => busy.has(peer) })
  const server = HttpServer.make({
    serve,
    address: NetAddress.inetAddressFromNativeUnsafe(bound.address, bound.port),
  })
  return Context.make(HttpServer.HttpServer, server).pipe(
    Context.add(ListeningCertificate, { replace: replaceCertificate }),
  )
})

const Bound = Schema.Struct({ address: Schema.String, port: Schema.Number })

/**
 * `HttpServer`, its certificate, and the services that `HttpRouter` needs beside it. There is no `FileSystem` among them, since a
 * stand-in would hide that of the application.
 */
export const layer = (
  options: Options,
): Layer.Layer<
  HttpServer.HttpServer | ListeningCertificate | HttpPlatform.HttpPlatform | Path.Path | Etag.Generator,
  ServeError
> =>
  Layer.mergeAll(Layer.effectContext(make(options)), HttpPlatform.layer, Path.layer, Etag.layerWeak).pipe(
    Layer.provide(FileSystem.layerNoop({})),
  )

const keepAlive = new WeakMap<object, () => void>()

/**
 * Tells the listener that the answer to a request ends, so that a quiet connection is closed after `idleTimeout` again.
 * Only a raw body needs it: the code that closes the body calls it before the close or in the same step, since
 * afterwards Bun takes no time-out for the connection until its next request.
 */
export const answerEnds = (request: HttpServerRequest.HttpServerRequest): void => keepAlive.get(request.source)?.()

const webRequest = (request: HttpServerRequest.HttpServerRequest): Request => {
  if (request.source instanceof Request) return request.source
  throw new Error("the request is not of this server")
}

const isOpenEnded = ({ body }: HttpServerResponse.HttpServerResponse): boolean =>
  body._tag === "Raw" &&
  (body.body instanceof ReadableStream || (body.body instanceof Response && body.body.body !== null))

/** Cancels the body of a raw `Response`, which `toWeb` drops for HEAD without telling its stream. */
const cancelRaw = ({ body }: HttpServerResponse.HttpServerResponse): void => {
  if (body._tag === "Raw" && body.body instanceof Response) body.body.body?.cancel().catch(() => {})
}

/** Gives an empty error the API's shape: Effect answers a defect, an interruption or an unknown path without a body. */
const shaped = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  if (response.status < 400 || response.body._tag !== "Empty") return response
  const error = errorOf(response.status)
  return HttpServerResponse.text(error.body, {
    status: response.status,
    contentType: "application/json",
    headers: { ...error.headers, ...response.headers },
    cookies: response.cookies,
  })
}

const errorOf = (status: number): ApiError => {
  if (status === 503) return interrupted
  if (status === 404) return ApiError.notFound("unknown_url", "There is nothing at this URL.")
  return new ApiError({
    status,
    message: status >= 500 ? "The server had an error while processing the request." : "The request was not accepted.",
    type: status >= 500 ? "server_error" : "invalid_request_error",
    code: status >= 500 ? "internal_error" : null,
    param: null,
  })
}

const unavailable = ApiError.unavailable("server_shutdown", "The server is shutting down.", 1)
/** For a request under way: it may have had its effect upstream, so a client must not send it again by itself. */
const interrupted = new ApiError({
  status: 503,
  message: "The server was shut down while it processed the request.",
  type: "server_error",
  code: "server_shutdown",
  param: null,
  headers: { "x-should-retry": "false" },
})
const starting = ApiError.unavailable("server_starting", "The server is starting.", 1)

const webResponse = (error: ApiError): Response =>
  new Response(error.body, {
    status: error.status,
    headers: { "content-type": "application/json", connection: "close", ...error.headers },
  })

const logUnexpected = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  cause.reasons.some(isUnexpected) ? Effect.logError("A request failed unexpectedly", cause) : Effect.void

const isUnexpected = (reason: Cause.Reason<unknown>): boolean => {
  if (reason._tag === "Interrupt") return false
  const error = reason._tag === "Die" ? reason.defect : reason.error
  return !HttpServerResponse.isHttpServerResponse(error) && !HttpServerRespondable.isRespondable(error)
}
