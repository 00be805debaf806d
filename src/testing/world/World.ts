/**
 * Holds one pool with its scripted upstream, virtual clock and controlled scheduler: applies steps, lets fibers run,
 * observes.
 */
import { Cause, Clock, Context, Effect, Exit, Layer, Metric, References, Scheduler, Scope } from "effect"
import type { Fiber } from "effect"
import * as Interleaving from "./Interleaving.ts"
import type { Observation, TurnEnd, TurnRecord } from "./Observation.ts"
import { PoolUnderTest } from "../PoolUnderTest.ts"
import type { Limits, Outcome, Schedule, Step } from "../schedule/Schedule.ts"
import { ScriptedUpstream } from "./ScriptedUpstream.ts"
import { VirtualClock } from "./VirtualClock.ts"

interface Turn extends TurnRecord {
  phase: "Pending" | "Leased" | "Ended"
  connection: number | undefined
  leasedAt: number | undefined
  leasedLate: boolean
  end: TurnEnd | undefined
  /** Ends the turn's use of its connection; does nothing where it has none. */
  finish: (outcome: Outcome) => void
}

/** The turn did not end well, for any reason; its lease's scope closes with this failure. */
class TurnFailed {
  readonly _tag = "TurnFailed"
}

class World {
  readonly #context: Context.Context<PoolUnderTest | ScriptedUpstream>
  readonly #pool: PoolUnderTest["Service"]
  readonly #upstream: ScriptedUpstream["Service"]
  readonly #clock: VirtualClock
  readonly #interleaving: Interleaving.Interleaving
  readonly #scope: Scope.Closeable
  readonly #limits: Limits
  readonly #fibers: () => number
  readonly #turns = new Map<number, Turn>()
  readonly #running = new Map<number, Fiber.Fiber<unknown, object | string>>()
  #shutdown = false

  constructor(
    context: Context.Context<PoolUnderTest | ScriptedUpstream>,
    clock: VirtualClock,
    interleaving: Interleaving.Interleaving,
    scope: Scope.Closeable,
    limits: Limits,
    fibers: () => number,
  ) {
    this.#context = context
    this.#pool = Context.get(context, PoolUnderTest)
    this.#upstream = Context.get(context, ScriptedUpstream)
    this.#clock = clock
    this.#interleaving = interleaving
    this.#scope = scope
    this.#limits = limits
    this.#fibers = fibers
  }

  /** Takes effect at once, in this call; fibers that it starts or resumes run later. */
  apply(step: Exclude<Step, { readonly _tag: "Pass" }>) {
    const { script } = this.#upstream
    switch (step._tag) {
      case "Lease":
        return this.#lease(step)
      case "Finish":
        return this.#turns.get(step.turn)?.finish(step.outcome)
      case "Cancel":
        return this.#running.get(step.turn)?.interruptUnsafe()
      case "Dials":
        return script.dials(step.outcome)
      case "Answer":
        return script.answer(step.connection, step.outcome)
      case "Close":
        return script.close(step.connection)
      case "Frame":
        return script.frame(step.connection)
      case "Reload":
        return this.#pool.evictIdle?.(step.key)
      case "Shutdown":
        return this.shutdown()
    }
  }

  shutdown() {
    if (this.#shutdown) return
    this.#shutdown = true
    this.#fork(Scope.close(this.#scope, Exit.void))
  }

  interruptAll() {
    for (const fiber of this.#running.values()) fiber.interruptUnsafe()
  }

  pass(seconds: number): Effect.Effect<void> {
    return this.#clock.adjust(seconds * 1000)
  }

  /** Lets so many fiber slices run. */
  let(slices: number) {
    this.#interleaving.run(slices)
  }

  settle(): Effect.Effect<void> {
    return this.#interleaving.settle
  }

  observe(steps: ReadonlyArray<Step>, finished: boolean): Observation {
    return {
      now: this.#clock.currentTimeMillisUnsafe(),
      limits: this.#limits,
      steps,
      shutdown: this.#shutdown,
      finished,
      turns: [...this.#turns.values()].map((turn) => ({ ...turn })),
      upstream: this.#upstream.records(),
      pool: this.#pool.report?.() ?? {},
      fibers: this.#fibers(),
      timers: this.#clock.timers(),
    }
  }

  #fork<A, E>(effect: Effect.Effect<A, E, PoolUnderTest | ScriptedUpstream>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.#context)(effect)
  }

  #lease({ key, line, turn: number }: Extract<Step, { readonly _tag: "Lease" }>) {
    if (this.#running.has(number)) return
    const turn: Turn = {
      turn: number,
      key,
      line,
      phase: "Pending",
      connection: undefined,
      leasedAt: undefined,
      leasedLate: false,
      end: undefined,
      finish: () => {},
    }
    this.#turns.set(number, turn)
    const fiber = this.#fork(Effect.scoped(this.#use(turn)))
    this.#running.set(number, fiber)
    fiber.addObserver((exit) => {
      this.#running.delete(number)
      turn.phase = "Ended"
      turn.end = Exit.isSuccess(exit) ? exit.value : Cause.hasInterrupts(exit.cause) ? "cancelled" : "failed"
    })
  }

  readonly #use = Effect.fnUntraced({ self: this }, function* (this: World, turn: Turn) {
    const lease = yield* this.#pool.lease(turn)
    turn.phase = "Leased"
    turn.connection = lease.connection
    turn.leasedAt = this.#clock.currentTimeMillisUnsafe()
    turn.leasedLate = this.#shutdown
    const outcome = yield* Effect.callback<Exclude<Outcome, "failed">, TurnFailed>((resume) => {
      const end = (outcome: Outcome) => {
        turn.finish = () => {}
        stop()
        resume(outcome === "failed" ? Effect.fail(new TurnFailed()) : Effect.succeed(outcome))
      }
      const stop = this.#upstream.script.onEnd(lease.connection, () => end("failed"))
      turn.finish = end
      return Effect.sync(() => {
        turn.finish = () => {}
        stop()
      })
    })
    if (lease.finish !== undefined) yield* lease.finish(outcome)
    return outcome
  })
}

/** Builds a pool in a new world. */
export const make = Effect.fnUntraced(function* (
  pool: (limits: Limits) => Layer.Layer<PoolUnderTest, never, ScriptedUpstream>,
  { limits, order }: Schedule,
) {
  const interleaving = Interleaving.make(yield* Scheduler.Scheduler, order)
  let fibers = 0
  const counted: Metric.FiberRuntimeMetricsService = {
    recordFiberStart: () => {
      fibers++
    },
    recordFiberEnd: () => {
      fibers--
    },
  }
  const clock = new VirtualClock(interleaving.settle, yield* Clock.Clock)
  const scope = yield* Scope.make()
  const base = Context.make(Clock.Clock, clock).pipe(
    Context.add(Scheduler.Scheduler, interleaving.scheduler),
    Context.add(Metric.FiberRuntimeMetrics, counted),
    // Thousands of schedules run, with dials that fail: their logs and spans would only cost time.
    Context.add(References.MinimumLogLevel, "None"),
    Context.add(References.TracerEnabled, false),
  )
  const context = yield* Layer.buildWithScope(Layer.provideMerge(pool(limits), ScriptedUpstream.layer), scope).pipe(
    Effect.provideContext(base),
  )
  return new World(Context.merge(base, context), clock, interleaving, scope, limits, () => fibers)
})
