/**
 * Chooses the upstream of a turn and the credential that it is shown, once for all attempts.
 *
 * The upstream is the one that serves the model. If it has a credential of its own, the client's is not sent there, nor
 * any header that names an account of the client's.
 */
import { Context, Effect, Layer } from "effect"
import type { Caller, Credential } from "../../turn/Caller.ts"
import type { TurnRequest } from "../../turn/Executor.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { readMember } from "../../wire/RequestBody.ts"
import type { Resolved } from "../credential/Credential.ts"
import { Credentials } from "../credential/Credentials.ts"
import type { Upstream } from "./Upstreams.ts"
import { Upstreams } from "./Upstreams.ts"

/** An upstream, and the credential that it is shown. */
export interface Destination {
  readonly upstream: Upstream
  /** The upstream's own credential, else what the caller brings; undefined: neither has one. */
  readonly shown: Credential | undefined
}

export interface RoutedTurn extends TurnRequest, Destination {}

type Headers = Readonly<Record<string, string | undefined>>

const accountHeaders = ["openai-organization", "openai-project", "chatgpt-account-id"]

/**
 * The client's headers, without those that name its account where the upstream is shown another account's credential.
 */
export const headersFor = ({ shown }: Destination, headers: Headers): Headers =>
  shown === undefined || shown.owner === "caller"
    ? headers
    : { ...headers, ...Object.fromEntries(accountHeaders.map((name) => [name, undefined])) }

/** One object for each resolved credential, so that what others derive from it (its redaction) is made once. */
const shownBefore = new WeakMap<Resolved, Credential>()

const ofUpstream = (resolved: Resolved): Credential => {
  let credential = shownBefore.get(resolved)
  if (credential === undefined) shownBefore.set(resolved, (credential = { ...resolved, owner: "upstream" }))
  return credential
}

export class Routing extends Context.Service<
  Routing,
  {
    readonly turn: (turn: TurnRequest) => Effect.Effect<RoutedTurn, TurnError>
    /** The destination of a request that is no turn; `model` is undefined where it names none. */
    readonly model: (model: string | undefined, caller: Caller) => Effect.Effect<Destination, TurnError>
    readonly to: (upstream: Upstream, caller: Caller) => Effect.Effect<Destination, TurnError>
    /** The upstream refused what it was shown: a credential of its own is looked up anew before the next turn. */
    readonly refused: (to: Destination) => Effect.Effect<void>
  }
>()("respool/upstream/Routing") {
  static readonly layerNoDeps = Layer.effect(
    Routing,
    Effect.gen(function* () {
      const upstreams = yield* Upstreams
      const credentials = yield* Credentials

      const to = (upstream: Upstream, caller: Caller): Effect.Effect<Destination, TurnError> =>
        Effect.map(credentials.resolve(upstream.name, upstream.credential, upstream.proxy), (resolved) => ({
          upstream,
          shown: resolved === undefined ? caller.credential : ofUpstream(resolved),
        }))

      return Routing.of({
        to,
        model: (model, caller) => to(upstreams.forModel(model), caller),
        turn: (turn) => {
          const model = upstreams.all().length === 1 ? undefined : readMember(turn.body, "model")
          const upstream = upstreams.forModel(typeof model === "string" ? model : undefined)
          return Effect.map(to(upstream, turn.caller), (destination) => ({
            ...turn,
            ...destination,
            headers: headersFor(destination, turn.headers),
          }))
        },
        refused: ({ shown, upstream }) =>
          shown?.owner === "upstream" ? credentials.refused(upstream.credential, shown) : Effect.void,
      })
    }),
  )
}
