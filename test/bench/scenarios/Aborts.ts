/**
 * What an abort storm leaves behind: turns that the client gives up after their first event, 64 at a time.
 */
import { Effect } from "effect"
import { settledMemory } from "../harness/Memory.ts"
import { startLoad, startUpstream } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { available, rounds } from "../harness/Scenario.ts"
import type { TargetName } from "../harness/Targets.ts"
import { startTarget } from "../harness/Targets.ts"
import { fewer } from "./Idle.ts"

export const aborts: Scenario = {
  name: "aborts",
  run: Effect.fnUntraced(function* (settings) {
    const { size } = settings
    const turns = { full: 64_000, quick: 4000, smoke: 20 }[size]
    const warming = { full: 2000, quick: 500, smoke: 5 }[size]
    const settling = size === "smoke" ? { least: 0, most: 0 } : { least: 8, most: 30 }
    const measure = (target: TargetName) =>
      Effect.gen(function* () {
        const load = yield* startLoad
        const upstream = yield* startUpstream
        const { headers, pids, url } = yield* startTarget(target, upstream.url, settings)
        const storm = (turns: number) =>
          load.aborts({ _tag: "Abort", url, headers, pids, upstream: upstream.url, turns, streams: 64 })
        yield* storm(1)
        const started = yield* settledMemory(pids, settling)
        yield* storm(warming)
        const before = yield* settledMemory(pids, settling)
        const result = yield* storm(turns)
        const after = yield* settledMemory(pids, settling)
        return {
          "RSS after ÷ before": after.rss / before.rss,
          "RSS after ÷ at start": after.rss / started.rss,
          "start MB": started.rss / 1e6,
          "before MB": before.rss / 1e6,
          "after MB": after.rss / 1e6,
          "cpu µs/abort": result.cpuNanos / 1000 / turns,
          "aborts/s": (turns / result.wallMs) * 1000,
          "sockets left": result.socketsLeft,
          reached: result.aborted,
        } satisfies Figures
      })
    const { skipped, targets } = yield* available(["respool", "floor"], settings)
    const entries = targets.map((target): Entry => ({ target, measure: measure(target) }))
    const about = `${turns} turns given up after their first event, 64 at a time, each in a session of its own; before: after ${warming} of them`
    const fewerRounds = { ...settings, rounds: fewer(settings.rounds, size) }
    return yield* rounds(entries, { scenario: "aborts", about, skipped }, fewerRounds, { warmUp: false })
  }),
}
