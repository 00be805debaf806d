import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { metricRows } from "../../src/observe/MetricRows.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { outputOf } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { scraped, sum } from "../support/Exposition.ts"
import { user } from "../support/Items.ts"
import { socket } from "../support/SocketClient.ts"
import { TestProxy } from "../support/TestProxy.ts"

/** Each proxy has metrics of its own. */
const alone = Effect.provideService(Metric.MetricRegistry, new Map())

describe("/metrics", () => {
  it.effect("has every metric of the table from the start, but for series that nothing was counted in", () =>
    Effect.gen(function* () {
      const names = new Set((yield* scraped).map(({ name }) => name.replace(/_(bucket|sum|count)$/, "")))
      const whenCounted = [
        "respool_turns_total",
        "respool_evictions_total",
        "respool_retries_total",
        "respool_forwards_total",
        "respool_takeovers_total",
        "respool_nodes",
        "respool_turns_of_others",
      ]
      assert.sameMembers(
        [...names].filter((name) => /^(respool|process)_/.test(name)),
        Object.keys(metricRows).filter((name) => !whenCounted.includes(name)),
      )
    }).pipe(Effect.provide(TestProxy.layerBrief()), alone),
  )

  it.effect("says how each turn travelled and ended, and what it sent and used", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* post({ input: [user("One")] })
      yield* post({ input: [user("One"), ...outputOf(first), user("Two")] })
      yield* simulator.failNext({ _tag: "Error", at: 0, status: 400, code: "bad_thing", message: "No." })
      yield* post({ input: [user("Other")] })
      const all = yield* scraped
      const turns = (labels: Readonly<Record<string, string>>) => sum(all, "respool_turns_total", labels)
      const common = { upstream: "default", transport: "websocket" }
      const begun = { ...common, connection: "new", input: "full", reason: "no_checkpoint" }
      const continued = { ...common, connection: "reused", input: "suffix", reason: "continued" }
      assert.strictEqual(turns({ ...begun, outcome: "completed" }), 1)
      assert.strictEqual(turns({ ...continued, outcome: "completed" }), 1)
      assert.strictEqual(turns({ outcome: "upstream_error" }), 1)
      assert.strictEqual(turns({}), 3)
      const { counters } = simulator
      // Of a turn that failed the upstream tells no usage.
      const told = simulator.turns.filter(({ status }) => status === "completed")
      const used = (of: "cachedTokens" | "inputTokens") => told.reduce((sum, turn) => sum + turn[of], 0)
      const tokens = (kind: string) => sum(all, "respool_tokens_total", { kind })
      assert.deepStrictEqual(
        [tokens("input"), tokens("cached"), tokens("output")],
        [used("inputTokens"), used("cachedTokens"), counters.outputTokens],
      )
      const followUps = sum(all, "respool_follow_up_tokens_total", { kind: "input" })
      assert.strictEqual(followUps, told[1]?.inputTokens)
      assert.strictEqual(sum(all, "respool_upstream_input_bytes_total"), counters.inputBytes)
      assert.isAbove(sum(all, "respool_client_input_bytes_total"), counters.inputBytes)
      assert.strictEqual(sum(all, "respool_dials_total", { outcome: "opened" }), counters.upgrades)
      for (const name of ["turn", "first_event", "lease"]) {
        const count = sum(all, `respool_${name}_seconds_count`)
        assert.strictEqual(count, name === "first_event" ? 2 : 3, name)
        assert.strictEqual(sum(all, `respool_${name}_seconds_bucket`, { le: "+Inf" }), count)
      }
    }).pipe(Effect.provide(TestProxy.layerBrief()), alone),
  )

  it.effect("says of a turn that no attempt was made of that it did not travel", () =>
    Effect.gen(function* () {
      yield* post({ input: [user("One")], background: true })
      const { status } = yield* post({ input: [user("One")] })
      assert.strictEqual(status, 502)
      const all = yield* scraped
      const nowhere = { upstream: "none", transport: "none", connection: "none", input: "none", reason: "none" }
      assert.strictEqual(sum(all, "respool_turns_total", { ...nowhere, outcome: "dial_failed" }), 1)
      assert.strictEqual(sum(all, "respool_turns_total", { transport: "http", reason: "background" }), 1)
      assert.strictEqual(sum(all, "respool_dials_total", { outcome: "dial_failed" }), 1)
      assert.strictEqual(sum(all, "respool_evictions_total", { reason: "dial_failed" }), 1)
      // Nothing was sent, so nothing is counted as sent.
      assert.strictEqual(sum(all, "respool_upstream_input_bytes_total"), 0)
    }).pipe(
      Effect.provide(TestProxy.layerProxy({ upstreamUrl: "http://127.0.0.1:1/v1", transport: "websocket" })),
      alone,
    ),
  )

  it.effect("shows what goes on now", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* post({ input: [user("One")] })
      const client = yield* socket()
      yield* simulator.failNext({ _tag: "Hold", at: 3 })
      yield* client.send({ input: [user("Two")] })
      yield* client.next
      const running = yield* scraped
      assert.strictEqual(sum(running, "respool_turns_running"), 1)
      assert.strictEqual(sum(running, "respool_client_sockets"), 1)
      assert.strictEqual(sum(running, "respool_connections", { state: "leased" }), 1)
      assert.strictEqual(sum(running, "respool_connections"), simulator.counters.openSockets)
      assert.isAbove(sum(running, "process_resident_memory_bytes"), 1e6)
      assert.approximately(sum(running, "process_start_time_seconds"), performance.timeOrigin / 1000, 1)
      yield* simulator.release
      yield* client.answer
      const over = yield* scraped
      assert.strictEqual(sum(over, "respool_turns_running"), 0)
      assert.strictEqual(sum(over, "respool_connections", { state: "leased" }), 0)
      assert.strictEqual(sum(over, "respool_connections", { state: "idle" }), simulator.counters.openSockets)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief()), alone),
  )
})
