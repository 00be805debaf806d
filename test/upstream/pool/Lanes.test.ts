/**
 * When a lane is opened beside another, and how much may wait of one whose client is behind.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import type { Lease } from "../../../src/upstream/pool/Lease.ts"
import { open, pool } from "../../support/Leasing.ts"
import type { TestSocket } from "../../support/TestDialer.ts"
import { TestDialer } from "../../support/TestDialer.ts"

const maxWaiting = 600

const lanes = pool({ busy: "lane", maxBuffered: maxWaiting })

const session = "one"

const delta = (lane: string | undefined, text: string) =>
  JSON.stringify({ type: "response.output_text.delta", delta: text, stream_id: lane })

/** A turn that has sent its request, and what it hears. */
const asked = Effect.fnUntraced(function* () {
  const { lease } = yield* open({ session })
  const heard: Array<string> = []
  const lost: Array<string> = []
  lease.listen({ onText: (text) => void heard.push(text), onLost: (reason) => void lost.push(reason) })
  lease.send(new TextEncoder().encode("{}"))
  return { lease, heard, lost }
})

/** The upstream says in the turn's lane what is so long with all that is around it. */
const say = (socket: TestSocket | undefined, { lane }: Lease, size: number) => {
  const heardLength = delta(undefined, "").length
  socket?.handlers.onText(delta(lane, "x".repeat(size - heardLength)))
}

describe("A lane beside another", () => {
  it.effect("is opened once the upstream has named the first one, and no sooner", () =>
    Effect.gen(function* () {
      const { dials, sockets } = yield* TestDialer
      const first = yield* asked()
      yield* asked()
      assert.strictEqual(dials(), 2)
      say(sockets[0], first.lease, 100)
      const third = yield* asked()
      assert.strictEqual(dials(), 2)
      assert.strictEqual(third.lease.connectionId, first.lease.connectionId)
    }).pipe(Effect.provide(lanes)),
  )

  it.effect("is not opened by an event that names another lane, which is nobody's", () =>
    Effect.gen(function* () {
      const { dials, sockets } = yield* TestDialer
      const first = yield* asked()
      sockets[0]?.handlers.onText(delta("another", "x"))
      assert.deepStrictEqual(first.lost, ["unsolicited"])
      yield* asked()
      assert.strictEqual(dials(), 2)
    }).pipe(Effect.provide(lanes)),
  )
})

describe("What waits of a lane whose client is behind", () => {
  const beside = Effect.fnUntraced(function* () {
    const { sockets } = yield* TestDialer
    const slow = yield* asked()
    const [socket] = sockets
    say(socket, slow.lease, 100)
    const neighbour = yield* asked()
    assert.strictEqual(neighbour.lease.connectionId, slow.lease.connectionId)
    slow.heard.length = 0
    slow.lease.pause()
    return { slow, neighbour, socket }
  })

  it.effect("is kept up to the bound, and given once the client has caught up", () =>
    Effect.gen(function* () {
      const { neighbour, slow, socket } = yield* beside()
      for (let half = 0; half < 2; half++) say(socket, slow.lease, maxWaiting / 2)
      assert.deepStrictEqual([slow.heard.length, slow.lost, socket?.paused], [0, [], false])
      slow.lease.resume()
      assert.deepStrictEqual(
        slow.heard.map(({ length }) => length),
        [maxWaiting / 2, maxWaiting / 2],
      )
      // What it has got does not count any more.
      slow.lease.pause()
      say(socket, slow.lease, maxWaiting)
      assert.deepStrictEqual([slow.lost, neighbour.lost], [[], []])
    }).pipe(Effect.provide(lanes)),
  )

  it.effect("ends its turn alone with the first unit over the bound", () =>
    Effect.gen(function* () {
      const { neighbour, slow, socket } = yield* beside()
      say(socket, slow.lease, maxWaiting + 1)
      assert.deepStrictEqual([slow.heard.length, slow.lost], [0, ["slow_client"]])
      say(socket, neighbour.lease, 100)
      assert.deepStrictEqual([neighbour.heard.length, neighbour.lost, socket?.terminated], [1, [], 0])
      const states = (yield* ConnectionPool).connections().map(({ lanes }) => lanes)
      assert.deepStrictEqual(states, [["Draining", "Leased"]])
    }).pipe(Effect.provide(lanes)),
  )

  it.effect("ends it with many small events as with one", () =>
    Effect.gen(function* () {
      const { slow, socket } = yield* beside()
      for (let event = 0; event < 6; event++) say(socket, slow.lease, maxWaiting / 6)
      assert.deepStrictEqual(slow.lost, [])
      say(socket, slow.lease, maxWaiting / 6)
      assert.deepStrictEqual(slow.lost, ["slow_client"])
    }).pipe(Effect.provide(lanes)),
  )
})
