/**
 * Says what a turn gets of a credential, and what a source of credentials has to offer.
 */
import type { Effect, Redacted } from "effect"
import type { TurnError } from "../../turn/TurnError.ts"

export interface Resolved {
  /** Names in lower case, `authorization` among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  /** Stands for the account, in this process only. A refresh does not change it, and it holds no secret. */
  readonly identity: string
}

/** Gives one credential, as it is now. */
export interface Source {
  readonly current: Effect.Effect<Resolved, TurnError>
  /** An upstream answered 401 to this `authorization`. */
  readonly refused: (authorization: string) => Effect.Effect<void>
}
