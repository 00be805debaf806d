/**
 * Waits for what sockets and other callbacks bring about, and ends by itself where it does not come.
 */
import { Effect } from "effect"
import { TestClock } from "effect/testing"

/** A round of the event loop, in which what has arrived on a socket is told. */
export const round: Effect.Effect<void> = Effect.callback((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** What hangs dies with a name, instead of in the test's own time-out. */
export const unlessItHangs = <A, E, R>(effect: Effect.Effect<A, E, R>, what: () => string = () => "") =>
  Effect.raceFirst(
    effect,
    TestClock.withLive(Effect.sleep("120 seconds")).pipe(
      Effect.andThen(Effect.suspend(() => Effect.die(new Error(`it hangs: ${what()}`)))),
    ),
  )

/** For what depends on other threads or processes: a busy machine may take its time, and a hang is named. Forks nothing. */
export const eventually = Effect.fnUntraced(function* (
  happened: () => boolean,
  what: () => string,
  meanwhile: Effect.Effect<unknown> = round,
) {
  const latest = performance.now() + 15_000
  while (!happened()) {
    if (performance.now() > latest) return yield* Effect.die(new Error(`it has not come about: ${what()}`))
    yield* meanwhile
  }
})

/** Far more rounds than the three in which both ends of a connection in this thread have told each other all. */
const enough = 1_000

/** For what needs nothing but this thread, such as the end of a connection whose both ends are here. */
export const promptly = Effect.fnUntraced(function* (happened: () => boolean, what: () => string) {
  for (let rounds = 0; rounds < enough && !happened(); rounds++) yield* round
  if (!happened()) return yield* Effect.die(new Error(`it has not come about: ${what()}`))
})
