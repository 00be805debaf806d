/**
 * What one turn leaves to the next on the same connection, where the upstream ends it in another way than most.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { outputOf, way } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { text } from "../support/Frames.ts"
import { good, goodEvents, HostileUpstream } from "../support/HostileUpstream.ts"
import { user } from "../support/Items.ts"
import { TestProxy } from "../support/TestProxy.ts"

describe("A turn behind one that ended incomplete", () => {
  it.effect("is sent in full although a turn before that one was completed, and on the same connection", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* post({ input: [user("One")] })
      const begun = [user("One"), ...outputOf(first)]
      yield* simulator.failNext({ _tag: "Incomplete", at: 4, reason: "max_output_tokens" })
      const second = yield* post({ input: [...begun, user("Two")] })
      assert.strictEqual(second.json?.["status"], "incomplete", second.text)
      assert.deepStrictEqual(way(second, "connection", "input"), ["reused", "suffix"])
      // What was cut off is left out by the client, which asks again.
      const again = [...begun, user("Two, in short")]
      const third = yield* post({ input: again })
      assert.strictEqual(third.json?.["status"], "completed", third.text)
      assert.deepStrictEqual(way(third, "connection", "input", "reason"), ["reused", "full", "no_checkpoint"])
      const turn = simulator.turns.at(-1)
      assert.notProperty(turn?.request, "previous_response_id")
      assert.deepStrictEqual(
        turn?.context.map((item): unknown => JSON.parse(item)),
        again,
      )
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.provide(TestProxy.layerBrief())),
  )
})

describe("A terminal event that comes again once the next turn was sent", () => {
  const hostile = Layer.unwrap(
    Effect.map(HostileUpstream, ({ port }) => TestProxy.layerProxy({ upstreamUrl: `http://127.0.0.1:${port}/v1` })),
  ).pipe(Layer.provideMerge(HostileUpstream.layer))

  for (const stream of [true, false]) {
    it.effect(
      `is not taken for the end of that turn, which is sent again on a new connection (stream: ${stream})`,
      () =>
        Effect.gen(function* () {
          const upstream = yield* HostileUpstream
          const pool = yield* ConnectionPool
          const events = goodEvents("resp_first")
          const output = /"output":(\[.*\])\}\}$/.exec(events.at(-1) ?? "")?.[1] ?? ""
          const answers = [events, events.slice(-1), goodEvents("resp_second")]
          let turns = 0
          upstream.conduct.now = {
            ...good,
            turn: ({ write }) => write(...(answers[turns++] ?? []).map((event) => text(event))),
          }
          assert.strictEqual((yield* post({ input: [user("One")], stream })).status, 200)
          const second = yield* post({ input: [user("One"), ...JSON.parse(output), user("Two")], stream })
          assert.notInclude(second.text, "resp_first")
          assert.include(second.text, "resp_second")
          assert.deepStrictEqual(way(second, "connection", "input", "reason"), ["new", "full", "foreign_event"])
          assert.deepStrictEqual([turns, upstream.upgrades(), upstream.posts()], [3, 2, 0])
          assert.deepStrictEqual(
            pool.connections().map(({ state }) => state),
            ["Idle"],
          )
        }).pipe(Effect.provide(hostile)),
    )
  }
})
