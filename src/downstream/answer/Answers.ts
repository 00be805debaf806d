/**
 * Starts turns and answers them, as a stream of events or as one object, as soon as the answer's status is certain.
 *
 * The head of a stream leaves with the first event, or after a while without one; from then on comments keep the stream
 * alive. A client that goes away before its answer interrupts `answer`, and with it the turn; afterwards the stream's
 * `cancel` ends the turn.
 */
import type { Cause } from "effect"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { HttpServerError } from "effect/http"
import { Settings } from "../../config/Settings.ts"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import type { Deadline } from "../../turn/Deadlines.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import type { TurnEnd, TurnRequest } from "../../turn/Executor.ts"
import { Observing } from "../../turn/record/Observing.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { Turns } from "../../turn/Turns.ts"
import type { Answer } from "./Answer.ts"
import { buffered } from "./Buffered.ts"
import { DecisionHeaders } from "./DecisionHeaders.ts"
import { FailedResponse } from "./FailedResponse.ts"
import { JsonAnswer } from "./JsonAnswer.ts"
import { SseAnswer } from "./SseAnswer.ts"
import { failureEvent } from "./TurnFailure.ts"

/** Notes that the request was interrupted by its client, and not by the server that stops. */
const whenLeft =
  (noted: { left?: boolean }) =>
  <A>(self: Effect.Effect<A>) =>
    Effect.onExit(self, (exit) =>
      Effect.sync(() => {
        noted.left = Exit.isFailure(exit) && exit.cause.reasons.some(isOfClient)
      }),
    )

const isOfClient = ({ annotations }: Cause.Reason<unknown>) => annotations.has(HttpServerError.ClientAbort.key)

export interface AnswerOptions {
  /** Called in the step in which a streamed answer ends. */
  readonly ended: () => void
  /** Called when the turn is over, and with it the need for the request's body. */
  readonly released: () => void
}

/** The head leaves at the latest so many milliseconds after the request was sent upstream. */
const headWithin = 2_000
/** A quiet stream sends a comment every so many milliseconds. */
const heartbeatEvery = 15_000

export class Answers extends Context.Service<
  Answers,
  {
    /** Succeeds as soon as the status is certain; interrupting it before that cancels the turn. */
    readonly answer: (turn: TurnRequest, options: AnswerOptions) => Effect.Effect<Answer>
  }
>()("respool/downstream/Answers") {
  static readonly layerNoDeps = Layer.effect(
    Answers,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const { decisionHeaders, maxBuffered, streamError } = yield* Settings
  const turns = yield* Turns
  yield* (yield* Observing).gauge("buffered_bytes", () => buffered.bytes)
  const clock = yield* Clock.Clock
  const deadlines = yield* Deadlines.make
  const heading = { now: () => monotonicMillisOf(clock), decisions: decisionHeaders === "on" }

  const stream = Effect.fnUntraced(function* (turn: TurnRequest, { ended, released }: AnswerOptions) {
    const running: { fiber?: Fiber.Fiber<TurnEnd, TurnError>; pulse?: Deadline; left?: boolean } = {}
    const beat = () => {
      running.pulse = deadlines.after(heartbeatEvery, () => {
        sse.heartbeat()
        beat()
      })
    }
    const failing = streamError === "failed" ? new FailedResponse(turn) : undefined
    const sse = new SseAnswer(new DecisionHeaders(turn, heading), maxBuffered, {
      failure: (error, sequence) => failing?.events(error, sequence) ?? failureEvent(error, sequence),
      sent: () => {
        running.pulse = deadlines.after(headWithin, () => {
          sse.open()
          beat()
        })
      },
      cancel: () => running.fiber?.interruptUnsafe(),
      ended,
    })
    const fiber = yield* turns.start(turn, failing?.noting(sse) ?? sse, (exit) => {
      running.pulse?.cancel()
      released()
      const told = sse.end(exit)
      return running.left === true ? undefined : told
    })
    running.fiber = fiber
    return yield* Deferred.await(sse.answer).pipe(
      whenLeft(running),
      Effect.onInterrupt(() => Fiber.interrupt(fiber)),
    )
  })

  const json = Effect.fnUntraced(function* (turn: TurnRequest, { released }: AnswerOptions) {
    const answer = new JsonAnswer(new DecisionHeaders(turn, heading))
    const given: { answer?: Answer; left?: boolean } = {}
    const fiber = yield* turns.start(turn, answer, (exit) => {
      released()
      given.answer = answer.answer(exit)
      return given.left === true ? undefined : { status: given.answer.status, inStream: false }
    })
    const exit: Exit.Exit<TurnEnd, TurnError> = yield* Fiber.await(fiber).pipe(
      whenLeft(given),
      Effect.onInterrupt(() => Fiber.interrupt(fiber)),
    )
    return given.answer ?? answer.answer(exit)
  })

  return Answers.of({
    answer: (turn, options) => (turn.stream ? stream(turn, options) : json(turn, options)),
  })
})
