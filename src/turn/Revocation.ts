/**
 * Says which scopes may no longer be served, so that what is kept for them upstream can go.
 *
 * Who decides about scopes is downstream, and the connections are upstream: both know this service, and not each other.
 */
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"

export class Revocation extends Context.Service<
  Revocation,
  {
    /** Replaces the revoked scopes and tells who listens; a scope that is not among them any more is served again. */
    readonly revoke: (scopes: ReadonlySet<string>) => void
    readonly isRevoked: (scope: string) => boolean
    /** Calls `listener` at each change, for as long as the current scope lasts. */
    readonly listen: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("respool/turn/Revocation") {
  static readonly layer = Layer.sync(Revocation, () => {
    const listeners = new Set<() => void>()
    let revoked: ReadonlySet<string> = new Set()
    return {
      revoke: (scopes) => {
        revoked = scopes
        // Who begins to listen while others are told has missed nothing.
        const listening = [...listeners]
        for (const listener of listening) listener()
      },
      isRevoked: (scope) => revoked.has(scope),
      listen: (listener) =>
        Effect.acquireRelease(
          Effect.sync(() => void listeners.add(listener)),
          () => Effect.sync(() => listeners.delete(listener)),
        ),
    }
  })
}
