/**
 * Reads the metrics of Effect's registry, as whoever exports them does.
 */
import { Effect, Metric } from "effect"

/** The counters of a metric, by the value of its only label. */
export const counted = (name: string) =>
  Effect.map(Metric.snapshot, (metrics) =>
    Object.fromEntries(
      metrics.flatMap(({ attributes, id, state }): ReadonlyArray<readonly [string, number]> =>
        id === name && "count" in state && Number(state.count) > 0
          ? [[Object.values(attributes ?? {}).join(" "), Number(state.count)]]
          : [],
      ),
    ),
  )
