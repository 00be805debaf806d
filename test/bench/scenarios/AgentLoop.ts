/**
 * What an agent gains far from the API: 30 turns over a network of 80 ms there and back and 10 Mbit/s up.
 */
import { Effect } from "effect"
import { startLoad, startRelay, startUpstream } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { available, quantile, rounds } from "../harness/Scenario.ts"
import type { TargetName } from "../harness/Targets.ts"
import { startTarget } from "../harness/Targets.ts"
import { fewer } from "./Idle.ts"
import { call, shape } from "./TurnScenario.ts"

export const agentLoop: Scenario = {
  name: "agent-loop",
  run: Effect.fnUntraced(function* (settings) {
    const { size } = settings
    const turns = { full: 30, quick: 30, smoke: 3 }[size]
    const measure = (target: TargetName) =>
      Effect.gen(function* () {
        const load = yield* startLoad
        const upstream = yield* startUpstream
        const relay = yield* startRelay(upstream.url)
        const { headers, pids, url } = yield* startTarget(target, relay.url, settings)
        const result = yield* load.turns({
          _tag: "Turns",
          ...shape({
            measureOpening: true,
            answer: call,
            turnsPerSession: turns,
            history: 35_000,
            added: 35_000,
            members: 6000,
          }),
          url,
          headers,
          pids,
          upstream: upstream.url,
          upstreamPid: upstream.pid,
        })
        return {
          "wall s": result.wallMs / 1000,
          "first ms p50": quantile(result.firstMs, 0.5),
          "up MB": result.bytesUp / 1e6,
          "needed MB": result.neededBytes / 1e6,
          "up ÷ needed": result.bytesUp / result.neededBytes,
        } satisfies Figures
      })
    const { skipped, targets } = yield* available(["respool", "floor", "direct"], settings)
    const entries = targets.map((target): Entry => ({ target, measure: measure(target) }))
    const about = `${turns} turns, 35 KB of new items each, no model time, through a relay of 80 ms there and back and 10 Mbit/s up; direct is HTTP keep-alive`
    const fewerRounds = { ...settings, rounds: fewer(settings.rounds, size) }
    return yield* rounds(entries, { scenario: "agent-loop", about, skipped }, fewerRounds, { warmUp: false })
  }),
}
