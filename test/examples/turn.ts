/**
 * A turn of an app's own, begun from bytes: it needs no request and no server.
 */
import { Effect, Fiber } from "effect"
import { type Caller, Intake, Turns, type TurnSink } from "respool"

/** Gives the finished output items. Needs what `Server.layerTurns` provides. */
export const ask = Effect.fnUntraced(function* (caller: Caller, input: string) {
  const intake = yield* Intake
  const turns = yield* Turns
  const bytes = new TextEncoder().encode(JSON.stringify({ model: "gpt-5.5", input }))
  const turn = yield* intake.read({ caller, headers: {}, bytes })
  const sink: TurnSink = { route: () => {}, head: () => {}, event: () => true, onDrain: (resume) => resume() }
  const running = yield* turns.start(turn, sink, () => {})
  return (yield* Fiber.join(running)).output
})
