/**
 * What it costs that a turn lands on another node than its session's: the same turns at the node that has the session, and
 * at one that hands them on, in one run. The CPU is that of both nodes.
 */
import { Effect } from "effect"
import type { AnswerScript, TurnsJob } from "../Protocol.ts"
import { startLoad, startUpstream } from "../harness/Processes.ts"
import type { Entry, Scenario } from "../harness/Scenario.ts"
import { available, rounds } from "../harness/Scenario.ts"
import { freePort, startTarget } from "../harness/Targets.ts"
import { perEvent, shape } from "./TurnScenario.ts"

export const forward: Scenario = {
  name: "forward",
  run: Effect.fnUntraced(function* (settings) {
    const { size } = settings
    const { skipped } = yield* available(["respool"], settings)
    const load = yield* startLoad
    const upstream = yield* startUpstream
    const ports = yield* Effect.all([freePort, freePort])
    const [owner, entry] = yield* Effect.all(
      ports.map((port) =>
        startTarget("respool", upstream.url, {
          ...settings,
          env: {
            RESPOOL_CLUSTER_ADDRESS: `http://127.0.0.1:${port}`,
            RESPOOL_CLUSTER_SECRET: "a-secret-of-two-nodes",
            RESPOOL_CLUSTER_NODES: ports.map((other) => `http://127.0.0.1:${other}`).join(","),
          },
        }),
      ),
    )
    if (owner === undefined || entry === undefined) return yield* Effect.die("there are two nodes")
    const kinds = {
      // One turn after the other, so that none waits for another's start.
      alone: { streams: 1, deltas: 1, perSecond: 0, turns: { full: 200, quick: 60, smoke: 1 } },
      paced: { streams: 32, deltas: 200, perSecond: 40, turns: { full: 2, quick: 1, smoke: 1 } },
      unpaced: { streams: 32, deltas: 500, perSecond: 0, turns: { full: 8, quick: 2, smoke: 1 } },
    }
    const entries = Object.entries(kinds).flatMap(([kind, { deltas, perSecond, streams, turns }]) =>
      [owner, entry].map((node): Entry => {
        const isSmall = size === "smoke"
        const answer: AnswerScript = {
          kind: "message",
          deltas: isSmall ? 5 : deltas,
          perSecond: isSmall ? perSecond * 10 : perSecond,
          burst: false,
        }
        const count = isSmall ? Math.min(streams, 4) : streams
        const job: TurnsJob = {
          _tag: "Turns",
          ...shape({ answer, sessions: count, active: count, streams: count, turnsPerSession: turns[size] }),
          url: node.url,
          openAt: owner.url,
          headers: node.headers,
          pids: [...owner.pids, ...entry.pids],
          upstream: upstream.url,
          upstreamPid: upstream.pid,
        }
        const variant = `${kind}, ${node === owner ? "where it lands" : "handed on"}`
        return { target: "respool", variant, measure: Effect.map(load.turns(job), perEvent) }
      }),
    )
    const about = "two nodes: one turn at a time; 32 streams of 200 deltas at 40 a second; 32 streams of 500 deltas"
    return yield* rounds(entries, { scenario: "forward", about, skipped }, settings, { warmUp: true })
  }),
}
