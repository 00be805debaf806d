/**
 * Plays the steps of a turn to a client: all at once if none has to wait, else in one fiber.
 *
 * The time of a step is counted from the turn's start, so that many short waits add up to the pace that was asked for.
 */
import { Clock, Effect } from "effect"
import type { Frame, Step } from "../Faults.ts"
import type { Switches } from "../SimulatorState.ts"
import type { Turn } from "./Turn.ts"

/** The client's side of a turn. */
export interface Sink {
  readonly send: (frame: Frame) => void
  /** The terminal frame. */
  readonly end: (step: Extract<Step, { readonly _tag: "End" }>) => void
  /** An event beside the turn's. */
  readonly extra: (frame: Frame) => void
  readonly text: (text: string) => void
  readonly binary: () => void
  readonly close: (code: number, reason: string) => void
  readonly reset: () => void
  readonly finish: () => void
  /** The turn sends nothing more. True: it ends all the same. */
  readonly stall: (ended: boolean) => boolean
}

const waits: ReadonlySet<Step["_tag"]> = new Set(["Stall", "Hold", "Delay"])

/** Whether the turn can be played without waiting. */
export const isImmediate = (turn: Turn, { eventLatency, latency, tokensPerSecond }: Switches): boolean =>
  latency <= 0 && eventLatency <= 0 && tokensPerSecond <= 0 && !turn.steps.some(({ _tag }) => waits.has(_tag))

const act = (turn: Turn, step: Step, sink: Sink): void => {
  switch (step._tag) {
    case "Send":
      return sink.send(step.frame)
    case "End":
      turn.end(step)
      return sink.end(step)
    case "Extra":
      return sink.extra(step.frame)
    case "Text":
      return sink.text(step.text)
    case "Binary":
      return sink.binary()
    case "Close":
      turn.abandon()
      return sink.close(step.code, step.reason)
    case "Reset":
      turn.abandon()
      return sink.reset()
    case "Finish":
      turn.abandon()
      return sink.finish()
  }
}

export const playNow = (turn: Turn, sink: Sink): void => {
  for (const step of turn.steps) act(turn, step, sink)
}

/** `held` is what a `Hold` waits for. An interruption abandons the turn. */
export const play = (switches: Switches, turn: Turn, sink: Sink, held: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const { eventLatency, latency, tokensPerSecond } = switches
    let ended = false
    const tokenMillis = tokensPerSecond > 0 ? 1000 / tokensPerSecond : 0
    let due = clock.currentTimeMillisUnsafe() + latency - eventLatency
    for (const step of turn.steps) {
      if (step._tag === "Stall") {
        if (sink.stall(ended)) return
        return yield* Effect.never
      }
      if (step._tag === "Hold") {
        yield* held
        due = Math.max(due, clock.currentTimeMillisUnsafe())
        continue
      }
      if (step._tag === "Delay") {
        due += step.millis
        continue
      }
      due += eventLatency + (step._tag === "Send" && step.frame.token ? tokenMillis : 0)
      const wait = due - clock.currentTimeMillisUnsafe()
      if (wait > 0) yield* Effect.sleep(wait)
      ended ||= step._tag === "End"
      act(turn, step, sink)
    }
  }).pipe(Effect.onInterrupt(() => Effect.sync(turn.abandon)))
