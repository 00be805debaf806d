// The kit and the simulator under plain vitest.
import { Effect, Exit, Layer, Semaphore } from "effect"
import { OpenAI } from "openai"
import { Simulator } from "respool/simulator"
import { check, PoolUnderTest, RespoolPool, ScriptedUpstream } from "respool/testing"
import { describe, expect, it } from "vitest"

const options = { keys: ["a1"], caps: ["total"], full: "wait", weights: { Close: 0, Frame: 0, Reload: 0, Shutdown: 0 } }

/** Gives back a connection whose lease was interrupted, with the answer that still comes on it. */
const make = (total) =>
  Effect.gen(function* () {
    const upstream = yield* ScriptedUpstream
    const permits = yield* Semaphore.make(total)
    const idle = []
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

describe("respool's kit", () => {
  it("finds what is wrong with a pool of an afternoon", async () => {
    const pool = { pool: ({ total }) => Layer.effect(PoolUnderTest, make(total)) }
    expect(Exit.isFailure(await Effect.runPromiseExit(check(pool, { runs: 500, seed: 1, ...options })))).toBe(true)
  })

  it("finds nothing wrong with respool's own", async () => {
    expect(await Effect.runPromise(check(RespoolPool.subject, { runs: 20, seed: 1 }))).toBe(20)
  })

  it("has an upstream for the SDK", async () => {
    const asked = Effect.flatMap(Simulator, ({ url }) =>
      Effect.promise(() =>
        new OpenAI({ baseURL: url, apiKey: "k" }).responses.create({ model: "gpt-5.5", input: "hi" }),
      ),
    )
    expect((await Effect.runPromise(Effect.provide(asked, Simulator.layer()))).status).toBe("completed")
  })
})
