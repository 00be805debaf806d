/**
 * Reads the whole body of an upstream's HTTP answer: bounded in bytes, and that of a refusal in time as well.
 */
import { Duration, Effect, Stream } from "effect"
import type { ForwardAnswer } from "./Forwarder.ts"
import { TurnError } from "./TurnError.ts"

/** The most that one message of an upstream may hold: a JSON answer, in bytes, or one event, in UTF-16 units. */
export const maxAnswer = 64 * 1024 * 1024

export const tooLarge = new TurnError({
  reason: "upstream_protocol",
  delivery: "Accepted",
  message: `the upstream's answer is over the limit of ${maxAnswer} bytes`,
})

/** The most bytes of the body that explains a refusal, and the time for them. The rest is cut off. */
const maxRefusal = 1024 * 1024
const refusalWithin = Duration.seconds(10)

/** The text of an answer; fails when it is over `maxAnswer` or breaks off. */
export const readAnswer = Effect.fnUntraced(function* ({ body }: ForwardAnswer) {
  const { overflowed, take, text } = taker(maxAnswer)
  yield* Stream.runForEachWhile(body, (part) => Effect.sync(() => take(part)))
  return overflowed() ? yield* tooLarge : text()
})

/** The text of a refusal, as far as it comes: the status counts even where the body breaks off. */
export const readRefusal = Effect.fnUntraced(function* ({ body }: ForwardAnswer) {
  const { take, text } = taker(maxRefusal)
  yield* Stream.runForEachWhile(body, (part) => Effect.sync(() => take(part))).pipe(
    Effect.timeoutOption(refusalWithin),
    Effect.ignore,
  )
  return text()
})

const decoder = new TextDecoder()

/** Keeps the first `atMost` bytes of what comes; `take` says whether there is room for more. */
const taker = (atMost: number) => {
  const parts: Array<Uint8Array> = []
  let room = atMost
  return {
    take: (part: Uint8Array) => {
      parts.push(part.subarray(0, room))
      room -= part.length
      return room >= 0
    },
    text: () => decoder.decode(Buffer.concat(parts)),
    /** True: more came than may be kept. */
    overflowed: () => room < 0,
  }
}
