/**
 * Reads a request's body as bytes, decoded and bounded in size and time.
 *
 * `maxBytes` bounds both what is read and what comes out of the decoder, which stops there: a small body that unfolds
 * without end costs no more memory than an honest one.
 */
import type { Duration } from "effect"
import { Effect, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import * as Zlib from "node:zlib"
import { ApiError } from "./ApiError.ts"

export interface Options {
  /** The largest body, in bytes, both on the wire and decoded. */
  readonly maxBytes: number
  /** How long the whole body may take to arrive. Default 5 minutes. */
  readonly timeout?: Duration.Input
}

/**
 * The body's bytes, empty if there is none. They are the caller's alone.
 *
 * Fails with 413 `request_too_large`, 415 `unsupported_content_encoding` (unknown, or several in a row), 400
 * `invalid_content_encoding` (corrupt or cut short), 400 `incomplete_body` (the client broke off) or 408 `request_timeout`.
 */
export const readRequestBytes: (
  request: HttpServerRequest.HttpServerRequest,
  options: Options,
) => Effect.Effect<Uint8Array, ApiError> = Effect.fn("readRequestBytes")(function* (request, options) {
  const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase()
  const decode = decoders[encoding]
  if (decode === undefined) return yield* unsupported
  const announced = Number(request.headers["content-length"] ?? 0)
  if (announced > options.maxBytes) return yield* tooLarge(options.maxBytes)
  const bytes = yield* read(request, options.maxBytes).pipe(
    Effect.timeoutOrElse({ duration: options.timeout ?? "5 minutes", orElse: () => Effect.fail(timedOut) }),
  )
  return decode === identity || bytes.length === 0 ? bytes : yield* inflate(decode, bytes, options.maxBytes)
})

const read = (request: HttpServerRequest.HttpServerRequest, maxBytes: number): Effect.Effect<Uint8Array, ApiError> => {
  const { source } = request
  if (!(source instanceof Request)) return collect(request.stream, maxBytes)
  if (source.body === null) return Effect.succeed(new Uint8Array())
  // The parser holds a client to the length it announced, so that the platform may gather the body in one piece.
  if (request.headers["content-length"] === undefined) return collect(request.stream, maxBytes)
  return Effect.tryPromise({ try: async () => new Uint8Array(await source.arrayBuffer()), catch: () => incomplete })
}

const collect = (stream: Stream.Stream<Uint8Array, unknown>, maxBytes: number): Effect.Effect<Uint8Array, ApiError> =>
  Effect.suspend(() => {
    const parts: Array<Uint8Array> = []
    let size = 0
    return stream.pipe(
      Stream.mapError(() => incomplete),
      Stream.runForEach((part) => {
        size += part.length
        if (size > maxBytes) return Effect.fail(tooLarge(maxBytes))
        parts.push(part)
        return Effect.void
      }),
      Effect.map(() => (parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, size))),
    )
  })

type Decode = (
  bytes: Uint8Array,
  options: { readonly maxOutputLength: number },
  done: (error: Error | null, result: Uint8Array) => void,
) => void

const identity: Decode = (bytes, _options, done) => done(null, bytes)

/** A cut frame decodes without an error here, so it is looked for first. */
const zstd: Decode = (bytes, options, done) =>
  isWholeZstd(bytes) ? Zlib.zstdDecompress(bytes, options, done) : done(new Error("incomplete zstd frame"), bytes)

const decoders: Readonly<Record<string, Decode | undefined>> = Object.assign(Object.create(null), {
  "": identity,
  identity,
  gzip: Zlib.gunzip,
  "x-gzip": Zlib.gunzip,
  deflate: Zlib.inflate,
  br: Zlib.brotliDecompress,
  zstd,
})

const inflate = (decode: Decode, bytes: Uint8Array, maxBytes: number): Effect.Effect<Uint8Array, ApiError> =>
  Effect.callback((resume) => {
    decode(bytes, { maxOutputLength: maxBytes }, (error, result) => {
      if (error === null) return resume(Effect.succeed(result))
      const full = "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"
      resume(Effect.fail(full ? tooLarge(maxBytes) : corrupt))
    })
  })

/** Whether the bytes are zstd frames up to their last block (RFC 8878 3.1), whatever the blocks hold. */
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
      const head = view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
      last = head & 1
      at += 3 + (((head >> 1) & 3) === 1 ? 1 : head >> 3)
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
