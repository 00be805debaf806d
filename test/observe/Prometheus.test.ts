import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Redacted } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { mixedTurns } from "../support/MixedTurns.ts"
import { makePrometheus, prometheus } from "../support/Prometheus.ts"
import { runs } from "../support/Runs.ts"
import { TestProxy } from "../support/TestProxy.ts"

const why =
  prometheus === undefined
    ? "for Prometheus is not installed (apt-get install prometheus)"
    : leftOut(import.meta.url, "it starts a Prometheus")

describe("A Prometheus that scrapes the proxy", () => {
  it.effect.skipIf(why !== undefined)(
    `has the upstream's own counts after many turns of every kind${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { url } = yield* TestProxy
        const token = "operator-token"
        const { query, scraped } = yield* makePrometheus(new URL(url).host, token)
        yield* scraped
        const { inputBytes, turns } = yield* mixedTurns(runs(1_000, 150))
        yield* scraped
        const one = (text: string) => Effect.map(query(text), (values) => Object.values(values)[0] ?? 0)
        const { connections, counters, turns: records } = simulator
        const ended = (...statuses: ReadonlyArray<string>) => records.filter(({ status }) => statuses.includes(status))
        // Of a response that failed no usage is told.
        const used = ended("completed", "incomplete")
        const total = (of: "cachedTokens" | "inputTokens") => used.reduce((sum, record) => sum + record[of], 0)
        const closed = connections.filter(({ open }) => !open)
        const expected: Readonly<Record<string, number>> = {
          "sum(respool_turns_total)": turns,
          "sum(respool_turns_total) + sum(respool_retries_total)": counters.websocketTurns + counters.httpTurns,
          'sum(respool_turns_total{outcome="completed"})': ended("completed").length,
          'sum(respool_turns_total{outcome="incomplete"})': ended("incomplete").length,
          'sum(respool_turns_total{outcome="failed"})': ended("failed").length,
          'sum(respool_turns_total{outcome="upstream_error"})': ended("error").length,
          // What broke off once more was not tried again.
          'sum(respool_retries_total) + (sum(respool_turns_total{outcome="upstream_closed"}) or vector(0))':
            ended("abandoned").length,
          'sum(respool_turns_total{input="suffix"})': records.filter(
            // What was tried again went up in full at last.
            ({ request, status }) => request?.["previous_response_id"] !== undefined && status !== "abandoned",
          ).length,
          respool_client_input_bytes_total: inputBytes,
          respool_upstream_input_bytes_total: counters.inputBytes,
          'respool_tokens_total{kind="input"}': total("inputTokens"),
          'respool_tokens_total{kind="cached"}': total("cachedTokens"),
          'respool_dials_total{outcome="opened"}': counters.upgrades,
          "sum(respool_connections)": counters.openSockets,
          "sum(respool_evictions_total)": closed.length,
          respool_turn_seconds_count: turns,
          respool_turns_running: 0,
          respool_turns_waiting: 0,
          respool_client_sockets: 0,
        }
        for (const [text, value] of Object.entries(expected)) {
          assert.strictEqual(yield* one(text), value, text)
        }
        for (const text of Object.keys(expected).slice(0, 15)) assert.isAbove(yield* one(text), 0, text)
        assert.isAbove(yield* one("histogram_quantile(0.5, respool_turn_seconds_bucket)"), 0)
      }).pipe(
        Effect.scoped,
        Effect.provide([
          NodeFileSystem.layer,
          TestProxy.layerBrief({ operatorToken: Redacted.make("operator-token"), maxConnectionsPerScope: 40 }),
        ]),
        Effect.provideService(Metric.MetricRegistry, new Map()),
      ),
    60_000,
  )
})
