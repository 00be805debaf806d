import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Outbox, outgoing } from "../../../src/downstream/socket/Outbox.ts"

const microtask = Effect.promise(() => Promise.resolve())

/** An outbox, and what its socket was given: each write as a list of frames. */
const outbox = (takes: () => boolean = () => true) => {
  const told: Array<ReadonlyArray<string> | string> = []
  const made = new Outbox(
    {
      send: (texts) => {
        told.push([...texts])
        return takes()
      },
      buffered: () => 0,
      ping: () => {},
      close: (code) => void told.push(`closed ${code}`),
      terminate: () => {},
    },
    1_000_000,
  )
  return { made, told }
}

describe("What a client's socket is sent", () => {
  it.effect("goes out together where it came in one step, in the order of the lanes' events", () =>
    Effect.gen(function* () {
      const { made, told } = outbox()
      const [one, other] = [outgoing(), outgoing()]
      made.put(one, "a")
      made.put(other, "b")
      made.put(one, "c")
      assert.deepStrictEqual(told, [])
      yield* microtask
      made.put(one, "d")
      yield* microtask
      assert.deepStrictEqual(told, [["a", "b", "c"], ["d"]])
    }),
  )

  it.effect("is not gathered without a bound", () =>
    Effect.gen(function* () {
      const { made, told } = outbox()
      const lane = outgoing()
      for (let frames = 0; frames < 5; frames++) made.put(lane, "x".repeat(10_000))
      assert.deepStrictEqual(
        told.map((texts) => texts.length),
        [2, 2],
      )
      yield* microtask
      assert.strictEqual(told.length, 3)
    }),
  )

  it.effect("leaves before the close, and not after the socket is gone", () =>
    Effect.gen(function* () {
      const closing = outbox()
      closing.made.put(outgoing(), "last")
      closing.made.close(1001, "")
      yield* microtask
      assert.deepStrictEqual(closing.told, [["last"], "closed 1001"])
      const gone = outbox()
      gone.made.put(outgoing(), "late")
      gone.made.closed()
      yield* microtask
      assert.deepStrictEqual(gone.told, [])
    }),
  )

  it.effect("waits in its lane once the client is behind", () =>
    Effect.gen(function* () {
      const { made, told } = outbox(() => false)
      const lane = outgoing()
      made.put(lane, "a")
      yield* microtask
      made.put(lane, "b")
      yield* microtask
      assert.deepStrictEqual(told, [["a"]])
      assert.deepStrictEqual(lane.frames, ["b"])
    }),
  )
})
