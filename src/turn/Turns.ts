/**
 * Runs and supervises the turns: one fiber each, from the request to the terminal event.
 *
 * A turn outlives the handler of its request, since its answer streams on. So its fiber belongs to this service, and a
 * client that goes away interrupts it. When the server stops, the listener drains first; closing this service's scope
 * then interrupts the turns that are left, before anything they use is closed. Nothing here knows how clients speak:
 * HTTP, a socket, or a call in the same process each bring a sink.
 */
import type { Fiber } from "effect"
import { Cause, Clock, Context, Effect, Exit, FiberSet, Layer } from "effect"
import { monotonicMillisOf } from "./Elapsed.ts"
import type { TurnEnd, TurnRequest, TurnSink } from "./Executor.ts"
import { Executor } from "./Executor.ts"
import * as Sinks from "./Sinks.ts"
import type { TurnError } from "./TurnError.ts"
import { failureOf } from "./TurnError.ts"
import { TurnReport } from "./TurnReport.ts"

export class Turns extends Context.Service<
  Turns,
  {
    /**
     * Begins a turn and sends its events to `sink`. `onEnd` is called once, in the step in which the turn is over:
     * nothing reaches the sink after it, and the request's body is not needed any more. Interrupting the fiber cancels
     * the turn.
     */
    readonly start: (
      turn: TurnRequest,
      sink: TurnSink,
      onEnd: (exit: Exit.Exit<TurnEnd, TurnError>) => void,
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

  const log = (report: TurnReport, exit: Exit.Exit<TurnEnd, TurnError>) => {
    const failure = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? failureOf(exit.cause) : undefined
    const fields = report.fields(statusOf(exit, report))
    // The upstream's words may repeat what it was sent, so only respool's are logged.
    if (failure !== undefined && failure.reason !== "upstream_error") fields["error"] = failure.message
    const line = Effect.annotateLogs(Effect.logInfo("turn"), fields)
    return failure?.reason === "internal"
      ? Effect.andThen(line, Effect.logError("a turn failed unexpectedly", failure.cause))
      : line
  }

  return Turns.of({
    start: (turn, sink, onEnd) =>
      Effect.suspend(() => {
        const report = new TurnReport(turn, sink, now)
        return Sinks.failureOfTurn(turn, executor.execute(turn, Sinks.ofTurn(turn, report))).pipe(
          Effect.onExit((exit) => {
            onEnd(exit)
            return log(report, exit)
          }),
          FiberSet.run(fibers),
        )
      }),
    running: FiberSet.size(fibers),
  })
})

const word = (type: string): string => type.replace("response.", "")

/** How the turn ended, in one word: the terminal event's type, the error's reason, or `cancelled`. */
const statusOf = (exit: Exit.Exit<TurnEnd, TurnError>, { ended }: TurnReport): string => {
  if (Exit.isSuccess(exit)) return word(exit.value.type)
  // A client that leaves after the terminal event has cancelled nothing.
  if (Cause.hasInterruptsOnly(exit.cause)) return ended === undefined ? "cancelled" : word(ended)
  return failureOf(exit.cause).reason
}
