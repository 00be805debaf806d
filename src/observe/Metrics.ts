/**
 * Counts what happens, as the metrics of `MetricRows.ts`: at a turn's end in one go, and nothing per event.
 *
 * Every label is bounded: by literals of the sources, and by the upstreams that the settings name. A model's name is
 * shown only where the settings name that model.
 */
import { Effect, Layer } from "effect"
import { Observing } from "../turn/record/Observing.ts"
import type { TurnRecord } from "../turn/record/TurnRecord.ts"
import { eventLoopLag } from "./EventLoopLag.ts"
import type { MetricName } from "./MetricRows.ts"
import { metricRows, secondsBounds } from "./MetricRows.ts"
import * as GenAi from "./GenAi.ts"
import { Family, makeRegistry } from "./MetricSeries.ts"

/** What a turn that no attempt was made of has in place of how it travelled. */
const none = "none"

const make = Effect.gen(function* () {
  const observing = yield* Observing
  const registry = yield* makeRegistry
  const counters = (name: MetricName) =>
    new Family(metricRows[name].labels, (attributes) => registry.counter(name, metricRows[name].about, attributes))
  const histogram = (name: MetricName) => registry.histogram(name, metricRows[name].about, {}, secondsBounds)
  const gauge = (name: MetricName, read: () => number, labels: Readonly<Record<string, string>> = {}) =>
    registry.gauge(name, metricRows[name].about, labels, read)

  const turns = counters("respool_turns_total")
  const tokens = counters("respool_tokens_total")
  const followUps = counters("respool_follow_up_tokens_total")
  const dials = counters("respool_dials_total")
  const evictions = counters("respool_evictions_total")
  const retries = counters("respool_retries_total")
  const forwards = counters("respool_forwards_total")
  const takeovers = counters("respool_takeovers_total")
  const forward = histogram("respool_forward_seconds")
  // Made at once, so that they are there with 0 before anything has happened.
  const clientBytes = counters("respool_client_input_bytes_total").of()
  const upstreamBytes = counters("respool_upstream_input_bytes_total").of()
  const [input, cached] = [tokens.of("input"), tokens.of("cached")]
  const [output, reasoning] = [tokens.of("output"), tokens.of("reasoning")]
  const [followUpInput, followUpCached] = [followUps.of("input"), followUps.of("cached")]
  const opened = dials.of("opened")
  const lease = histogram("respool_lease_seconds")
  const dial = histogram("respool_dial_seconds")
  const firstEvent = histogram("respool_first_event_seconds")
  const turn = histogram("respool_turn_seconds")

  const countForGenAi = yield* GenAi.counting(registry)

  const count = (record: TurnRecord) => {
    const { firstMs, leaseMs, outcome, usage, way } = record
    const series =
      way === undefined
        ? turns.of(none, none, none, none, none, outcome)
        : turns.of(way.upstream, way.transport, way.connection, way.input, way.reason, outcome)
    series.count++
    clientBytes.count += record.clientInputBytes
    upstreamBytes.count += record.upstreamInputBytes
    if (usage !== undefined) {
      input.count += usage.input
      cached.count += usage.cached
      output.count += usage.output
      reasoning.count += usage.reasoning
      if (record.followsUp) {
        followUpInput.count += usage.input
        followUpCached.count += usage.cached
      }
    }
    if (leaseMs !== undefined) lease.observe(leaseMs / 1000)
    if (firstMs !== undefined) firstEvent.observe(firstMs / 1000)
    turn.observe(record.totalMs / 1000)
    countForGenAi(record)
  }

  yield* observing.listen({
    turnEnded: count,
    dialled: ({ millis, outcome }) => {
      if (outcome === "opened") opened.count++
      else dials.of(outcome).count++
      dial.observe(millis / 1000)
    },
    evicted: ({ reason }) => void evictions.of(reason).count++,
    forwarded: ({ outcome, takenMs }) => {
      forwards.of(outcome).count++
      forward.observe(takenMs / 1000)
    },
    takenOver: ({ reason }) => void takeovers.of(reason).count++,
    retried: ({ reason }) => void retries.of(reason).count++,
    offered: ({ labels, name, read }) => gauge(`respool_${name}`, read, labels),
  })

  yield* observing.gauge("event_loop_lag_seconds", yield* eventLoopLag)
  gauge("process_resident_memory_bytes", () => process.memoryUsage.rss())
  gauge("process_start_time_seconds", () => startedAt)
})

const startedAt = performance.timeOrigin / 1000

/** Counts what `Observing` tells. */
export const layer = Layer.effectDiscard(make)
