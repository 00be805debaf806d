/**
 * Runs the turns: one fiber each, from the request to the terminal event, supervised in one place.
 *
 * A turn outlives the handler that began it, since its body streams on; so its fiber belongs to this service, not to the
 * request. The client going away interrupts it. The listener drains first when the server stops; closing this service's
 * scope then interrupts what is left, before anything the turns use is closed.
 */
import { Cause, Clock, Context, Deferred, Effect, Exit, Fiber, FiberSet, Layer } from "effect"
import type { HttpServerResponse } from "effect/http"
import { Settings } from "../config/Settings.ts"
import type { Deadline } from "./Deadlines.ts"
import * as Deadlines from "./Deadlines.ts"
import type { TurnEnd, TurnRequest, TurnSink } from "./Executor.ts"
import { Executor, withObserver } from "./Executor.ts"
import type { TurnError } from "./TurnError.ts"
import { JsonAnswer } from "../downstream/answer/JsonAnswer.ts"
import { SseAnswer } from "../downstream/answer/SseAnswer.ts"
import type { Strike } from "./Redaction.ts"
import { struckError, struckSink } from "./Redaction.ts"
import { failureOf } from "../downstream/answer/TurnFailure.ts"
import { TurnReport } from "./TurnReport.ts"

export interface TurnOptions {
  /** Sees every event before it goes out. */
  readonly observe: ((type: string, text: string) => void) | undefined
  /** Called in the step in which a streamed answer ends. */
  readonly ended: () => void
  /** What of an upstream's refusals the client must not read; undefined: it may read all. */
  readonly strike: Strike | undefined
  /** Called when the turn is over, and with it the need for the request's body. */
  readonly released: () => void
}

/** The head leaves at the latest this long after the request was sent, and so often a quiet stream shows life; in ms. */
const headWithin = 2_000
const heartbeatEvery = 15_000

export class Turns extends Context.Service<
  Turns,
  {
    /** Succeeds with the response as soon as its status is certain; interrupting it before that cancels the turn. */
    readonly answer: (turn: TurnRequest, options: TurnOptions) => Effect.Effect<HttpServerResponse.HttpServerResponse>
    readonly running: Effect.Effect<number>
  }
>()("respool/downstream/Turns") {
  static readonly layerNoDeps = Layer.effect(
    Turns,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const executor = yield* Executor
  const clock = yield* Clock.Clock
  const deadlines = yield* Deadlines.make
  const now = () => clock.currentTimeMillisUnsafe()
  const decisions = settings.decisionHeaders === "on"

  const fibers = yield* FiberSet.make<TurnEnd, TurnError>()

  const log = (report: TurnReport, exit: Exit.Exit<TurnEnd, TurnError>) => {
    const failure = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? failureOf(exit.cause) : undefined
    const defect =
      failure?.reason === "internal" ? Effect.logError("a turn failed unexpectedly", failure.cause) : Effect.void
    return Effect.logInfo("turn").pipe(
      Effect.annotateLogs(report.fields(statusOf(exit, report))),
      // The upstream's own words may repeat what it was sent, so only ours are logged.
      failure === undefined || failure.reason === "upstream_error"
        ? (line) => line
        : Effect.annotateLogs({ error: failure.message }),
      Effect.andThen(defect),
    )
  }

  const execute = (turn: TurnRequest, answer: TurnSink, { observe, strike }: TurnOptions) => {
    const sink = observe === undefined ? answer : withObserver(answer, observe)
    if (strike === undefined) return executor.execute(turn, sink)
    return Effect.mapError(executor.execute(turn, struckSink(sink, strike)), (error) => struckError(error, strike))
  }

  const stream = Effect.fnUntraced(function* (turn: TurnRequest, options: TurnOptions) {
    const report = new TurnReport(turn, now)
    const running: { fiber?: Fiber.Fiber<TurnEnd, TurnError>; pulse?: Deadline } = {}
    const answer = new SseAnswer(report, decisions, settings.maxBuffered, {
      sent: () => {
        running.pulse = deadlines.after(headWithin, () => {
          answer.open()
          beat()
        })
      },
      cancel: () => running.fiber?.interruptUnsafe(),
      ended: options.ended,
    })
    const beat = () => {
      running.pulse = deadlines.after(heartbeatEvery, () => {
        answer.heartbeat()
        beat()
      })
    }
    const fiber = yield* execute(turn, answer, options).pipe(
      Effect.onExit((exit) => {
        running.pulse?.cancel()
        options.released()
        answer.end(exit)
        return log(report, exit)
      }),
      FiberSet.run(fibers),
    )
    running.fiber = fiber
    return yield* Deferred.await(answer.response).pipe(Effect.onInterrupt(() => Fiber.interrupt(fiber)))
  })

  const json = Effect.fnUntraced(function* (turn: TurnRequest, options: TurnOptions) {
    const report = new TurnReport(turn, now)
    const answer = new JsonAnswer(report, decisions)
    const running = yield* execute(turn, answer, options).pipe(
      Effect.onExit((exit) => {
        options.released()
        return log(report, exit)
      }),
      FiberSet.run(fibers),
    )
    const exit = yield* Fiber.await(running).pipe(Effect.onInterrupt(() => Fiber.interrupt(running)))
    return answer.response(exit)
  })

  return Turns.of({
    answer: (turn, options) => (turn.stream ? stream(turn, options) : json(turn, options)),
    running: FiberSet.size(fibers),
  })
})

const word = (type: string): string => type.replace("response.", "")

/** How the turn ended, in one word: the terminal event's, or the error's reason, or `cancelled`. */
const statusOf = (exit: Exit.Exit<TurnEnd, TurnError>, { ended }: TurnReport): string => {
  if (Exit.isSuccess(exit)) return word(exit.value.type)
  // Whoever leaves after the terminal event has cancelled nothing.
  if (Cause.hasInterruptsOnly(exit.cause)) return ended === undefined ? "cancelled" : word(ended)
  return failureOf(exit.cause).reason
}
