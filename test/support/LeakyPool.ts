import { Effect, Exit, Layer, Semaphore } from "effect"
import { PoolUnderTest, type ScriptedConnection, ScriptedUpstream, type Subject } from "../../src/testing/Testing.ts"

/** A pool as one writes it in an afternoon: permits for the cap, a list of what is idle. */
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
          const found = idle.findIndex((connection) => connection.key === key)
          const connection = found === -1 ? yield* upstream.connect(key) : idle.splice(found, 1)[0]!
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

export const leaky: Subject = {
  pool: ({ total }) => Layer.effect(PoolUnderTest, make(total)),
}
