/**
 * What a scenario is, and how its rounds go: each round measures every target once, in an order that rotates.
 */
import type { FileSystem, Scope } from "effect"
import { Console, Effect, Result } from "effect"
import type { BenchError } from "./Child.ts"
import type { TargetName } from "./Targets.ts"
import { usualTargets, whySkipped } from "./Targets.ts"

/** How much work: `smoke` only shows that the harness runs. */
export type Size = "full" | "quick" | "smoke"

export interface Settings {
  readonly size: Size
  /** Measured rounds; one more goes before them where processes outlive a round. */
  readonly rounds: number
  readonly profile: string | undefined
  /** Only these; undefined: all that a scenario has. */
  readonly targets: ReadonlyArray<TargetName> | undefined
  /** Says how far it is, on the standard error. */
  readonly say: (line: string) => Effect.Effect<void>
}

/** Of one round or the median of several; each name says its unit. */
export type Figures = Readonly<Record<string, number>>

export interface Row {
  /** The target, with the variant behind it where a scenario has several. */
  readonly name: string
  readonly rounds: ReadonlyArray<Figures>
  readonly median: Figures
  /** Medians over the floor's in the same scenario and variant. */
  readonly toFloor: Figures
  readonly failed: string | undefined
}

export interface Report {
  readonly scenario: string
  readonly about: string
  readonly rows: ReadonlyArray<Row>
  readonly skipped: ReadonlyArray<string>
}

export interface Scenario {
  readonly name: string
  readonly run: (settings: Settings) => Effect.Effect<Report, BenchError, FileSystem.FileSystem | Scope.Scope>
}

/** One thing to measure in every round. */
export interface Entry {
  readonly target: TargetName
  readonly variant?: string
  readonly measure: Effect.Effect<Figures, BenchError, FileSystem.FileSystem | Scope.Scope>
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Of sorted values; `share` from 0 to 1. */
export const quantile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(Math.ceil(sorted.length * share) - 1, sorted.length - 1)] ?? 0

const medians = (rounds: ReadonlyArray<Figures>): Figures =>
  Object.fromEntries(
    Object.keys(rounds[0] ?? {}).map((name) => [name, median(rounds.map((figures) => figures[name] ?? 0))]),
  )

const ratios = (figures: Figures, floor: Figures | undefined): Figures =>
  floor === undefined
    ? {}
    : Object.fromEntries(
        Object.entries(figures).flatMap(([name, value]) => {
          const base = floor[name] ?? 0
          return base > 0 ? [[name, value / base] as const] : []
        }),
      )

const nameOf = ({ target, variant }: Pick<Entry, "target" | "variant">) =>
  variant === undefined ? target : `${target} ${variant}`

/** Which of the targets can be measured here, and a line for each that can't. */
export const available = Effect.fnUntraced(function* (names: ReadonlyArray<TargetName>, settings: Settings) {
  const chosen: ReadonlyArray<TargetName> = settings.targets ?? usualTargets
  const targets: Array<TargetName> = []
  const skipped: Array<string> = []
  for (const name of names) {
    if (!chosen.includes(name)) continue
    const reason = yield* whySkipped(name)
    if (reason === undefined) targets.push(name)
    else skipped.push(`${name} skipped: ${reason}`)
  }
  return { targets, skipped }
})

/** Runs the rounds. An entry that fails once is not asked again; its row says why. */
export const rounds = Effect.fnUntraced(function* (
  entries: ReadonlyArray<Entry>,
  { scenario, about, skipped }: Pick<Report, "scenario" | "about" | "skipped">,
  { rounds, say, size }: Settings,
  { warmUp }: { readonly warmUp: boolean },
) {
  const measured = entries.map((): Array<Figures> => [])
  const failed = entries.map((): string | undefined => undefined)
  // The engine compiles a long time: what is compared is what a proxy costs that has been up for a while.
  for (let round = warmUp ? (size === "full" ? -3 : -1) : 0; round < rounds; round++) {
    for (let offset = 0; offset < entries.length; offset++) {
      const index = (offset + Math.max(round, 0)) % entries.length
      const entry = entries[index]
      if (entry === undefined || failed[index] !== undefined) continue
      yield* say(`${scenario}: ${nameOf(entry)}, ${round < 0 ? "warm-up" : `round ${round + 1} of ${rounds}`}`)
      const result = yield* Effect.result(Effect.scoped(entry.measure))
      if (Result.isFailure(result)) failed[index] = result.failure.message
      else if (round >= 0) measured[index]?.push(result.success)
    }
  }
  const middle = measured.map(medians)
  const rows = entries.map((entry, index): Row => {
    const floor = entries.findIndex(({ target, variant }) => target === "floor" && variant === entry.variant)
    return {
      name: nameOf(entry),
      rounds: measured[index] ?? [],
      median: middle[index] ?? {},
      toFloor: ratios(middle[index] ?? {}, middle[floor]),
      failed: failed[index],
    }
  })
  return { scenario, about, rows, skipped } satisfies Report
})

export const toStandardError = (line: string): Effect.Effect<void> => Console.error(line)
