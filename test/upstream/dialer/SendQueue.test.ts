import { assert, describe, it } from "@effect/vitest"
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
