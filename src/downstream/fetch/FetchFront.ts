/**
 * The front for a program that calls from inside the same process: a turn's request, as `fetch` would get it, becomes a
 * `Response`, without a listener or a socket between the two.
 *
 * Whatever comes of a turn is a `Response` in the API's shape, as over HTTP. Nothing fails here in a way that looks like
 * a broken network, since the SDKs send such a request again, and the turn may have run.
 */
import { Context, Effect, Layer } from "effect"
import { Headers } from "effect/http"
import { Settings } from "../../config/Settings.ts"
import type { Answer } from "../answer/Answer.ts"
import { Answers } from "../answer/Answers.ts"
import { ApiError } from "../ApiError.ts"
import { AuthScope } from "../auth/AuthScope.ts"
import { Intake } from "../Intake.ts"

/** A `POST` to `/responses`. */
export interface FetchedTurn {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The query of its URL, with its `?`, or empty. */
  readonly query: string
  /** Its JSON, not encoded in any way. */
  readonly bytes: Uint8Array
}

export class FetchFront extends Context.Service<
  FetchFront,
  {
    /** Succeeds as soon as the status is certain. Interrupting it, or cancelling the response's body, ends the turn. */
    readonly answer: (turn: FetchedTurn) => Effect.Effect<Response>
  }
>()("respool/downstream/FetchFront") {
  /** Needs `Settings`, `AuthScope`, `Intake` and `Answers`. */
  static readonly layerNoDeps = Layer.effect(
    FetchFront,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const { maxBody } = yield* Settings
  const auth = yield* AuthScope
  const intake = yield* Intake
  const answers = yield* Answers

  const carried = Effect.fnUntraced(function* ({ bytes, headers, query }: FetchedTurn) {
    const caller = yield* auth.resolve(Headers.fromInput(headers))
    if (bytes.length > maxBody) {
      return yield* ApiError.tooLarge(`The request body is over the limit of ${maxBody} bytes.`)
    }
    const turn = yield* intake.read({ caller, headers, query, bytes })
    return response(yield* answers.answer(turn, { ended: () => {}, released: () => {} }))
  })

  return FetchFront.of({
    answer: (turn) => Effect.catchTag(carried(turn), "ApiError", (error) => Effect.sync(() => refusal(error))),
  })
})

const response = ({ body, headers, status }: Answer): Response => new Response(body, { status, headers })

const refusal = ({ body, headers = {}, status }: ApiError): Response =>
  new Response(body, { status, headers: { "content-type": "application/json", ...headers } })
