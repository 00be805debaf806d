/**
 * The content encodings that the proxy reads, both ways.
 */
import * as Zlib from "node:zlib"

type Codec = (bytes: Uint8Array) => Uint8Array<ArrayBuffer>

/** Brotli at its quickest. */
export const encoders = {
  gzip: (bytes) => new Uint8Array(Zlib.gzipSync(bytes)),
  deflate: (bytes) => new Uint8Array(Zlib.deflateSync(bytes)),
  br: (bytes) => new Uint8Array(Zlib.brotliCompressSync(bytes, fast)),
  zstd: (bytes) => new Uint8Array(Zlib.zstdCompressSync(bytes)),
} satisfies Readonly<Record<string, Codec>>

const fast = { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }

export const decoders = {
  gzip: (bytes) => new Uint8Array(Zlib.gunzipSync(bytes)),
  deflate: (bytes) => new Uint8Array(Zlib.inflateSync(bytes)),
  br: (bytes) => new Uint8Array(Zlib.brotliDecompressSync(bytes)),
  zstd: (bytes) => new Uint8Array(Zlib.zstdDecompressSync(bytes)),
} satisfies Readonly<Record<keyof typeof encoders, Codec>>

/** Undefined for an encoding that is none of them. */
export const codec = (of: Readonly<Record<string, Codec>>, name: string): Codec | undefined =>
  Object.hasOwn(of, name) ? of[name] : undefined
