/**
 * The contract for requests that are no turns: sent to the upstream as they are, answered as they come.
 */
import type { Effect, Redacted, Stream } from "effect"
import { Context } from "effect"
import type { TurnError } from "./TurnError.ts"

export interface ForwardRequest {
  readonly method: string
  /** Path and query below the upstream's base URL, with the slash in front. */
  readonly path: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Value of the upstream's `authorization` header. */
  readonly credential: Redacted.Redacted<string> | undefined
  readonly body: Uint8Array | Stream.Stream<Uint8Array, unknown> | undefined
}

export interface ForwardAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Fails when the upstream breaks off. */
  readonly body: Stream.Stream<Uint8Array, TurnError>
}

export class Forwarder extends Context.Service<
  Forwarder,
  {
    /** Any status is an answer; it fails only when none came. Interrupting it, or the body, aborts the request. */
    readonly forward: (request: ForwardRequest) => Effect.Effect<ForwardAnswer, TurnError>
  }
>()("respool/turn/Forwarder") {}
