/**
 * What an idle session holds in memory: after a turn of 60 KB, and after one of 1 MB.
 *
 * Every round has fresh processes. What they held before is read after 50 short turns, so that the code is loaded; what
 * they hold after, when it has stopped to change.
 */
import { Effect } from "effect"
import { settledMemory } from "../harness/Memory.ts"
import { startLoad, startUpstream } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario, Size } from "../harness/Scenario.ts"
import { available, rounds } from "../harness/Scenario.ts"
import type { TargetName } from "../harness/Targets.ts"
import { startTarget } from "../harness/Targets.ts"
import { shape } from "./TurnScenario.ts"

/** Memory scenarios take long and vary little. */
export const fewer = (count: number, size: Size): number => Math.min(count, size === "full" ? 3 : 1)

const warming = 50

const idle = (options: {
  readonly name: string
  readonly bytes: number
  readonly sessions: Readonly<Record<Size, ReadonlyArray<number>>>
}): Scenario => ({
  name: options.name,
  run: Effect.fnUntraced(function* (settings) {
    const { size } = settings
    const settling = size === "smoke" ? { least: 0, most: 0 } : { least: 8, most: 30 }
    const measure = (target: TargetName, sessions: number) =>
      Effect.gen(function* () {
        const load = yield* startLoad
        const upstream = yield* startUpstream
        const { headers, pids, url } = yield* startTarget(target, upstream.url, settings)
        const open = (sessions: number, history: number) =>
          load.turns({
            _tag: "Turns",
            ...shape({ sessions, epochs: 0, turnsPerSession: 0, streams: 8, history, keep: true }),
            url,
            headers,
            pids,
            upstream: upstream.url,
            upstreamPid: upstream.pid,
          })
        yield* open(size === "smoke" ? 2 : warming, 0)
        const before = yield* settledMemory(pids, settling)
        yield* open(sessions, options.bytes)
        const after = yield* settledMemory(pids, settling)
        return {
          "KB/session": (after.pss - before.pss) / 1000 / sessions,
          "RSS KB/session": (after.rss - before.rss) / 1000 / sessions,
          "base MB": before.pss / 1e6,
          "after MB": after.pss / 1e6,
        } satisfies Figures
      })
    const { skipped, targets } = yield* available(["respool", "floor"], settings)
    const entries = options.sessions[size].flatMap((sessions) =>
      targets.map((target): Entry => ({
        target,
        variant: String(sessions),
        measure: measure(target, sessions),
      })),
    )
    const about = `memory of each idle session after a turn of ${options.bytes / 1000} KB; PSS, minus what the process held before`
    const fewerRounds = { ...settings, rounds: fewer(settings.rounds, size) }
    return yield* rounds(entries, { scenario: options.name, about, skipped }, fewerRounds, { warmUp: false })
  }),
})

/** What a client's own socket holds that says nothing: since it was opened, or after a short turn. */
const idleSockets: Scenario = {
  name: "sockets-idle",
  run: Effect.fnUntraced(function* (settings) {
    const { size } = settings
    const settling = size === "smoke" ? { least: 0, most: 0 } : { least: 8, most: 30 }
    const sockets = { full: 5000, quick: 500, smoke: 5 }[size]
    const measure = (target: TargetName, asks: boolean) =>
      Effect.gen(function* () {
        const load = yield* startLoad
        const upstream = yield* startUpstream
        const { headers, pids, url } = yield* startTarget(target, upstream.url, settings)
        const job = { _tag: "Sockets", url, headers, upstream: upstream.url, asks } as const
        yield* load.sockets({ ...job, sockets: size === "smoke" ? 2 : warming })
        const before = yield* settledMemory(pids, settling)
        yield* load.sockets({ ...job, sockets })
        const after = yield* settledMemory(pids, settling)
        return {
          "KB/socket": (after.pss - before.pss) / 1000 / sockets,
          "RSS KB/socket": (after.rss - before.rss) / 1000 / sockets,
          "base MB": before.pss / 1e6,
        } satisfies Figures
      })
    const { skipped, targets } = yield* available(["respool", "floor"], settings)
    const entries = ([false, true] as const).flatMap((asks) =>
      targets.map((target): Entry => ({
        target,
        variant: asks ? "asked" : "opened",
        measure: measure(target, asks),
      })),
    )
    const about = `memory of each of ${sockets} clients' WebSockets: opened, or idle after a turn; PSS, minus what the process held before`
    const fewerRounds = { ...settings, rounds: fewer(settings.rounds, size) }
    return yield* rounds(entries, { scenario: "sockets-idle", about, skipped }, fewerRounds, { warmUp: false })
  }),
}

export const idleScenarios: ReadonlyArray<Scenario> = [
  idle({ name: "idle-60KB", bytes: 60_000, sessions: { full: [5000, 10_000], quick: [500], smoke: [5] } }),
  idle({ name: "idle-1MB", bytes: 1_000_000, sessions: { full: [1000], quick: [100], smoke: [2] } }),
  idleSockets,
]
