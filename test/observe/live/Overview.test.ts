import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { TurnEntry } from "../../../src/observe/live/TurnEntry.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { ask, outputOf } from "../../support/Ask.ts"
import { post } from "../../support/AskProxy.ts"
import { folder, run } from "../../support/Command.ts"
import { scraped, sum } from "../../support/Exposition.ts"
import { user } from "../../support/Items.ts"
import { frame, frames } from "../../support/LiveFrames.ts"
import { socket } from "../../support/SocketClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const alone = Effect.provideService(Metric.MetricRegistry, new Map())

const turnsOf = (id: string, headers: Readonly<Record<string, string>> = {}) =>
  Effect.flatMap(TestProxy, ({ url }) =>
    Effect.map(
      ask(`${new URL(url).origin}/_respool/turns?request=${encodeURIComponent(id)}`, { headers }),
      ({ json }) => (json?.["turns"] ?? []) as unknown as ReadonlyArray<TurnEntry>,
    ),
  )

/** Three turns: a first one, one that goes on, and one whose history was edited. */
const conversation = Effect.gen(function* () {
  const session = (id: string) => ({ headers: { "session-id": "tidy-up", "x-request-id": id } })
  const first = yield* post({ input: [user("One")] }, session("first"))
  const second = [user("One"), ...outputOf(first), user("Two")]
  const answer = yield* post({ input: second }, session("second"))
  const edited = [user("One"), ...outputOf(first), user("Two, edited"), ...outputOf(answer), user("Three")]
  yield* post({ input: edited }, session("third"))
})

describe("The turns that are over", () => {
  it.effect("are told by the id of their request, with the way and the reason", () =>
    Effect.gen(function* () {
      yield* conversation
      const [first] = yield* turnsOf("first")
      assert.deepStrictEqual(
        [first?.way?.input, first?.way?.reason, first?.way?.connection, first?.session, first?.model, first?.status],
        ["full", "no_checkpoint", "new", "tidy-up", "gpt-5.5", 200],
      )
      const [second] = yield* turnsOf("second")
      assert.deepStrictEqual(
        [second?.way?.input, second?.way?.reason, second?.way?.itemsSent],
        ["suffix", "continued", 1],
      )
      assert.isAbove(second?.saved ?? 0, 0)
      const [third] = yield* turnsOf("third")
      assert.strictEqual(third?.way?.reason, "history_changed")
      assert.deepStrictEqual({ ...third?.way?.changed }, { item: 3, kind: "user_message" })
      assert.deepStrictEqual(yield* turnsOf(third?.turn ?? ""), [third as TurnEntry])
      assert.deepStrictEqual(yield* turnsOf("fourth"), [])
      assert.deepStrictEqual(yield* turnsOf(""), [])
    }).pipe(Effect.provide(TestProxy.layerBrief()), alone),
  )

  it.effect("are told of an id that was used again from the latest on", () =>
    Effect.gen(function* () {
      const again = { headers: { "x-request-id": "again" } }
      for (const model of ["gpt-5.5", "gpt-5.5-mini"]) yield* post({ model, input: [user(model)] }, again)
      assert.deepStrictEqual(
        (yield* turnsOf("again")).map(({ model }) => model),
        ["gpt-5.5-mini", "gpt-5.5"],
      )
    }).pipe(Effect.provide(TestProxy.layerBrief()), alone),
  )
})

describe("respool why", () => {
  it.effect("says of a turn of the running proxy what was sent and why, and of an unknown one that it is", () =>
    Effect.gen(function* () {
      yield* conversation
      const { url } = yield* TestProxy
      const env = { RESPOOL_PORT: new URL(url).port, RESPOOL_OPERATOR_TOKEN: "operator-token" }
      const why = Effect.fnUntraced(function* (
        args: ReadonlyArray<string>,
        given: Readonly<Record<string, string>> = env,
      ) {
        return yield* run(["why", ...args], { cwd: yield* folder, env: given })
      })
      const [told, json, unknown, refused] = yield* Effect.all(
        [
          why(["third"]),
          why(["second", "--json"]),
          why(["fourth"]),
          why(["third"], { ...env, RESPOOL_OPERATOR_TOKEN: "another" }),
        ],
        { concurrency: 2 },
      )
      assert.deepStrictEqual([told.code, told.stderr], [0, ""])
      assert.match(told.stdout, /^reason +history_changed: the conversation is remembered with another history$/m)
      assert.match(told.stdout, /^changed +input\[3\] \(user_message\) is the first item that differs$/m)
      assert.match(told.stdout, /^sent +in full: 7 of 7 items, [\d,]+ bytes$/m)
      assert.match(told.stdout, /^request +third \(turn \S+\)$/m)
      const [second] = JSON.parse(json.stdout) as ReadonlyArray<TurnEntry>
      assert.strictEqual(second?.way?.reason, "continued")
      assert.strictEqual(unknown.code, 1)
      assert.match(unknown.stderr, /^respool: none of the last 1,000 turns has the id fourth \(.*\)\n$/)
      assert.strictEqual(refused.code, 1)
      assert.match(
        refused.stderr,
        /^respool: .* answers 404: RESPOOL_OPERATOR_TOKEN is another than the proxy's, .*\n$/,
      )
    }).pipe(
      Effect.scoped,
      Effect.provide([NodeFileSystem.layer, TestProxy.layerBrief({ operatorToken: Redacted.make("operator-token") })]),
      alone,
    ),
  )
})

describe("A frame", () => {
  it.effect("has the sums that the metrics show", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* conversation
      yield* post({ input: [user("Four")], background: true })
      yield* simulator.failNext({ _tag: "Error", at: 0, status: 400, code: "bad_thing", message: "No." })
      yield* post({ input: [user("Other")] })
      const { gauges, totals, turns } = yield* frame()
      const all = yield* scraped
      const metric = (name: string, labels: Readonly<Record<string, string>> = {}) =>
        sum(all, `respool_${name}`, labels)
      assert.lengthOf(turns, 5)
      assert.deepStrictEqual(
        {
          turns: totals.turns,
          suffix: totals.suffix,
          fallbacks: totals.fallbacks,
          bytes: [totals.clientBytes, totals.upstreamBytes],
          tokens: [totals.inputTokens, totals.cachedTokens],
          followUps: [totals.followUpInputTokens, totals.followUpCachedTokens],
        },
        {
          turns: metric("turns_total"),
          suffix: metric("turns_total", { input: "suffix" }),
          fallbacks: 0,
          bytes: [metric("client_input_bytes_total"), metric("upstream_input_bytes_total")],
          tokens: [metric("tokens_total", { kind: "input" }), metric("tokens_total", { kind: "cached" })],
          followUps: [
            metric("follow_up_tokens_total", { kind: "input" }),
            metric("follow_up_tokens_total", { kind: "cached" }),
          ],
        },
      )
      for (const outcome of ["completed", "upstream_error"]) {
        assert.strictEqual(totals.outcomes[outcome], metric("turns_total", { outcome }), outcome)
      }
      for (const [reason, count] of Object.entries(totals.evictions)) {
        assert.strictEqual(count, metric("evictions_total", { reason }), reason)
      }
      for (const state of ["connecting", "leased", "idle"]) {
        assert.strictEqual(gauges[`connections_${state}`], metric("connections", { state }), state)
      }
      assert.strictEqual(gauges["connections_max"], 1024)
    }).pipe(Effect.provide(TestProxy.layerBrief()), alone),
  )

  it.effect("shows connections with their session and how long their conversation is, and turns under way", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* conversation
      const client = yield* socket({ "session-id": "other" })
      yield* simulator.failNext({ _tag: "Hold", at: 3 })
      yield* client.send({ input: [user("Two")] })
      yield* client.next
      yield* TestClock.adjust("3 seconds")
      const { connections, running } = yield* frame()
      assert.deepStrictEqual(
        connections.rows.map(({ session, state, turns }) => [session, state, turns]),
        [
          ["tidy-up", "idle", 2],
          ["tidy-up", "idle", 1],
          ["other", "leased", 0],
        ],
      )
      assert.isAtLeast(connections.rows[0]?.age ?? 0, 3000)
      assert.deepStrictEqual(
        running.map(({ age, input, model, session, transport }) => [age >= 3000, input, model, session, transport]),
        [[true, "full", "gpt-5.5", "other", "websocket"]],
      )
      const idle = yield* frame("?state=idle&from=1")
      assert.deepStrictEqual([idle.connections.fitting, idle.connections.rows.length], [2, 1])
      yield* simulator.release
      yield* client.answer
      assert.lengthOf((yield* frame()).running, 0)
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief()), alone),
  )

  it.effect("comes every second, and tells each turn once", () =>
    Effect.gen(function* () {
      yield* post({ input: [user("One")] })
      const proxy = yield* TestProxy
      const each = Effect.andThen(
        Effect.provideService(post({ input: [user("Another")] }), TestProxy, proxy),
        TestClock.adjust("1 second"),
      )
      const all = yield* frames(3, { each })
      assert.deepStrictEqual(
        all.map(({ turns }) => turns.map(({ number }) => number)),
        [[1], [2], [3]],
      )
      assert.deepStrictEqual(
        all.map(({ settings }) => settings !== undefined),
        [true, false, false],
      )
    }).pipe(Effect.provide(TestProxy.layerBrief()), alone),
  )

  it.effect("holds no credential and no word of a conversation", () =>
    Effect.gen(function* () {
      const marks = ["mark-in-prompt", "test-key-mark", "operator-mark", "proxy-mark"]
      yield* post({ input: [user("mark-in-prompt")], instructions: "mark-in-prompt" }, { key: "test-key-mark" })
      const shown = JSON.stringify(
        yield* Effect.flatMap(TestProxy, ({ url }) =>
          Effect.promise(async () => {
            const answer = await fetch(`${new URL(url).origin}/_respool/events`, {
              headers: { authorization: "Bearer operator-mark" },
            })
            const reader = answer.body?.getReader()
            const { value } = (await reader?.read()) ?? {}
            await reader?.cancel()
            return new TextDecoder().decode(value)
          }),
        ),
      )
      assert.include(shown, "RESPOOL_OPERATOR_TOKEN")
      for (const mark of marks) assert.notInclude(shown, mark)
    }).pipe(
      Effect.provide(
        TestProxy.layerBrief({
          operatorToken: Redacted.make("operator-mark"),
          proxy: Redacted.make("http://user:proxy-mark@127.0.0.1:9"),
          transport: "http",
        }),
      ),
      alone,
    ),
  )
})
