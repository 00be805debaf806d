/**
 * Reads a request's body, bounded in size and time: as bytes, decoded or as they came, or as a stream.
 *
 * `maxBytes` bounds both what is read and what comes out of the decoder, which stops there: a small body that unfolds
 * without end costs no more memory than an honest one. `holds` is told of every byte before it is kept, to refuse it.
 *
 * Two parts are by hand. `gather` bounds the time by a shared deadline, because a turn's body of 1 KB takes 1.3 times
 * the CPU with a fiber for `Effect.timeout`, and twice the CPU when it is read as a stream. `isWholeZstd` is there
 * because the decoder of `node:zlib` takes a frame that is cut short for a whole one, where gzip's fails (Bun 1.4.5).
 */
import { Duration, Effect, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { Transform } from "node:stream"
import * as Zlib from "node:zlib"
import type { Deadlines } from "../../turn/Deadlines.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import { inSlices } from "../../turn/Slices.ts"
import { tooMuch } from "../Admission.ts"
import { ApiError } from "../ApiError.ts"
import { Gathered } from "./Gathered.ts"

export interface Options {
  /** The largest body, in bytes, both on the wire and decoded. */
  readonly maxBytes: number
  /** How long the whole body may take to arrive. Default 5 minutes. */
  readonly timeout?: Duration.Input
  /** Where the time-out waits. Default: on a fiber for this request. */
  readonly deadlines?: Deadlines
  /** Called with how many bytes are kept now; false: there is no room for them. Default: there always is. */
  readonly holds?: (bytes: number) => boolean
}

type Request = HttpServerRequest.HttpServerRequest

const wholeWithin = "5 minutes"

/**
 * A body that is kept must bring so many bytes in every `window` (in milliseconds), or be whole: 1 KiB a second, so that
 * nobody holds a place for minutes with a byte.
 */
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
export const readRequestBytes: (request: Request, options: Options) => Effect.Effect<Uint8Array, ApiError> =
  Effect.fnUntraced(function* (request, options) {
    const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase()
    const decoder = decoders[encoding]
    if (decoder === undefined) return yield* unsupported
    const bytes = yield* readEncodedBytes(request, options)
    if (decoder === identity || bytes.length === 0) return bytes
    if (encoding === "zstd" && !isWholeZstd(bytes)) return yield* corrupt
    return yield* inflate(decoder(), bytes, options)
  })

/** The body's bytes as they came, not decoded. Fails as `readRequestBytes` does, but for the encoding. */
export const readEncodedBytes = Effect.fnUntraced(function* (request: Request, options: Options) {
  const { holds = hasRoom, maxBytes } = options
  const announced = announcedIn(request) ?? 0
  if (announced > maxBytes) return yield* tooLarge(maxBytes)
  if (announced <= gatheredAtMost && !holds(announced)) return yield* tooMuch
  return yield* read(request, { ...options, holds })
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

const read = (request: Request, options: Options & { readonly holds: (bytes: number) => boolean }) => {
  const { deadlines, holds, maxBytes, timeout = wholeWithin } = options
  const { source } = request
  if (source instanceof Request && source.body === null) return Effect.succeed(new Uint8Array())
  // The platform may gather a body of announced length in one piece, since its parser takes no more than was announced.
  const whole = source instanceof Request && (announcedIn(request) ?? Infinity) <= gatheredAtMost ? source : undefined
  if (whole === undefined) return collect(request.stream, maxBytes, holds, timeout)
  const within = Math.min(window, Duration.toMillis(timeout))
  if (deadlines !== undefined) return gather(whole, within, deadlines)
  const bytes = Effect.tryPromise({
    try: async () => new Uint8Array(await whole.arrayBuffer()),
    catch: () => incomplete,
  })
  return Effect.timeoutOrElse(bytes, { duration: within, orElse: () => Effect.fail(timedOut) })
}

const gather = (source: globalThis.Request, within: number, deadlines: Deadlines) =>
  Effect.callback<Uint8Array, ApiError>((resume) => {
    const deadline = deadlines.after(within, () => resume(Effect.fail(timedOut)))
    const ended = (result: Effect.Effect<Uint8Array, ApiError>) => {
      deadline.cancel()
      resume(result)
    }
    source.arrayBuffer().then(
      (bytes) => ended(Effect.succeed(new Uint8Array(bytes))),
      () => ended(Effect.fail(incomplete)),
    )
    return Effect.sync(deadline.cancel)
  })

const collect = (
  stream: Stream.Stream<Uint8Array, unknown>,
  maxBytes: number,
  holds: (bytes: number) => boolean,
  timeout: Duration.Input,
): Effect.Effect<Uint8Array, ApiError> =>
  Effect.suspend(() => {
    const gathered = new Gathered()
    const read = stream.pipe(
      Stream.mapError(() => incomplete),
      Stream.runForEach((part) => {
        const size = gathered.size + part.length
        if (size > maxBytes) return Effect.fail(tooLarge(maxBytes))
        if (!holds(size)) return Effect.fail(tooMuch)
        gathered.add(part)
        // The listener puts chunks together while none is asked for: asked for at once, each of one byte would be a part.
        return part.length < smallPart ? nextRound : Effect.void
      }),
    )
    const inTime = Effect.raceFirst(
      read,
      tooSlow(() => gathered.size, timeout),
    )
    return Effect.andThen(
      inTime,
      Effect.suspend(() => inSlices(gathered.whole())),
    )
  })

/** Fails once less than the least has come in a window, or the time for all of it is over. */
const tooSlow = (size: () => number, timeout: Duration.Input): Effect.Effect<never, ApiError> =>
  Effect.gen(function* () {
    let left = Duration.toMillis(timeout)
    for (let before = 0; left > 0; before = size()) {
      const span = Math.min(left, window)
      yield* Effect.sleep(span)
      left -= span
      if (size() - before < leastBytes) break
    }
    return yield* timedOut
  })

/** A smaller part, in bytes, costs more than it brings. */
const smallPart = 16_384

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

/**
 * Whether the bytes are zstd frames, each whole up to its last block (RFC 8878 3.1). The content of the blocks is left
 * to the decoder, which does not notice a cut frame.
 */
const isWholeZstd = (bytes: Uint8Array): boolean => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = bytes.length
  let at = 0
  while (at + 8 <= end) {
    const magic = view.getUint32(at, true)
    if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
      at += 8 + view.getUint32(at + 4, true)
      continue
    }
    if (magic !== 0xfd2fb528) return false
    const descriptor = view.getUint8(at + 4)
    const single = (descriptor >> 5) & 1
    const sizeBytes = [single, 2, 4, 8][descriptor >> 6] ?? 0
    at += 5 + (1 - single) + ([0, 1, 2, 4][descriptor & 3] ?? 0) + sizeBytes
    for (let last = 0; last === 0;) {
      if (at + 3 > end) return false
      const block = view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
      last = block & 1
      at += 3 + (((block >> 1) & 3) === 1 ? 1 : block >> 3)
    }
    at += ((descriptor >> 2) & 1) * 4
  }
  return at === end
}

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
