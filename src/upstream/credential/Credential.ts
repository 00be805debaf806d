/**
 * What a turn gets of the credential that its upstream is shown, and the source that gives it.
 */
import type { Effect, Redacted } from "effect"
import type { TurnError } from "../../turn/TurnError.ts"

export interface Resolved {
  /** Lower case, `authorization` among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  /** Stands for the account, in this process only. A refresh does not change it, and no secret is in it. */
  readonly identity: string
}

/** Where one credential comes from. */
export interface Source {
  readonly current: Effect.Effect<Resolved, TurnError>
  /** An upstream answered 401 to this `authorization`. */
  readonly refused: (authorization: string) => Effect.Effect<void>
}
