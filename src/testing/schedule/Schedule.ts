/**
 * Describes what happens to a pool as a schedule: a list of steps in plain data, with a text form that can be replayed.
 *
 * The text has one step for each of its lines; `#` begins a comment. A `&` at the end lets the next step follow at
 * once, before any fiber has run; `&3` lets three fiber slices run first. Without it everything settles. Every sublist
 * of a schedule is a schedule: a step that fits nothing (the end of a turn that is not running) does nothing, so a
 * failing schedule shrinks freely. The steps call a conversation a `line`, which nothing else in respool does.
 *
 *     limits total=2 scope=2 line=1 full=wait
 *     order 0
 *     lease 1 a1 line 2
 *     cancel 1 &
 *     lease 2 a1
 *     pass 6s
 */
import { Effect, Schema } from "effect"

/**
 * Who asks: a scope (a letter) and the credential that it uses now (a digit). Connections are shared only under one
 * key. A new credential is another key of the same scope, and the cap of a scope counts all of its keys.
 */
export type Key = "a1" | "a2" | "b1"

export const keys: ReadonlyArray<Key> = ["a1", "a2", "b1"]

export const scopeOf = (key: Key): string => key.slice(0, 1)

/** How a turn ends by itself: done, done but cut short, or failed at the upstream. */
export type Outcome = "completed" | "incomplete" | "failed"

/** What becomes of a dial: it opens or is refused at once, or hangs until a step or a time-out decides. */
export type DialOutcome = "open" | "refuse" | "hang"

/** Connections are numbered in the order in which they were dialled, from 1. Times are seconds of virtual time. */
export type Action =
  | { readonly _tag: "Lease"; readonly turn: number; readonly key: Key; readonly line: number | undefined }
  | { readonly _tag: "Finish"; readonly turn: number; readonly outcome: Outcome }
  /** Interrupts the turn wherever it is suspended: waiting, dialling, or using its connection. */
  | { readonly _tag: "Cancel"; readonly turn: number }
  /** Says what dials do from now on. */
  | { readonly _tag: "Dials"; readonly outcome: DialOutcome }
  /** Decides a dial that hangs. */
  | { readonly _tag: "Answer"; readonly connection: number; readonly outcome: "open" | "refuse" }
  | { readonly _tag: "Close"; readonly connection: number }
  /** The upstream sends a frame; on an idle connection it belongs to no turn. */
  | { readonly _tag: "Frame"; readonly connection: number }
  | { readonly _tag: "Pass"; readonly seconds: number }
  /** The configuration of a key was reloaded: its idle connections must go. */
  | { readonly _tag: "Reload"; readonly key: Key }
  | { readonly _tag: "Shutdown" }

export type Step = Action & {
  /** Fiber slices that run before the next step; undefined: everything settles. */
  readonly slices?: number | undefined
}

/** The caps of the pool, and what it does when they are reached. */
export interface Limits {
  readonly total: number
  readonly perScope: number
  readonly perLine: number
  readonly full: "wait" | "refuse"
}

export interface Schedule {
  readonly limits: Limits
  /** Seeds the order in which fibers that are ready run; 0 is first come, first served. */
  readonly order: number
  readonly steps: ReadonlyArray<Step>
}

export class ScheduleSyntaxError extends Schema.TaggedError<ScheduleSyntaxError>()("ScheduleSyntaxError", {
  line: Schema.Number,
  message: Schema.String,
}) {}

const printAction = (step: Step): string => {
  switch (step._tag) {
    case "Lease":
      return `lease ${step.turn} ${step.key}${step.line === undefined ? "" : ` line ${step.line}`}`
    case "Finish":
      return `finish ${step.turn} ${step.outcome}`
    case "Cancel":
      return `cancel ${step.turn}`
    case "Dials":
      return `dials ${step.outcome}`
    case "Answer":
      return `${step.outcome} ${step.connection}`
    case "Close":
      return `close ${step.connection}`
    case "Frame":
      return `frame ${step.connection}`
    case "Pass":
      return `pass ${step.seconds}s`
    case "Reload":
      return `reload ${step.key}`
    case "Shutdown":
      return "shutdown"
  }
}

const printStep = (step: Step): string =>
  step.slices === undefined ? printAction(step) : `${printAction(step)} &${step.slices === 0 ? "" : step.slices}`

/** The text form; `note` adds a comment to a step. */
export const print = (schedule: Schedule, note?: (index: number) => string | undefined): string => {
  const { limits, order, steps } = schedule
  const caps = `limits total=${limits.total} scope=${limits.perScope} line=${limits.perLine} full=${limits.full}`
  const lines = steps.map((step, index) => {
    const comment = note?.(index)
    return comment === undefined ? printStep(step) : `${printStep(step)}  # ${comment}`
  })
  return [caps, `order ${order}`, ...lines].join("\n")
}

const patterns: ReadonlyArray<readonly [RegExp, (groups: ReadonlyArray<string>) => Action]> = [
  [
    /^lease (\d+) (a1|a2|b1)(?: line (\d+))?$/,
    ([turn, key, line]) => ({
      _tag: "Lease",
      turn: Number(turn),
      key: key as Key,
      line: line === undefined ? undefined : Number(line),
    }),
  ],
  [
    /^finish (\d+) (completed|incomplete|failed)$/,
    ([turn, outcome]) => ({ _tag: "Finish", turn: Number(turn), outcome: outcome as Outcome }),
  ],
  [/^cancel (\d+)$/, ([turn]) => ({ _tag: "Cancel", turn: Number(turn) })],
  [/^dials (open|refuse|hang)$/, ([outcome]) => ({ _tag: "Dials", outcome: outcome as DialOutcome })],
  [
    /^(open|refuse) (\d+)$/,
    ([outcome, connection]) => ({
      _tag: "Answer",
      connection: Number(connection),
      outcome: outcome === "open" ? "open" : "refuse",
    }),
  ],
  [/^close (\d+)$/, ([connection]) => ({ _tag: "Close", connection: Number(connection) })],
  [/^frame (\d+)$/, ([connection]) => ({ _tag: "Frame", connection: Number(connection) })],
  [/^pass (\d+)s$/, ([seconds]) => ({ _tag: "Pass", seconds: Number(seconds) })],
  [/^reload (a1|a2|b1)$/, ([key]) => ({ _tag: "Reload", key: key as Key })],
  [/^shutdown$/, () => ({ _tag: "Shutdown" })],
]

const parseStep = (text: string): Step | undefined => {
  const together = /^(.*?)\s+&(\d*)$/.exec(text)
  const action = together?.[1] ?? text
  for (const [pattern, make] of patterns) {
    const groups = pattern.exec(action)
    if (groups === null) continue
    const step = make(groups.slice(1))
    return together === null ? step : { ...step, slices: Number(together[2]) }
  }
  return undefined
}

/** Caps that no schedule reaches. */
const noLimits: Limits = { total: 1_000, perScope: 1_000, perLine: 1_000, full: "refuse" }

/** Reads what `print` wrote; `limits` and `order` may be left out. */
export const parse = Effect.fn("Schedule.parse")(function* (text: string) {
  let limits = noLimits
  let order = 0
  const steps: Array<Step> = []
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/#.*$/, "").trim()
    if (line === "") continue
    const caps = /^limits total=(\d+) scope=(\d+) line=(\d+) full=(wait|refuse)$/.exec(line)
    const ordered = /^order (\d+)$/.exec(line)
    if (caps !== null) {
      const [, total, perScope, perLine, full] = caps
      limits = {
        total: Number(total),
        perScope: Number(perScope),
        perLine: Number(perLine),
        full: full === "wait" ? "wait" : "refuse",
      }
    } else if (ordered !== null) order = Number(ordered[1])
    else {
      const step = parseStep(line)
      if (step === undefined) {
        return yield* new ScheduleSyntaxError({ line: index + 1, message: `line ${index + 1} is no step: ${line}` })
      }
      steps.push(step)
    }
  }
  return { limits, order, steps } satisfies Schedule
})
