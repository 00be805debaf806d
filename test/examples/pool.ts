/**
 * A pool of an afternoon under respool's kit, which finds what is wrong with it: an idle connection is leased again although
 * its peer has closed it.
 *
 *     bun test/examples/pool.ts
 */
import { Console, Effect, Exit, Layer, Semaphore } from "effect"
import { check, PoolUnderTest, type ScriptedConnection, ScriptedUpstream } from "respool/testing"

const make = (total: number) =>
  Effect.gen(function* () {
    const upstream = yield* ScriptedUpstream
    const permits = yield* Semaphore.make(total)
    const idle: Array<ScriptedConnection> = []
    yield* Effect.addFinalizer(() => Effect.forEach(idle, ({ close }) => close))
    return PoolUnderTest.of({
      lease: ({ key }) =>
        Effect.gen(function* () {
          yield* permits.take(1)
          const connection = idle.pop() ?? (yield* upstream.connect(key))
          yield* Effect.addFinalizer((exit) =>
            Effect.gen(function* () {
              if (Exit.isSuccess(exit)) idle.push(connection)
              else yield* connection.close
              yield* permits.release(1)
            }),
          )
          return { connection: connection.id }
        }),
    })
  })

/** Succeeds with the number of schedules that passed; fails with the shortest one that was found to break the pool. */
export const checked = check(
  { pool: ({ total }) => Layer.effect(PoolUnderTest, make(total)) },
  { runs: 500, seed: 1, keys: ["a1"], caps: ["total"], full: "wait" },
)

if (import.meta.main)
  await Effect.runPromise(Effect.flatMap(Effect.flip(checked), ({ message }) => Console.log(message)))
