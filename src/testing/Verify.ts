/**
 * Runs a pool through a schedule and checks it after every step; a failure's message is a schedule that can be
 * replayed.
 */
import { Effect, type Layer, Schema } from "effect"
import { explain } from "./model/Agreement.ts"
import type { Invariant } from "./model/Invariants.ts"
import { invariants } from "./model/Invariants.ts"
import { Model } from "./model/Model.ts"
import type { Observation } from "./world/Observation.ts"
import { show } from "./world/Observation.ts"
import type { PoolUnderTest } from "./PoolUnderTest.ts"
import type { Rules } from "./model/Rules.ts"
import type { Limits, Schedule, Step } from "./schedule/Schedule.ts"
import { parse, print } from "./schedule/Schedule.ts"
import type { ScriptedUpstream } from "./world/ScriptedUpstream.ts"
import * as World from "./world/World.ts"

export interface Subject {
  readonly pool: (limits: Limits) => Layer.Layer<PoolUnderTest, never, ScriptedUpstream>
  /** What the pool promises; with it the model is checked too. */
  readonly rules?: Rules
  /** Default: all of them. */
  readonly invariants?: ReadonlyArray<Invariant>
}

/** What was broken, by name, and after which step. `schedule` is the text to replay. */
export class LifecycleError extends Schema.TaggedError<LifecycleError>()("LifecycleError", {
  broken: Schema.String,
  detail: Schema.String,
  /** The step after which it was seen, counted from 0; equal to `steps`: at the end. */
  step: Schema.Number,
  steps: Schema.Number,
  schedule: Schema.String,
  seen: Schema.String,
}) {
  override get message(): string {
    const where = this.step < this.steps ? `after step ${this.step + 1} of ${this.steps}` : "at the end"
    return `${this.broken}, broken ${where}: ${this.detail}\n\n${this.schedule}\n\n${this.seen}`
  }
}

/** The name under which a contradiction to the model is reported. */
const agreement = "the model and the pool agree after every step"

/** No more steps than these happen together, since the model has to try every order of them. */
const maxTogether = 3

/**
 * Time passes, and the outcome of dials changes, only when everything has settled: neither happens together with a
 * step.
 */
const alone = ({ _tag }: Step) => _tag === "Pass" || _tag === "Dials"

export const verify = Effect.fn("Lifecycle.verify")(function* (subject: Subject, schedule: Schedule) {
  const world = yield* World.make(subject.pool, schedule)
  const { rules = {} } = subject
  let models = subject.rules === undefined ? [] : [new Model(subject.rules, schedule.limits)]
  yield* world.settle()
  let before = world.observe([], false)

  const check = Effect.fnUntraced(function* (step: number, steps: ReadonlyArray<Step>, finished: boolean) {
    const seen = world.observe(steps, finished)
    for (const { check, name } of subject.invariants ?? invariants) {
      const detail = check(seen, before, rules)
      if (detail !== undefined) return yield* failure(schedule, step, name, detail, seen)
    }
    if (models.length > 0 && !finished) {
      const explained = explain(models, steps, seen)
      if (explained.contradiction !== undefined) {
        return yield* failure(schedule, step, agreement, explained.contradiction, seen)
      }
      models = [...explained.models]
    }
    before = seen
  })

  let together: Array<Step> = []
  for (const [index, step] of schedule.steps.entries()) {
    if (step._tag === "Pass") yield* world.pass(step.seconds)
    else world.apply(step)
    together.push(step)
    const next = schedule.steps[index + 1]
    const last = next === undefined || alone(step) || alone(next) || together.length >= maxTogether
    if (step.slices !== undefined && !last) {
      world.let(step.slices)
      continue
    }
    yield* world.settle()
    yield* check(index, together, false)
    together = []
  }
  // Turns end first: a shutdown under running turns is tested only by schedules that have one.
  world.interruptAll()
  yield* world.settle()
  world.shutdown()
  yield* world.settle()
  yield* check(schedule.steps.length, [], true)
}, Effect.scoped)

const failure = (schedule: Schedule, step: number, broken: string, detail: string, seen: Observation) =>
  new LifecycleError({
    broken,
    detail,
    step,
    steps: schedule.steps.length,
    schedule: print(schedule, (index) => (index === step ? detail : undefined)),
    seen: show(seen),
  })

/** Runs the text of a failure again. */
export const replay = Effect.fn("Lifecycle.replay")(function* (subject: Subject, text: string) {
  yield* verify(subject, yield* parse(text))
})
