/**
 * Counts what a program holds (fibers, timers, and what it has gauges for), and checks that it gives back what it took.
 *
 * Fibers are counted through Effect's runtime metrics, for what runs under `Census.layer`. Timers are those of the
 * runtime: on Bun the objects that survive a collection, on Node and Deno the active ones.
 */
import { Context, Effect, Layer, Metric, Schema, type Scope } from "effect"

/** A count for each gauge's name, with `fibers` and `timers` always. */
export type Holdings = Readonly<Record<string, number>>

/** Counts that only the program itself can make: `{ sockets: () => simulator.counters.openSockets }`. */
export type Gauges = Readonly<Record<string, () => number>>

/** The program holds something that it did not hold before. */
export class CensusError extends Schema.TaggedError<CensusError>()("CensusError", {
  message: Schema.String,
  before: Schema.Record(Schema.String, Schema.Number),
  after: Schema.Record(Schema.String, Schema.Number),
}) {}

export class Census extends Context.Service<
  Census,
  {
    /** Fibers that have started and not ended. */
    readonly fibers: () => number
    /** Waits until exactly so many fibers are left. */
    readonly settled: (fibers: number) => Effect.Effect<void>
    /** Timers that exist. On Bun a few that have ended may be counted, since the collector keeps what may be in use. */
    readonly timers: () => number
    readonly take: (gauges?: Gauges) => Holdings
    /**
     * Compares when the scope closes, and dies with a `CensusError` if more is held than now. What is added to the
     * scope after this closes before it. `slack`: how many timers may stay. Default 8.
     */
    readonly balanced: (gauges?: Gauges, slack?: number) => Effect.Effect<void, never, Scope.Scope>
  }
>()("respool/testing/Census") {
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
      const take = (gauges: Gauges = {}): Holdings => ({
        fibers: live,
        timers: runtimeTimers(),
        ...Object.fromEntries(Object.entries(gauges).map(([name, count]) => [name, count()])),
      })
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
            return Effect.sync(() => waiters.delete(waiter))
          }),
        timers: runtimeTimers,
        take,
        balanced: (gauges, slack = 8) =>
          Effect.asVoid(
            Effect.acquireRelease(
              Effect.sync(() => take(gauges)),
              (before) => Effect.suspend(() => compare(before, take(gauges), slack)),
            ),
          ),
      })
      return Context.make(Census, census).pipe(Context.add(Metric.FiberRuntimeMetrics, metrics))
    }),
  )
}

const compare = (before: Holdings, after: Holdings, slack: number): Effect.Effect<void> => {
  const more = Object.entries(after).filter(
    ([name, count]) => count > (before[name] ?? 0) + (name === "timers" ? slack : 0),
  )
  if (more.length === 0) return Effect.void
  const message = more.map(([name, count]) => `${count} ${name}, ${before[name] ?? 0} before`).join("; ")
  return Effect.die(new CensusError({ message: `not given back: ${message}`, before, after }))
}

interface BunRuntime {
  readonly gc: (synchronously: boolean) => void
}

interface HeapStats {
  readonly heapStats: () => { readonly objectTypeCounts: Readonly<Record<string, number | undefined>> }
}

interface NodeProcess {
  readonly getActiveResourcesInfo?: () => ReadonlyArray<string>
  readonly getBuiltinModule?: (name: string) => unknown
}

const runtimeTimers = (): number => {
  const { Bun, process } = globalThis as { readonly Bun?: BunRuntime; readonly process?: NodeProcess }
  if (Bun === undefined) return process?.getActiveResourcesInfo?.().filter((name) => name === "Timeout").length ?? 0
  // An import of this module would fail on other runtimes than Bun.
  const jsc = process?.getBuiltinModule?.("bun:jsc") as HeapStats | undefined
  Bun.gc(true)
  return jsc?.heapStats().objectTypeCounts["Timeout"] ?? 0
}
