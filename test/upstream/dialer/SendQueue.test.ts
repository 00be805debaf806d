import { assert, describe, it } from "@effect/vitest"
import type { Pieces } from "../../../src/upstream/dialer/FrameWriter.ts"
import { pieceSize } from "../../../src/upstream/dialer/FrameWriter.ts"
import { SendQueue } from "../../../src/upstream/dialer/SendQueue.ts"
import { makeRandom } from "../../support/Random.ts"

describe("SendQueue", () => {
  it("writes everything once and in order, however little is taken at a time, and counts what waits", () => {
    const random = makeRandom(1)
    for (let run = 0; run < 200; run++) {
      const queue = new SendQueue()
      let taken = ""
      let wanted = ""
      const sink = {
        write: (bytes: Uint8Array) => {
          const part = bytes.subarray(0, random(bytes.length + 1))
          taken += Buffer.from(part).toString()
          return part.length
        },
      }
      for (let step = 0; step < 20; step++) {
        const piece = `${step},`.repeat(random(9))
        wanted += piece
        assert.isTrue(queue.write(sink, Buffer.from(piece)))
        if (random(2) === 0) queue.drain(sink)
        assert.strictEqual(queue.size, wanted.length - taken.length)
      }
      while (queue.size > 0) queue.drain(sink)
      assert.strictEqual(taken, wanted)
    }
  })

  it("asks for the pieces of a large message only as the system takes them, a few at a time", async () => {
    for (const takes of [1, 1000, pieceSize, Infinity]) {
      const queue = new SendQueue()
      let made = 0
      const written: Array<Buffer> = []
      let writtenSize = 0
      let room = takes
      const sink = {
        write: (bytes: Uint8Array) => {
          const part = bytes.subarray(0, room)
          room -= part.length
          written.push(Buffer.from(part))
          writtenSize += part.length
          return part.length
        },
      }
      const pieces = (first: number, count: number): Pieces => {
        let piece = 0
        const next = () => (piece++ < count ? (made++, Buffer.alloc(pieceSize, first + piece - 1)) : undefined)
        return { size: count * pieceSize, next }
      }
      assert.isTrue(queue.writePieces(sink, pieces(1, 10)))
      assert.isTrue(queue.write(sink, Buffer.from("x")))
      assert.isTrue(queue.writePieces(sink, pieces(20, 3)))
      assert.isTrue(queue.write(sink, Buffer.from("y")))
      // Of the first message those that are written at once and the next, of the message behind it the first.
      assert.isAtMost(made, 1 + 4 + 1 + 1)
      const size = 13 * pieceSize + 2
      for (let drains = 0; queue.size > 0; drains++) {
        assert.strictEqual(queue.size, size - writtenSize)
        const before = made
        if (room === 0) room = pieceSize / 2
        if (drains < 4 || takes === 1) queue.drain(sink)
        else await Bun.sleep(0)
        if (takes !== Infinity) queue.drain(sink)
        assert.isAtMost(made - before, 2 * 5)
      }
      const expected = Buffer.concat([
        ...Array.from({ length: 10 }, (_, piece) => Buffer.alloc(pieceSize, 1 + piece)),
        Buffer.from("x"),
        ...Array.from({ length: 3 }, (_, piece) => Buffer.alloc(pieceSize, 20 + piece)),
        Buffer.from("y"),
      ])
      assert.isTrue(Buffer.concat(written).equals(expected))
    }
  })

  it("writes no piece of a large message to a closed socket, and makes none once it is cleared", () => {
    let made = 0
    const next = () => (made++ < 9 ? Buffer.alloc(pieceSize) : undefined)
    const queue = new SendQueue()
    assert.isFalse(queue.writePieces({ write: () => -1 }, { size: 9 * pieceSize, next }))
    assert.strictEqual(queue.size, 0)
    assert.isTrue(queue.writePieces({ write: () => 1 }, { size: 8 * pieceSize, next }))
    queue.clear()
    queue.drain({ write: () => assert.fail("nothing is left to write") })
    assert.strictEqual(made, 2)
  })

  it("says that nothing was written to a closed socket, and forgets all when it is cleared", () => {
    const queue = new SendQueue()
    assert.isFalse(queue.write({ write: () => -1 }, Buffer.from("late")))
    assert.strictEqual(queue.size, 0)
    assert.isTrue(queue.write({ write: () => 1 }, Buffer.from("early")))
    queue.drain({ write: () => -1 })
    assert.strictEqual(queue.size, 4)
    queue.clear()
    assert.strictEqual(queue.size, 0)
    queue.drain({ write: () => assert.fail("nothing is left to write") })
  })
})
