import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { ask, outputOf } from "../support/Ask.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { attributesOf, makeCollector } from "../support/Collector.ts"
import { serve } from "../support/Command.ts"
import { eventually } from "../support/EventLoop.ts"
import { user } from "../support/Items.ts"

const environment = Layer.merge(NodeFileSystem.layer, Simulator.layer({ script: agent({ rounds: 0 }) }))

const traceId = "0af7651916cd43dd8448eb211c80319c"
const parentId = "b7ad6b7169203331"
const traced = { traceparent: `00-${traceId}-${parentId}-01`, tracestate: "vendor=a" }

/** `respool serve` that sends to a collector, in short steps. */
const collected = Effect.fnUntraced(function* (more: Readonly<Record<string, string>> = {}) {
  const collector = yield* makeCollector
  const running = yield* serve({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_METRIC_EXPORT_INTERVAL: "100",
    OTEL_BSP_SCHEDULE_DELAY: "50",
    ...more,
  })
  const turn = (
    headers: Readonly<Record<string, string>> = {},
    key: string | null = "test-key-mark",
    before: ReadonlyArray<JsonObject> = [],
  ) =>
    ask(`${running.url}/responses`, {
      ...(key === null ? {} : { key }),
      headers: { "session-id": "tidy-up", ...headers },
      body: { model: "gpt-5.5", input: [...before, user("prompt-mark")] },
    })
  return { collector, running, turn }
})

const why = leftOut(import.meta.url, "it starts the command line for each of five tests")

describe("A collector that OTEL_EXPORTER_OTLP_ENDPOINT names", () => {
  it.effect("gets one span of each turn, which joins the client's trace and reaches the upstream", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { collector, turn } = yield* collected()
      // The first opens a connection, the second uses it, the third goes over HTTP.
      const answer = yield* turn(traced)
      const before = [user("prompt-mark"), ...outputOf(answer)]
      yield* turn({ ...traced, "x-request-id": "second" }, "test-key-mark", before)
      yield* turn({ ...traced, "x-request-id": "third" }, null)
      yield* simulator.failNext({ _tag: "Error", at: 0, status: 500, code: "server_error", message: "prompt-mark" })
      yield* turn()
      yield* eventually(
        () => collector.spans.length >= 4,
        () => `four spans: ${collector.spans.length}`,
      )
      const { spans } = collector
      assert.strictEqual(spans.length, 4)
      for (const span of spans.slice(0, 3)) {
        assert.deepInclude(span, { traceId, parentSpanId: parentId, name: "chat gpt-5.5" })
        assert.deepInclude(attributesOf(span), {
          "gen_ai.operation.name": "chat",
          "gen_ai.request.model": "gpt-5.5",
          "respool.outcome": "completed",
        })
        const times = [span.startTimeUnixNano, ...span.events.map((event) => event.timeUnixNano), span.endTimeUnixNano]
        assert.deepStrictEqual([...times].sort(), times)
        assert.isBelow(Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e9, 60)
      }
      const events = spans.map((span) => span.events.map(({ name }) => name))
      assert.deepStrictEqual(events.slice(0, 3), [
        ["dial", "lease", "send", "first event"],
        ["lease", "send", "first event"],
        ["lease", "send", "first event"],
      ])
      const [first, , third, failed] = spans
      const reached = (span: typeof first) => `00-${span?.traceId}-${span?.spanId}-01`
      assert.deepInclude(simulator.connections[0]?.headers, { traceparent: reached(first), tracestate: "vendor=a" })
      const overHttp = simulator.turns.find(({ transport }) => transport === "http")
      assert.deepInclude(overHttp?.headers, { traceparent: reached(third), tracestate: "vendor=a" })
      // Without a trace of the client's, the turn begins one.
      assert.isUndefined(failed?.parentSpanId)
      assert.notStrictEqual(failed?.traceId, traceId)
      assert.strictEqual(failed?.status.code, 2)
      assert.deepInclude(attributesOf(failed ?? { attributes: [] }), { "error.type": "upstream_error" })
      for (const text of collector.texts) assert.notMatch(text, /prompt-mark|test-key-mark/)
    }).pipe(Effect.scoped, Effect.provide(environment)),
  )

  it.effect.skipIf(why !== undefined)(
    `gets no span of a trace that is not sampled, and the upstream is told so${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { collector, running, turn } = yield* collected()
        yield* turn({ traceparent: `00-${traceId}-${parentId}-00` })
        for (const wrong of ["", "00-0-0-01", `ff-${traceId}-${parentId}-01`, `00-${"0".repeat(32)}-${parentId}-01`]) {
          yield* turn({ traceparent: wrong })
        }
        yield* running.signal("SIGTERM")
        yield* running.exitCode
        assert.match(
          simulator.connections[0]?.headers["traceparent"] ?? "",
          new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`),
        )
        assert.strictEqual(collector.spans.length, 4)
        for (const span of collector.spans) assert.notStrictEqual(span.traceId, traceId)
      }).pipe(Effect.scoped, Effect.provide(environment)),
  )

  it.effect("gets the metrics, to the last turn, under the names of today's dashboards", () =>
    Effect.gen(function* () {
      const { collector, running, turn } = yield* collected()
      yield* turn()
      yield* turn()
      yield* running.signal("SIGTERM")
      yield* running.exitCode
      assert.strictEqual(collector.sum("respool_turns_total", { outcome: "completed" }), 2)
      assert.strictEqual(collector.sum("respool_turn_seconds"), 2)
      assert.strictEqual(collector.sum("gen_ai.client.operation.duration"), 2)
      assert.strictEqual(collector.sum("gen_ai.client.token.usage", { "gen_ai.token.type": "input" }), 2)
      assert.strictEqual(collector.sum("gen_ai.server.time_to_first_token"), 2)
      assert.isUndefined(collector.names().find((name) => name.startsWith("gen_ai.client.inference")))
      for (const text of collector.texts) assert.notMatch(text, /prompt-mark|test-key-mark|tidy-up"[^]*"metrics/)
    }).pipe(Effect.scoped, Effect.provide(environment)),
  )

  it.effect.skipIf(why !== undefined)(`gets the conventions' new names where they are asked for${saying(why)}`, () =>
    Effect.gen(function* () {
      const { collector, running, turn } = yield* collected({
        OTEL_SEMCONV_STABILITY_OPT_IN: "http,gen_ai_latest_experimental",
      })
      yield* turn()
      yield* running.signal("SIGTERM")
      yield* running.exitCode
      const usage = "gen_ai.client.inference.usage"
      const tokens = (kind: string) => collector.sum("respool_tokens_total", { kind })
      assert.strictEqual(collector.sum("gen_ai.client.inference.duration"), 1)
      assert.strictEqual(collector.sum(`${usage}.input_tokens`), tokens("input"))
      assert.strictEqual(collector.sum(`${usage}.output_tokens`), tokens("output"))
      assert.isAbove(tokens("output"), 0)
      assert.strictEqual(collector.sum("gen_ai.server.request.duration"), 1)
      assert.notInclude(collector.names(), "gen_ai.client.token.usage")
    }).pipe(Effect.scoped, Effect.provide(environment)),
  )

  it.effect.skipIf(why !== undefined)(`stops the start where its address can't be read${saying(why)}`, () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(collected({ OTEL_EXPORTER_OTLP_ENDPOINT: "not an address" }))
      assert.match(String(exit), /respool: OpenTelemetry's environment \(OTEL_…\): .*OTEL_EXPORTER_OTLP_ENDPOINT/)
    }).pipe(Effect.scoped, Effect.provide(environment)),
  )
})
