/**
 * Looks whether a body of zstd frames is whole, because the decoder of `node:zlib` takes a frame that is cut short for a
 * whole one, where gzip's fails (Bun 1.4.5).
 */

/**
 * Whether the bytes are zstd frames, each whole up to its last block (RFC 8878 3.1). The content of the blocks is left
 * to the decoder, which does not notice a cut frame.
 */
export const isWholeZstd = (bytes: Uint8Array): boolean => {
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
