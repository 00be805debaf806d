/**
 * How long a target takes from being spawned to the end of its first turn.
 */
import { Clock, Effect } from "effect"
import { startLoad, startUpstream } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { available, rounds } from "../harness/Scenario.ts"
import type { TargetName } from "../harness/Targets.ts"
import { startTarget } from "../harness/Targets.ts"
import { shape } from "./TurnScenario.ts"

export const coldStart: Scenario = {
  name: "cold-start",
  run: Effect.fnUntraced(function* (settings) {
    const load = yield* startLoad
    const upstream = yield* startUpstream
    const measure = (target: TargetName) =>
      Effect.gen(function* () {
        const startedAt = yield* Clock.currentTimeNanos
        const { headers, pids, url } = yield* startTarget(target, upstream.url, settings)
        const listeningAt = yield* Clock.currentTimeNanos
        const result = yield* load.turns({
          _tag: "Turns",
          ...shape({ measureOpening: true, continues: false, keep: true }),
          url,
          headers,
          pids,
          upstream: upstream.url,
          upstreamPid: upstream.pid,
        })
        const listening = Number(listeningAt - startedAt) / 1e6
        return {
          // The load waits a moment before it measures, so the turn is added as it measured it.
          "start ms": listening + (result.totalMs[0] ?? 0),
          "listening ms": listening,
          "turn ms": result.totalMs[0] ?? 0,
        } satisfies Figures
      })
    const { skipped, targets } = yield* available(["respool", "floor", "nginx", "portkey"], settings)
    const entries = targets.map((target): Entry => ({ target, measure: measure(target) }))
    const about = "from spawning the process to the end of its first turn"
    return yield* rounds(entries, { scenario: "cold-start", about, skipped }, settings, { warmUp: false })
  }),
}
