/**
 * What an executor tells of a turn, for tests that call one directly, and how the turn failed.
 */
import { Deferred, Effect, Exit, Option } from "effect"
import type { TurnRoute, TurnSink } from "../../src/turn/Executor.ts"
import type { TurnError } from "../../src/turn/TurnError.ts"

/** Shows what it got, and is behind when a test says so: it goes on when the test calls `drained`. */
export class RecordedTurn implements TurnSink {
  readonly routes: Array<TurnRoute> = []
  readonly events: Array<string> = []
  readonly headed = Deferred.makeUnsafe<void>()
  readonly began = Deferred.makeUnsafe<void>()
  bytes = 0
  behind = false
  drained: (() => void) | undefined
  onEvent: (type: string) => void = () => {}
  route(route: TurnRoute) {
    this.routes.push(route)
  }
  head() {
    Deferred.doneUnsafe(this.headed, Effect.void)
  }
  event(type: string, text: string) {
    this.events.push(type)
    this.bytes += text.length
    Deferred.doneUnsafe(this.began, Effect.void)
    this.onEvent(type)
    return !this.behind
  }
  onDrain(drained: () => void) {
    this.drained = drained
    if (!this.behind) drained()
  }
}

/** Undefined where the turn did not fail with an error of its own. */
export const errorIn = (exit: Exit.Exit<unknown, TurnError>): TurnError | undefined =>
  Option.getOrUndefined(Exit.findErrorOption(exit))

export const failureOf = (exit: Exit.Exit<unknown, TurnError>): TurnError => {
  const error = errorIn(exit)
  if (error === undefined) throw new Error("the turn did not fail")
  return error
}

/** What ended a turn, and what the upstream had seen of it by then. */
export const ending = ({ delivery, reason }: TurnError) => `${reason} ${delivery}`
