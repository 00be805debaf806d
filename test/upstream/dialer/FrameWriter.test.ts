import { assert, describe, it } from "@effect/vitest"
import {
  closeFrame,
  frame,
  framePieces,
  opcodes,
  pieceSize,
  pingFrame,
} from "../../../src/upstream/dialer/FrameWriter.ts"
import { makeRandom } from "../../support/Random.ts"
import { wsModule } from "../../support/WsModule.ts"

interface Receiver {
  readonly on: (event: string, listener: (...args: ReadonlyArray<Buffer>) => void) => void
  readonly write: (bytes: Uint8Array) => void
}
/** The receiver of a `ws` server: it refuses a frame without a mask. */
const WsReceiver = wsModule("receiver") as new (options: { isServer: boolean }) => Receiver

const received = (...frames: ReadonlyArray<Uint8Array>) => {
  const got: Array<readonly [kind: string, payload: Buffer]> = []
  const receiver = new WsReceiver({ isServer: true })
  receiver.on("message", (data) => got.push(["message", Buffer.from(data ?? [])]))
  receiver.on("ping", (data) => got.push(["ping", Buffer.from(data ?? [])]))
  receiver.on("pong", (data) => got.push(["pong", Buffer.from(data ?? [])]))
  receiver.on("conclude", (code) => got.push(["close", Buffer.from(String(code))]))
  receiver.on("error", (error) => assert.fail(String(error)))
  for (const one of frames) receiver.write(one)
  return got
}

const mask = (bytes: Buffer, length: number) => bytes.subarray(bytes.length - length - 4, bytes.length - length)

describe("FrameWriter", () => {
  it("writes what a server of ws reads, at every length and wherever the payload lies", () => {
    const random = makeRandom(1)
    const lengths = [...Array.from({ length: 300 }, (_, i) => i), 65_534, 65_535, 65_536, 65_537, 1_000_003]
    for (const length of lengths) {
      const offset = random(8)
      const whole = new Uint8Array(offset + length + 3).map(() => 97 + random(26))
      const payload = whole.subarray(offset, offset + length)
      const before = Buffer.from(whole)
      assert.deepStrictEqual(received(frame(opcodes.text, payload)), [["message", Buffer.from(payload)]])
      assert.deepStrictEqual(Buffer.from(whole), before)
    }
  })

  it("writes the same in pieces, each made when it is asked for", () => {
    const random = makeRandom(2)
    for (const length of [0, 1, 3, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize + 3, 1_000_003]) {
      const offset = random(8)
      const whole = new Uint8Array(offset + length).map(() => 97 + random(26))
      const payload = whole.subarray(offset)
      const { next, size } = framePieces(opcodes.text, payload)
      const parts: Array<Buffer> = []
      for (let part = next(); part !== undefined; part = next()) {
        assert.isAtMost(part.length, pieceSize + 14)
        parts.push(part)
      }
      assert.strictEqual(Buffer.concat(parts).length, size)
      assert.deepStrictEqual(received(...parts), [["message", Buffer.from(payload)]])
      assert.deepStrictEqual(Buffer.concat(parts).length, frame(opcodes.text, payload).length)
    }
  })

  it("writes pings, pongs and closes", () => {
    const payload = Buffer.from("life")
    assert.deepStrictEqual(received(pingFrame(), frame(opcodes.pong, payload), closeFrame(1002)), [
      ["ping", Buffer.alloc(0)],
      ["pong", payload],
      ["close", Buffer.from("1002")],
    ])
    assert.deepStrictEqual(received(closeFrame(1005)), [["close", Buffer.from("1005")]])
  })

  it("masks every frame anew", () => {
    const payload = Buffer.from("the same")
    const masks = Array.from({ length: 5000 }, () => mask(frame(opcodes.text, payload), payload.length).toString("hex"))
    // Two of five thousand random ones are the same once in three hundred runs, ten of them never.
    assert.isAbove(new Set(masks).size, 4990)
  })
})
