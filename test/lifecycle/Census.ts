/**
 * Counts what a program holds: fibers through Effect's runtime metrics, timers on the heap.
 */
import { heapStats } from "bun:jsc"
import { Context, Effect, Layer, Metric } from "effect"

export class Census extends Context.Service<
  Census,
  {
    /** Fibers that have started and not ended, of those that run under `Census.layer`. */
    readonly fibers: () => number
    /** Waits until so many fibers are left. */
    readonly settled: (fibers: number) => Effect.Effect<void>
    /** Timer objects that survive a collection. A few may be kept by the collector's caution. */
    readonly timers: () => number
  }
>()("test/Census") {
  static readonly layer = Layer.effectContext(
    Effect.sync(() => {
      let live = 0
      const waiters = new Set<() => void>()
      const metrics: Metric.FiberRuntimeMetricsService = {
        recordFiberStart: () => {
          live++
        },
        recordFiberEnd: () => {
          live--
          for (const waiter of waiters) waiter()
        },
      }
      const census = Census.of({
        fibers: () => live,
        settled: (fibers) =>
          Effect.callback((resume) => {
            const waiter = () => {
              if (live !== fibers) return
              waiters.delete(waiter)
              resume(Effect.void)
            }
            waiters.add(waiter)
            waiter()
          }),
        timers: () => {
          Bun.gc(true)
          return heapStats().objectTypeCounts["Timeout"] ?? 0
        },
      })
      return Context.make(Census, census).pipe(Context.add(Metric.FiberRuntimeMetrics, metrics))
    }),
  )
}
