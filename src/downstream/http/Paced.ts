/**
 * Gives a body as fast as the client takes it, and ends it where the client takes nothing for too long.
 *
 * Nothing runs while a client takes nothing, so the body is read here by a fiber of its own, at most two parts ahead:
 * only so its source (the upstream's request) can end without the client. Parts are small, so that a client that is
 * merely slow takes one in time.
 */
import { Duration, Effect, Queue, Stream } from "effect"
import { TurnError } from "../../turn/TurnError.ts"

/** The largest part, in bytes: 16 KiB in a minute are 273 bytes a second. */
const largestPart = 16 * 1024

/** So many parts wait here; the platform has taken others, and the kernel. */
const partsAhead = 2

/**
 * `within`: how long, in milliseconds, the client may take nothing while something waits. `late` runs when that was
 * too long, and the body fails with `slow_client`.
 */
export const paced = (
  body: Stream.Stream<Uint8Array, TurnError>,
  within: number,
  late: Effect.Effect<void>,
): Stream.Stream<Uint8Array, TurnError> =>
  Stream.callback<Uint8Array, TurnError>(
    (queue) => {
      const taken = (part: Uint8Array) =>
        // Almost every part finds room, and then a time-out would cost more than the part.
        Queue.offerUnsafe(queue, part)
          ? Effect.void
          : Effect.timeoutOrElse(Queue.offer(queue, part), {
              duration: Duration.millis(within),
              orElse: () => Effect.andThen(late, Effect.fail(tookNothing)),
            })
      return Stream.runForEach(body, (part) =>
        part.length <= largestPart ? taken(part) : Effect.forEach(piecesOf(part), taken, { discard: true }),
      ).pipe(Effect.andThen(Queue.end(queue)))
    },
    { bufferSize: partsAhead, strategy: "suspend" },
  )

function* piecesOf(part: Uint8Array) {
  for (let at = 0; at < part.length; at += largestPart) yield part.subarray(at, at + largestPart)
}

const tookNothing = new TurnError({
  reason: "slow_client",
  delivery: "Accepted",
  message: "the client did not take its answer in time",
})
