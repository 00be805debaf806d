/**
 * The pool behind one `fetch` of `respool/fetch`. It is loaded when a `fetch` is made, and not with the entry point, since
 * all of the engine comes with it.
 */
import { Context, Effect, Exit, References, Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import type { SettingsOptions } from "./config/Settings.ts"
import type { FetchedTurn } from "./downstream/fetch/FetchFront.ts"
import * as Fronts from "./Fronts.ts"

export interface FetchPool {
  readonly takes: (address: string) => boolean
  /** Undefined: it was closed, and nothing was sent. Rejects with the signal's reason where that ends the turn. */
  readonly answer: (address: string, turn: FetchedTurn, signal?: AbortSignal) => Promise<Response | undefined>
  /** Ends the turns that are under way and closes all sockets. */
  readonly close: () => Promise<void>
}

/** Rejects with `SettingsError` for settings that can't hold. What needs HTTP goes to `base`. */
export const open = async (settings: SettingsOptions, base: typeof globalThis.fetch): Promise<FetchPool> => {
  // A library says nothing of its own accord; an app that wants the log composes the layers.
  const around = Context.make(References.MinimumLogLevel, "None" as const).pipe(
    Context.add(FetchHttpClient.Fetch, base),
  )
  const scope = Scope.makeUnsafe()
  const fronts = await Effect.runPromise(Fronts.make(settings).pipe(Scope.provide(scope), Effect.provide(around)))
  return {
    takes: fronts.takes,
    answer: async (address, turn, signal) => {
      const answer = Effect.provide(fronts.answer(address, turn), around)
      const exit = await Effect.runPromiseExit(answer, signal === undefined ? {} : { signal })
      if (signal?.aborted === true) {
        if (Exit.isSuccess(exit)) void exit.value?.body?.cancel(signal.reason)
        throw signal.reason
      }
      return Exit.isSuccess(exit) ? exit.value : undefined
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
