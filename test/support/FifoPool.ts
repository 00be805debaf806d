/**
 * A pool unlike respool's: one cap, permits handed out in the order of asking, last in first out, no conversations, no
 * clock. It is there to show that the kit is not tied to one pool.
 */
import { Deferred, Effect, Exit, Layer, Scope, Semaphore } from "effect"
import type { Key, Limits, PoolReport, Rules, Subject } from "../../src/testing/Testing.ts"
import { PoolUnderTest, ScriptedUpstream } from "../../src/testing/Testing.ts"

interface Kept {
  readonly id: number
  readonly key: Key
  readonly scope: Scope.Closeable
}

const make = Effect.fnUntraced(function* ({ total }: Limits) {
  const upstream = yield* ScriptedUpstream
  const poolScope = yield* Effect.scope
  const permits = yield* Semaphore.make(total)
  const fork = Effect.runForkWith(yield* Effect.context())
  const closed = yield* Deferred.make<never, "closed">()
  /** Open or being opened, whether idle or not. */
  const owned = new Set<Scope.Closeable>()
  let idle: ReadonlyArray<Kept> = []
  let asking = 0

  const close = (scope: Scope.Closeable, exit: Exit.Exit<unknown, unknown>) => {
    idle = idle.filter((kept) => kept.scope !== scope)
    owned.delete(scope)
    return Scope.close(scope, exit)
  }

  const dial = Effect.fnUntraced(function* (key: Key) {
    const oldest = idle[0]
    if (owned.size >= total && oldest !== undefined) yield* close(oldest.scope, Exit.void)
    const scope = Scope.forkUnsafe(poolScope)
    owned.add(scope)
    const drop = () => fork(close(scope, Exit.void))
    const events = {
      onClose: drop,
      onFrame: () => {
        if (idle.some((kept) => kept.scope === scope)) drop()
      },
    }
    const { id } = yield* upstream.open(key, events).pipe(
      Scope.provide(scope),
      Effect.raceFirst(Deferred.await(closed)),
      Effect.onExit((exit) => (Exit.isFailure(exit) ? close(scope, exit) : Effect.void)),
    )
    return { id, key, scope } satisfies Kept
  })

  yield* Effect.addFinalizer(() => Deferred.fail(closed, "closed"))

  return PoolUnderTest.of({
    lease: ({ key }) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          asking++
          yield* restore(Effect.raceFirst(Deferred.await(closed), permits.take(1))).pipe(
            Effect.ensuring(Effect.sync(() => asking--)),
          )
          yield* Effect.addFinalizer(() => permits.release(1))
          const found = idle.findLast((kept) => kept.key === key)
          if (found !== undefined) idle = idle.filter((kept) => kept !== found)
          const kept = found ?? (yield* restore(dial(key)))
          yield* Effect.addFinalizer((exit) => {
            if (Exit.isFailure(exit)) return close(kept.scope, exit)
            return Effect.sync(() => {
              if (owned.has(kept.scope)) idle = [...idle, kept]
            })
          })
          return { connection: kept.id }
        }),
      ),
    evictIdle: (key) => {
      for (const kept of idle) if (kept.key === key) fork(close(kept.scope, Exit.void))
    },
    report: (): PoolReport => ({ waiting: asking }),
  })
})

const rules: Rules = {
  waitFor: Infinity,
  connectWithin: Infinity,
  idleTtl: Infinity,
  maxAge: Infinity,
  sweepEvery: Infinity,
  makesRoom: true,
  remembers: false,
  fair: true,
  candidates: (idle) => idle.toReversed(),
}

export const subject: Subject = { rules, pool: (limits) => Layer.effect(PoolUnderTest, make(limits)) }
