/**
 * Says which scopes may no longer be served, so that the connections and memory kept for them can go.
 *
 * The keys that decide about scopes are downstream, and the connections are upstream. Both know this service, and not
 * each other.
 */
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"

export class Revocation extends Context.Service<
  Revocation,
  {
    /** Replaces the set of revoked scopes and calls the listeners. A scope that left the set is served again. */
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
        // A copy: a listener that is added during the calls sees the new set anyway, and need not be called.
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
