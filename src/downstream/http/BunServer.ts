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
import { Clock, Context, Deferred, Effect, Exit, FiberSet, FileSystem, Layer, Option, Path, Schema } from "effect"
import type { HttpMiddleware } from "effect/http"
import { Cookies, Etag, Headers, HttpEffect, HttpPlatform, HttpServer } from "effect/http"
import { HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { NetAddress } from "effect/net"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import { ApiError } from "../ApiError.ts"
import { makeSockets, upgradable } from "../socket/BunSockets.ts"
import * as Descriptors from "./Descriptors.ts"
import type { Options, ServeError } from "./Listener.ts"
import { Draining, listen, ListeningCertificate } from "./Listener.ts"
import { Pending, pending } from "./Pending.ts"

export type { Options } from "./Listener.ts"

type Handle = Parameters<typeof listen>[1]

const make = Effect.fn("BunServer.make")(function* (options: Options) {
  const sockets = makeSockets(options.sockets ?? { maxMessage: 64 * 1024 * 1024, deflate: false })
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)
  const tell = (request: Request, address: string | undefined, status: number, code?: string | null) => {
    const millis = now() - (pending.get(request)?.beganAt ?? now())
    options.answered?.({ request, address, status, code: code ?? null, millis })
  }
  const refusing =
    (error: ApiError): Handle =>
    (request, server) => {
      tell(request, server.requestIP(request)?.address, error.status, error.code)
      return webResponse(error)
    }
  let handle: Handle = refusing(starting)
  let served = false
  const draining = Deferred.makeUnsafe<void>()
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

    const send = (request: HttpServerRequest.HttpServerRequest, response: HttpServerResponse.HttpServerResponse) => {
      const answer = shaped(response)
      const withoutBody = request.method === "HEAD"
      if (answer.body._tag === "Stream" && !HttpServerResponse.omitsBody(answer, withoutBody)) {
        return streamed(request, answer)
      }
      try {
        const source = webRequest(request)
        if (HttpServerResponse.omitsBody(answer, withoutBody)) {
          cancelRaw(answer)
          answerEnds(request)
        } else if (!isOpenEnded(answer)) {
          answerEnds(request)
        }
        const plain = withoutBody ? undefined : asItIs(answer)
        const web = plain ?? HttpServerResponse.toWeb(answer, { withoutBody, context })
        tell(source, Option.getOrUndefined(request.remoteAddress), answer.status)
        pending.get(source)?.answer(web)
        // An exit, for which Effect's frame of a request has a short way.
        return Effect.void
      } catch (defect) {
        return Effect.die(defect)
      }
    }

    const streamed = Effect.fnUntraced(function* (
      request: HttpServerRequest.HttpServerRequest,
      answer: HttpServerResponse.HttpServerResponse,
    ) {
      const source = webRequest(request)
      // The head is tried first: a throw after the stream has got the request's scope would leave the scope open.
      HttpServerResponse.toWeb(answer, { withoutBody: true })
      yield* Effect.addFinalizer(() => Effect.sync(() => answerEnds(request)))
      const whole = HttpEffect.scopeTransferToStream(answer)
      const web = HttpServerResponse.toWeb(whole, { context, signal: source.signal })
      tell(source, Option.getOrUndefined(request.remoteAddress), answer.status)
      pending.get(source)?.answer(web)
    })

    // `toHandled` is uninterruptible around the application, which would outlive its client and hold up the drain.
    const app = Effect.interruptible(Effect.tapCause(httpEffect, logUnexpected))
    const handled = HttpEffect.toHandled(app, send, middleware)

    /** Answers a request when its fiber ended without an answer, and logs the failure, of which nothing else tells. */
    const answerAnyway = (request: Pending, exit: Exit.Exit<void>) => {
      if (request.answered) return
      request.ends()
      tell(request.request, undefined, 500, "internal_error")
      request.answer(webResponse(errorOf(500)))
      if (Exit.isFailure(exit)) fork(logUnexpected(exit.cause))
    }

    yield* Effect.addFinalizer(() => {
      handle = refusing(unavailable)
      sockets.leave()
      Deferred.doneUnsafe(draining, Exit.void)
      return Effect.andThen(FiberSet.awaitEmpty(fibers), answered).pipe(
        Effect.interruptible,
        Effect.timeoutOption(options.drainTimeout ?? "30 seconds"),
      )
    })

    handle = (request, server) => {
      const under = new Pending(request, server, busy, { idleSeconds, beganAt: now() })
      pending.set(request, under)
      const httpRequest = HttpServerRequest.fromWeb(request).modify({
        headers: headersOf(request),
        remoteAddress: Option.fromNullishOr(under.address),
        protocol: options.tls === undefined ? "http" : "https",
      })
      return new Promise<Response | undefined>((resolve) => {
        under.resolve = resolve
        // No other method upgrades a connection.
        if (request.method === "GET") upgradable(request, server, under)
        const fiber = Effect.runForkWith(Context.add(context, HttpServerRequest.HttpServerRequest, httpRequest))(
          handled,
        )
        const ended = fiber.pollUnsafe()
        if (ended !== undefined) {
          answerAnyway(under, ended)
          return
        }
        FiberSet.addUnsafe(fibers, fiber)
        under.fiber = fiber
        fiber.addObserver((exit) => {
          under.fiber = undefined
          answerAnyway(under, exit)
        })
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
    Context.add(Draining, { begun: Deferred.await(draining) }),
  )
})

const Bound = Schema.Struct({ address: Schema.String, port: Schema.Number })

/**
 * `HttpServer`, its certificate, when it drains, and the services that `HttpRouter` needs beside it. There is no `FileSystem` among them, since a
 * stand-in would hide that of the application.
 */
export const layer = (
  options: Options,
): Layer.Layer<
  HttpServer.HttpServer | ListeningCertificate | Draining | HttpPlatform.HttpPlatform | Path.Path | Etag.Generator,
  ServeError
> =>
  Layer.mergeAll(Layer.effectContext(make(options)), HttpPlatform.layer, Path.layer, Etag.layerWeak).pipe(
    Layer.provide(FileSystem.layerNoop({})),
  )

/**
 * Tells the listener that the answer to a request ends, so that a quiet connection is closed after `idleTimeout` again.
 * Only a raw body needs it: the code that closes the body calls it before the close or in the same step, since
 * afterwards Bun takes no time-out for the connection until its next request.
 */
export const answerEnds = (request: HttpServerRequest.HttpServerRequest): void => pending.get(request.source)?.ends()

const webRequest = (request: HttpServerRequest.HttpServerRequest): Request => {
  if (request.source instanceof Request) return request.source
  throw new Error("the request is not of this server")
}

const isOpenEnded = ({ body }: HttpServerResponse.HttpServerResponse): boolean =>
  body._tag === "Raw" &&
  (body.body instanceof ReadableStream || (body.body instanceof Response && body.body.body !== null))

/** The platform makes a record of them in 2.5 µs instead of 5.6; but of this one name, which is no request's, a list. */
const headersOf = ({ headers }: Request): Headers.Headers => {
  const record = headers.toJSON()
  return record["set-cookie"] === undefined ? Headers.fromRecordUnsafe(record) : Headers.fromInput(headers)
}

/** An answer whose body goes out as it is, without the copies that Effect makes of headers for all others. */
const asItIs = ({ body, cookies, headers, status, statusText }: HttpServerResponse.HttpServerResponse) => {
  const content = body._tag === "Raw" ? body.body : body._tag === "Uint8Array" ? body.text : undefined
  const isPlain = typeof content === "string" || content instanceof ReadableStream
  if (!isPlain || !Cookies.isEmpty(cookies)) return undefined
  return new Response(content, {
    status,
    headers,
    ...(statusText === undefined ? {} : { statusText }),
  })
}

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
