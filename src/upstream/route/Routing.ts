/**
 * Chooses where a turn goes, and as whom: once for all of its attempts.
 *
 * The upstream is the one that serves the model. Where it has a credential of its own, the client's is not sent there,
 * nor any header that says which account of the client's a request is for.
 */
import { Context, Effect, Layer } from "effect"
import type { TurnRequest } from "../../turn/Executor.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { readMember } from "../../wire/RequestBody.ts"
import type { Resolved } from "../credential/Credential.ts"
import { Credentials } from "../credential/Credentials.ts"
import type { Upstream } from "./Upstreams.ts"
import { Upstreams } from "./Upstreams.ts"

/** An upstream, and what it is shown. */
export interface Destination {
  readonly upstream: Upstream
  /** Its own credential; undefined: it is shown the caller's. */
  readonly own: Resolved | undefined
}

export interface RoutedTurn extends TurnRequest, Destination {}

type Headers = Readonly<Record<string, string | undefined>>

const ofTheirAccount = ["openai-organization", "openai-project", "chatgpt-account-id"]

/** The client's headers without those about an account of its own. */
export const withoutAccount = (headers: Headers): Headers => ({
  ...headers,
  ...Object.fromEntries(ofTheirAccount.map((name) => [name, undefined])),
})

export class Routing extends Context.Service<
  Routing,
  {
    readonly turn: (turn: TurnRequest) => Effect.Effect<RoutedTurn, TurnError>
    /** Of a request that is no turn; undefined: it names no model. */
    readonly model: (model: string | undefined) => Effect.Effect<Destination, TurnError>
    readonly to: (upstream: Upstream) => Effect.Effect<Destination, TurnError>
  }
>()("respool/upstream/Routing") {
  static readonly layerNoDeps = Layer.effect(
    Routing,
    Effect.gen(function* () {
      const upstreams = yield* Upstreams
      const credentials = yield* Credentials

      const to = (upstream: Upstream): Effect.Effect<Destination, TurnError> =>
        Effect.map(credentials.resolve(upstream.name, upstream.credential), (own) => ({ upstream, own }))

      return Routing.of({
        to,
        model: (model) => to(upstreams.forModel(model)),
        turn: (turn) => {
          const model = upstreams.all().length === 1 ? undefined : readMember(turn.body, "model")
          const upstream = upstreams.forModel(typeof model === "string" ? model : undefined)
          return Effect.map(to(upstream), ({ own }) =>
            own === undefined
              ? { ...turn, upstream, own }
              : { ...turn, headers: withoutAccount(turn.headers), upstream, own },
          )
        },
      })
    }),
  )
}
