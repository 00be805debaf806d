/**
 * Runs and supervises the turns: one fiber each, from the request to the terminal event.
 *
 * A turn outlives the handler of its request, since its answer streams on. So its fiber belongs to this service, and a
 * client that goes away interrupts it. When the server stops, the listener drains first; closing this service's scope
 * then interrupts the turns that are left, before anything they use is closed. Nothing here knows how clients speak:
 * HTTP, a socket, or a call in the same process each bring a sink.
 */
import type { Fiber } from "effect"
import { Cause, Clock, Context, Effect, Exit, FiberSet, Layer, LogLevel } from "effect"
import { monotonicMillisOf } from "./Elapsed.ts"
import type { TurnEnd, TurnRequest, TurnSink } from "./Executor.ts"
import { Executor } from "./Executor.ts"
import * as Sinks from "./Sinks.ts"
import type { TurnError } from "./TurnError.ts"
import { failureOf } from "./TurnError.ts"
import * as Flood from "./record/Flood.ts"
import { Observing } from "./record/Observing.ts"
import { Tracing } from "./record/Tracing.ts"
import { fieldsOf, isBad } from "./record/TurnLine.ts"
import type { Told, TurnRecord } from "./record/TurnRecord.ts"
import { TurnReport } from "./TurnReport.ts"

export class Turns extends Context.Service<
  Turns,
  {
    /**
     * Begins a turn and sends its events to `sink`. `onEnd` is called once, in the step in which the turn is over:
     * nothing reaches the sink after it, and the request's body is not needed any more. It may say what the client was
     * told, for the log. Interrupting the fiber cancels the turn.
     */
    readonly start: (
      turn: TurnRequest,
      sink: TurnSink,
      onEnd: (exit: Exit.Exit<TurnEnd, TurnError>) => Told | undefined | void,
    ) => Effect.Effect<Fiber.Fiber<TurnEnd, TurnError>>
    readonly running: Effect.Effect<number>
  }
>()("respool/turn/Turns") {
  static readonly layerNoDeps = Layer.effect(
    Turns,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const executor = yield* Executor
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)
  const fibers = yield* FiberSet.make<TurnEnd, TurnError>()

  const observing = yield* Observing
  const bounded = yield* Flood.make
  const tracing = yield* Tracing
  let running = 0
  yield* observing.gauge("turns_running", () => running)

  const log = (record: TurnRecord, exit: Exit.Exit<TurnEnd, TurnError>) => {
    const failure = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? failureOf(exit.cause) : undefined
    const bad = isBad(record, failure)
    // A line that nobody reads is not put together.
    const whole = Effect.flatMap(LogLevel.isEnabled(bad ? "Warn" : "Info"), (enabled) =>
      enabled
        ? Effect.annotateLogs(bad ? Effect.logWarning("turn") : Effect.logInfo("turn"), fieldsOf(record, failure))
        : Effect.void,
    )
    const line = failure === undefined ? whole : bounded(`turn ${record.outcome}`, whole)
    return failure?.reason === "internal"
      ? Effect.andThen(line, Effect.logError("a turn failed unexpectedly", failure.cause))
      : line
  }

  return Turns.of({
    start: (turn, sink, onEnd) =>
      Effect.suspend(() => {
        const report = new TurnReport(turn, sink, now)
        const trace = tracing?.(turn)
        const traced =
          trace === undefined ? turn : { ...turn, headers: { ...turn.headers, ...trace.headers }, trace: trace.headers }
        running++
        observing.turnStarted(report)
        return Sinks.failureOfTurn(turn, executor.execute(traced, Sinks.ofTurn(turn, report))).pipe(
          Effect.onExit((exit) => {
            running--
            const record = report.record(exit, onEnd(exit) ?? undefined)
            observing.turnEnded(record)
            trace?.end(record)
            return log(record, exit)
          }),
          FiberSet.run(fibers),
        )
      }),
    running: FiberSet.size(fibers),
  })
})
