/**
 * The contract for requests that are no turns: sent to the upstream as they are, answered as they come.
 */
import type { Effect, Scope, Stream } from "effect"
import { Context } from "effect"
import type { Caller } from "./Caller.ts"
import type { TurnError } from "./TurnError.ts"

export interface ForwardRequest {
  readonly method: string
  /** Path and query below the upstream's base URL, with the slash in front. */
  readonly path: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly caller: Caller
  /** What the body names, where the body was read; it decides where the request goes. */
  readonly model?: string | undefined
  readonly body: Uint8Array | Stream.Stream<Uint8Array, unknown> | undefined
  /** Aborts the request when it closes, wherever the answer is then; else only reading the body ends it. */
  readonly scope?: Scope.Scope
}

export interface ForwardAnswer {
  /** From 200 to 599. */
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Fails when the upstream breaks off. */
  readonly body: Stream.Stream<Uint8Array, TurnError>
}

export class Forwarder extends Context.Service<
  Forwarder,
  {
    /** False: every request goes to one place, so that nobody need read a body for its model. */
    readonly needsModel: () => boolean
    /** Any status of HTTP is an answer; it fails when none came. Interrupting it, or the body, aborts the request. */
    readonly forward: (request: ForwardRequest) => Effect.Effect<ForwardAnswer, TurnError>
  }
>()("respool/turn/Forwarder") {}
