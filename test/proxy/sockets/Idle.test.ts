import { assert, layer } from "@effect/vitest"
import { heapStats } from "bun:jsc"
import { Effect } from "effect"
import { user } from "../../support/Items.ts"
import { socket } from "../../support/SocketClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

/** How many of each live, after a collection. */
const living = () => {
  Bun.gc(true)
  const { objectTypeCounts } = heapStats()
  return ["ServerWebSocket", "Request", "AbortSignal"].map((name) => objectTypeCounts[name] ?? 0)
}

layer(TestProxy.layerBrief())("A client's socket on which nothing was asked for", (it) => {
  it.effect("holds nothing of the request that it was", () =>
    Effect.gen(function* () {
      const sockets = 60
      const ask = { type: "response.create", model: "gpt-5.5", input: [user("hello")] }
      const first = yield* socket()
      yield* first.turn(ask)
      const before = living()
      const opened = yield* Effect.forEach(Array.from({ length: sockets }), () => socket())
      const [connections, ...others] = living().map((count, at) => count - (before[at] ?? 0))
      assert.strictEqual(connections, sockets)
      // What was only just used may be on the stack still.
      for (const more of others) assert.isBelow(more, sockets / 4)
      for (const { turn } of opened.slice(0, 2)) {
        assert.strictEqual((yield* turn(ask)).type, "response.completed")
      }
    }),
  )
})
