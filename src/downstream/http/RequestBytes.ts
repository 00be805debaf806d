/**
 * Reads a request's body, bounded in size and time: as bytes, decoded or as they came, or as a stream.
 *
 * `maxBytes` bounds both what is read and what comes out of the decoder, which stops there: a small body that unfolds
 * without end costs no more memory than an honest one. `holds` is told of every byte before it is kept, to refuse it.
 *
 * By hand is `gather`: it bounds the time by a shared deadline, because a turn's body of 1 KB takes 1.3 times the CPU with a
 * fiber for `Effect.timeout`, and twice the CPU when it is read as a stream (Bun 1.4.5).
 */
import { Duration, Effect, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { Transform } from "node:stream"
import * as Zlib from "node:zlib"
import * as Deadlines from "../../turn/Deadlines.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import { inSlices } from "../../turn/Slices.ts"
import { tooMuch } from "../Admission.ts"
import { ApiError } from "../ApiError.ts"
import { collected } from "./Collected.ts"
import { Gathered } from "./Gathered.ts"
import { isWholeZstd } from "./Zstd.ts"

export interface Options {
  /** The largest body, in bytes, both on the wire and decoded. */
  readonly maxBytes: number
  /** How long the whole body may take to arrive. Default 5 minutes. */
  readonly timeout?: Duration.Input
  /** Where the time-out waits. Default: on a fiber for this request. */
  readonly deadlines?: Deadlines.Deadlines
  /** Called with how many bytes are kept now; false: there is no room for them. Default: there always is. */
  readonly holds?: (bytes: number) => boolean
  /** True: it ends no sooner than `nextRound` would. Of a small body both waits are one. */
  readonly settled?: boolean
}

type Request = HttpServerRequest.HttpServerRequest

const wholeWithin = Duration.minutes(5)

/** A body that is kept must bring so many bytes in every `window` (in milliseconds): nobody holds a place with a byte. */
const leastBytes = 30 * 1024
const window = 30_000

/**
 * Up to so many bytes a body of announced length is gathered by the platform in one piece, which does not tell how much
 * has come. So all of them are counted from the beginning, and no more than these. A large one it also copies again and
 * again as it grows, while no other turn goes on.
 */
const gatheredAtMost = 16 * 1024

/** How long a client may be silent between two parts of a streamed body. */
const partWithin = "60 seconds"

/**
 * The body's bytes, decoded; empty if there is no body. No other code keeps them.
 *
 * Fails with 413 `request_too_large`, 415 `unsupported_content_encoding` (unknown, or several in a row), 400
 * `invalid_content_encoding` (corrupt or cut short), 400 `incomplete_body` (the client broke off), 408
 * `request_timeout` or 503 `server_overloaded` (no room).
 */
export const readRequestBytes = (request: Request, options: Options): Effect.Effect<Uint8Array, ApiError> =>
  request.headers["content-encoding"] === undefined
    ? readEncodedBytes(request, options)
    : readDecodedBytes(request, options)

const readDecodedBytes = Effect.fnUntraced(function* (request: Request, options: Options) {
  const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase()
  const decoder = decoders[encoding]
  if (decoder === undefined) return yield* unsupported
  const bytes = yield* readEncodedBytes(request, options)
  if (decoder === identity || bytes.length === 0) return bytes
  if (encoding === "zstd" && !isWholeZstd(bytes)) return yield* corrupt
  return yield* inflate(decoder(), bytes, options)
})

/** The body's bytes as they came, not decoded. Fails as `readRequestBytes` does, but for the encoding. */
export const readEncodedBytes = (request: Request, options: Options): Effect.Effect<Uint8Array, ApiError> =>
  Effect.suspend(() => {
    const { holds = hasRoom, maxBytes } = options
    const announced = announcedIn(request)
    if ((announced ?? 0) > maxBytes) return Effect.fail(tooLarge(maxBytes))
    if ((announced ?? 0) <= gatheredAtMost && !holds(announced ?? 0)) return Effect.fail(tooMuch)
    const { deadlines } = options
    return deadlines === undefined
      ? Effect.scoped(Effect.flatMap(Deadlines.make, (deadlines) => read(request, announced, options, deadlines)))
      : read(request, announced, options, deadlines)
  })

/**
 * The body as it comes, for callers that keep nothing of it. The stream fails like `readEncodedBytes`, and with 408
 * when the client is silent for 60 seconds while the reader waits for more. The time for the whole body counts from
 * this call.
 */
export const streamRequestBytes = (request: Request, options: Options) =>
  Effect.map(monotonicMillis, (startedAt): Stream.Stream<Uint8Array, ApiError> => {
    const late = Effect.flatMap(monotonicMillis, (now) =>
      Effect.sleep(Math.max(0, startedAt + Duration.toMillis(options.timeout ?? wholeWithin) - now)),
    )
    let size = 0
    return request.stream.pipe(
      Stream.mapError(() => incomplete),
      Stream.timeoutOrElse({ duration: partWithin, orElse: () => Stream.fail(timedOut) }),
      Stream.interruptWhen(Effect.andThen(late, Effect.fail(timedOut))),
      Stream.mapEffect((part) => {
        size += part.length
        return size > options.maxBytes ? Effect.fail(tooLarge(options.maxBytes)) : Effect.succeed(part)
      }),
    )
  })

/**
 * Waits until the listener has looked at what came in one piece with the request. What it does not take behind one, it
 * answers with 400 or by closing the connection (docs/operate.md, Errors), and then nothing of the
 * request must have gone upstream.
 */
export const nextRound: Effect.Effect<void> = Effect.callback((resume) => {
  const next = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(next))
})

const hasRoom = () => true

const announcedIn = ({ headers }: Request): number | undefined =>
  headers["content-length"] === undefined ? undefined : Number(headers["content-length"])

const read = (
  request: Request,
  announced: number | undefined,
  options: Options,
  deadlines: Deadlines.Deadlines,
): Effect.Effect<Uint8Array, ApiError> => {
  const { settled = false, timeout = wholeWithin } = options
  const { source } = request
  // The platform may gather a body of announced length in one piece, since its parser takes no more than was announced.
  // Such a request has a body, unless none was announced; to ask the platform for it would make a stream of it.
  if (source instanceof Request && announced !== 0 && (announced ?? Infinity) <= gatheredAtMost) {
    return gather(source, Math.min(window, Duration.toMillis(timeout)), deadlines, settled)
  }
  const bytes = collect(request, options, deadlines)
  return settled ? Effect.flatMap(bytes, (bytes) => Effect.as(nextRound, bytes)) : bytes
}

const gather = (source: globalThis.Request, within: number, deadlines: Deadlines.Deadlines, settled: boolean) =>
  Effect.callback<Uint8Array, ApiError>((resume) => {
    let round: NodeJS.Immediate | undefined
    const deadline = deadlines.after(within, () => resume(Effect.fail(timedOut)))
    const ended = (result: Effect.Effect<Uint8Array, ApiError>) => {
      deadline.cancel()
      resume(result)
    }
    source.arrayBuffer().then(
      (bytes) => {
        const whole = Effect.succeed(new Uint8Array(bytes))
        if (settled) round = setImmediate(ended, whole)
        else ended(whole)
      },
      () => ended(Effect.fail(incomplete)),
    )
    return Effect.sync(() => {
      deadline.cancel()
      clearImmediate(round)
    })
  })

const collect = (
  { source, stream }: Request,
  { holds = hasRoom, maxBytes, timeout = wholeWithin }: Options,
  deadlines: Deadlines.Deadlines,
): Effect.Effect<Uint8Array, ApiError> => {
  const body = source instanceof Request ? source.body : Stream.toReadableStream(stream)
  if (body === null) return Effect.succeed(new Uint8Array())
  const gathered = collected({
    body,
    deadlines,
    within: Duration.toMillis(timeout),
    window,
    leastBytes,
    refused: (size) => (size > maxBytes ? tooLarge(maxBytes) : holds(size) ? undefined : tooMuch),
    late: timedOut,
    broken: incomplete,
  })
  return Effect.flatMap(gathered, (gathered) => inSlices(gathered.whole()))
}

const identity = (): Transform => {
  throw new Error("an identity has no decoder")
}

const chunkSize = 65_536

const decoders: Readonly<Record<string, (() => Transform) | undefined>> = Object.assign(Object.create(null), {
  "": identity,
  identity,
  gzip: () => Zlib.createGunzip({ chunkSize }),
  "x-gzip": () => Zlib.createGunzip({ chunkSize }),
  deflate: () => Zlib.createInflate({ chunkSize }),
  br: () => Zlib.createBrotliDecompress({ chunkSize }),
  zstd: () => Zlib.createZstdDecompress({ chunkSize }),
})

const inflate = (
  decoder: Transform,
  bytes: Uint8Array,
  { holds = hasRoom, maxBytes }: Options,
): Effect.Effect<Uint8Array, ApiError> =>
  Effect.callback<Gathered, ApiError>((resume) => {
    const gathered = new Gathered()
    const refuse = (error: ApiError) => {
      decoder.destroy()
      resume(Effect.fail(error))
    }
    let goesOn: NodeJS.Immediate | undefined
    decoder.on("data", (part: Uint8Array) => {
      const size = gathered.size + part.length
      if (size > maxBytes) return refuse(tooLarge(maxBytes))
      if (!holds(bytes.length + size)) return refuse(tooMuch)
      gathered.add(part)
      // The decoder is quicker than the loop, which would see to nothing else before its end.
      decoder.pause()
      goesOn = setImmediate(() => decoder.resume())
    })
    decoder.on("error", () => resume(Effect.fail(corrupt)))
    decoder.on("end", () => {
      holds(gathered.size)
      resume(Effect.succeed(gathered))
    })
    decoder.end(bytes)
    return Effect.sync(() => {
      clearImmediate(goesOn)
      decoder.destroy()
    })
  }).pipe(Effect.flatMap((gathered) => inSlices(gathered.whole())))

const tooLarge = (maxBytes: number) =>
  ApiError.tooLarge(`The request body is larger than the limit of ${maxBytes} bytes.`)

const corrupt = ApiError.badRequest(
  "invalid_content_encoding",
  "The request body does not decode as its Content-Encoding says.",
)

const incomplete = ApiError.badRequest("incomplete_body", "The request body ended too early.")

const timedOut = new ApiError({
  status: 408,
  message: "The request body took too long to arrive.",
  type: "invalid_request_error",
  code: "request_timeout",
  param: null,
  headers: { connection: "close" },
})

const unsupported = new ApiError({
  status: 415,
  message: "The Content-Encoding is not supported: it must be one of gzip, deflate, br, zstd or identity.",
  type: "invalid_request_error",
  code: "unsupported_content_encoding",
  param: null,
  headers: { "accept-encoding": "gzip, deflate, br, zstd" },
})
