/**
 * Makes random schedules, as an `Arbitrary` for `it.effect.prop` and for `check`.
 *
 * A schedule shrinks by leaving out steps, then by making each simpler: everything settles between steps, smaller
 * numbers, fewer keys, no lines.
 */
import { Arbitrary, Schema } from "effect"
import type { Action, Key, Limits, Schedule, Step } from "./Schedule.ts"
import { keys as allKeys } from "./Schedule.ts"

export interface ScheduleOptions {
  /** At most so many steps. Default 20. */
  readonly maxSteps?: number
  /** Turns, connections and lines have numbers from 1 to these. Default 4, 5 and 2. */
  readonly turns?: number
  readonly connections?: number
  readonly lines?: number
  /** The keys that turns may have. Default all. */
  readonly keys?: ReadonlyArray<Key>
  /** The caps that the pool knows; the others are set so high that they are never reached. Default all. */
  readonly caps?: ReadonlyArray<"total" | "perScope" | "perLine">
  /** What the pool does at a cap, if it can do only one thing. */
  readonly full?: Limits["full"]
  /** Relative frequency of the kinds of steps; 0 leaves one out. */
  readonly weights?: Partial<Record<Action["_tag"], number>>
}

const int = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

const weights: Record<Action["_tag"], number> = {
  Lease: 30,
  Finish: 20,
  Cancel: 8,
  Dials: 5,
  Answer: 10,
  Close: 6,
  Frame: 4,
  Pass: 12,
  Reload: 3,
  Shutdown: 2,
}

/** Random numbers, from which each kind of step takes those that it needs. */
interface Draw {
  readonly kind: number
  readonly turn: number
  readonly connection: number
  readonly key: number
  readonly line: number
  readonly choice: number
  readonly slices: number
}

const outcomes = ["completed", "completed", "incomplete", "incomplete", "failed"] as const
const dials = ["open", "open", "hang", "hang", "refuse"] as const

const actionOf = (tag: Action["_tag"], keyed: Key, { choice, connection, line, turn }: Draw): Action => {
  switch (tag) {
    case "Lease":
      return { _tag: tag, turn, key: keyed, line: line === 0 ? undefined : line }
    case "Finish":
      return { _tag: tag, turn, outcome: outcomes[choice] ?? "completed" }
    case "Cancel":
      return { _tag: tag, turn }
    case "Dials":
      return { _tag: tag, outcome: dials[choice] ?? "open" }
    case "Answer":
      return { _tag: tag, connection, outcome: choice < 4 ? "open" : "refuse" }
    case "Close":
    case "Frame":
      return { _tag: tag, connection }
    case "Pass":
      return { _tag: tag, seconds: (choice + 1) * 2 }
    case "Reload":
      return { _tag: tag, key: keyed }
    case "Shutdown":
      return { _tag: tag }
  }
}

/** For `it.effect.prop`: long schedules from the start, and as many tries to shrink one as it takes. */
export const thorough = (runs: number): Arbitrary.CheckOptions => ({ runs, size: 20, maxShrinks: 5_000 })

/** Times pass in steps of two seconds, up to ten. */
export const schedules = (options: ScheduleOptions = {}): Arbitrary.Arbitrary<Schedule> => {
  const { caps = ["total", "perScope", "perLine"], connections = 5, lines = 2, maxSteps = 20, turns = 4 } = options
  const keys = options.keys ?? allKeys
  const cap = (name: "total" | "perScope" | "perLine", value: number) => (caps.includes(name) ? value : 1_000)
  const table = { ...weights, ...options.weights }
  const kinds = (Object.keys(weights) as ReadonlyArray<Action["_tag"]>).flatMap((tag) =>
    Array.from({ length: table[tag] }, () => tag),
  )
  const step = Arbitrary.all({
    kind: int(0, kinds.length - 1),
    turn: int(1, turns),
    connection: int(1, connections),
    key: int(0, keys.length - 1),
    line: int(0, lines),
    choice: int(0, 4),
    slices: int(0, 15),
  }).pipe(
    Arbitrary.map((draw): Step => {
      const action = actionOf(kinds[draw.kind] ?? "Lease", keys[draw.key] ?? "a1", draw)
      // Most steps settle before the next one: 12 of 16.
      return draw.slices < 12 ? action : { ...action, slices: draw.slices - 12 }
    }),
  )
  return Arbitrary.all({
    total: int(1, 5),
    perScope: int(1, 4),
    perLine: int(1, 3),
    full: int(0, 1),
    order: int(0, 1_000),
    steps: Arbitrary.array(step, { minLength: 1, maxLength: maxSteps }),
  }).pipe(
    Arbitrary.map(({ full, order, perLine, perScope, steps, total }) => ({
      limits: {
        total: cap("total", total),
        perScope: cap("perScope", perScope),
        perLine: cap("perLine", perLine),
        full: options.full ?? (full === 0 ? "refuse" : "wait"),
      },
      order,
      steps,
    })),
  )
}
