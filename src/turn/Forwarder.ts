/**
 * The contract for requests that are not turns: they are sent to the upstream unchanged, and so is the answer back.
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
  /** The model that the body names, where the body was read; it decides which upstream gets the request. */
  readonly model?: string | undefined
  readonly body: Uint8Array | Stream.Stream<Uint8Array, unknown> | undefined
  /** Aborts the request when it closes, even while the answer streams. Default: only the end of the body ends it. */
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
    /** False: every request goes to the same upstream, so that no body need be read for its model. */
    readonly needsModel: () => boolean
    /** True: some requests go upstream with a credential that no caller brought. */
    readonly addsCredential: Effect.Effect<boolean>
    /** Succeeds with any status, fails without an answer. Interrupting it, or reading the body, aborts the request. */
    readonly forward: (request: ForwardRequest) => Effect.Effect<ForwardAnswer, TurnError>
  }
>()("respool/turn/Forwarder") {}
