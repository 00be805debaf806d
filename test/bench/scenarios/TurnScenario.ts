/**
 * A scenario of turns on processes that live through all its rounds.
 */
import { Effect } from "effect"
import type { AnswerScript, TurnsJob, TurnsResult } from "../Protocol.ts"
import { startLoad, startUpstream } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario, Size } from "../harness/Scenario.ts"
import { available, quantile, rounds } from "../harness/Scenario.ts"
import type { TargetName } from "../harness/Targets.ts"
import { startTarget } from "../harness/Targets.ts"

/** What a job is, apart from where it goes. */
export type Shape = Omit<TurnsJob, "_tag" | "url" | "openAt" | "headers" | "pids" | "upstream" | "upstreamPid">

export const single: AnswerScript = { kind: "single", deltas: 0, perSecond: 0, burst: true }
/** Reasoning and a function call, in nine events. */
export const call: AnswerScript = { kind: "call", deltas: 0, perSecond: 0, burst: true }
export const message: AnswerScript = { kind: "message", deltas: 1, perSecond: 0, burst: true }

export const shape = (change: Partial<Shape>): Shape => ({
  opening: message,
  answer: message,
  naming: "session",
  continues: true,
  sessions: 1,
  active: change.sessions ?? 1,
  epochs: 1,
  turnsPerSession: 1,
  streams: 1,
  front: "http",
  history: 0,
  added: 0,
  members: 0,
  measureOpening: false,
  keep: false,
  ...change,
})

export interface TurnScenario {
  readonly name: string
  readonly about: string
  readonly targets: ReadonlyArray<TargetName>
  /** By variant; one without a name is the scenario itself. */
  readonly shapes: (size: Size) => Readonly<Record<string, Shape>>
  readonly figures: (result: TurnsResult) => Figures
  /** Each variant has processes of its own. */
  readonly apart?: boolean
}

/** Figures of every scenario of turns: that neither the load nor the upstream was the limit. */
const busy = ({ loadBusy, upstreamBusy }: TurnsResult): Figures => ({
  "load busy %": loadBusy * 100,
  "upstream busy %": upstreamBusy * 100,
})

export const perTurn = (result: TurnsResult): Figures => ({
  "cpu µs/turn": result.cpuNanos / 1000 / result.turns,
  "first ms p50": quantile(result.firstMs, 0.5),
  "first ms p99": quantile(result.firstMs, 0.99),
  "turn ms p50": quantile(result.totalMs, 0.5),
  "body KB": result.bodyBytes / 1000 / result.turns,
  "up KB": result.bytesUp / 1000 / result.turns,
  dials: result.upgrades,
  ...busy(result),
})

export const perEvent = (result: TurnsResult): Figures => ({
  "cpu µs/event": result.cpuNanos / 1000 / result.events,
  "events/s": (result.events / result.wallMs) * 1000,
  "first ms p50": quantile(result.firstMs, 0.5),
  "first ms p99": quantile(result.firstMs, 0.99),
  dials: result.upgrades,
  ...busy(result),
})

/** To see that a scenario runs, two targets will do. */
const cheap = (target: TargetName) => target === "respool" || target === "floor"

export const turnScenario = ({ about, apart = false, figures, name, shapes, targets }: TurnScenario): Scenario => ({
  name,
  run: Effect.fnUntraced(function* (settings) {
    const load = yield* startLoad
    const measurable = yield* available(settings.size === "smoke" ? targets.filter(cheap) : targets, settings)
    const start = Effect.fnUntraced(function* (target: TargetName) {
      const upstream = yield* startUpstream
      return { target, upstream, ...(yield* startTarget(target, upstream.url, settings)) }
    })
    const startAll = Effect.forEach(measurable.targets, start)
    const shared = apart ? undefined : yield* startAll
    const entries: Array<Entry> = []
    for (const [variant, shape] of Object.entries(shapes(settings.size))) {
      for (const { headers, pids, target, upstream, url } of shared ?? (yield* startAll)) {
        const job: TurnsJob = {
          _tag: "Turns",
          ...shape,
          url,
          headers,
          pids,
          upstream: upstream.url,
          upstreamPid: upstream.pid,
        }
        const measure = Effect.map(load.turns(job), figures)
        entries.push(variant === "" ? { target, measure } : { target, variant, measure })
      }
    }
    const { skipped } = measurable
    return yield* rounds(entries, { scenario: name, about, skipped }, settings, { warmUp: true })
  }),
})
