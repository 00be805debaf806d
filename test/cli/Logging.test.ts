import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { together } from "../../src/cli/Logging.ts"
import { round } from "../support/EventLoop.ts"

const gathered = Effect.gen(function* () {
  const written: Array<string> = []
  const scope = yield* Scope.make()
  const add = yield* Scope.provide(
    together((text) => void written.push(text)),
    scope,
  )
  return { add, written, end: Scope.close(scope, Exit.void) }
})

describe("Lines of the log", () => {
  it.effect("go out together with the others of their round, and in order", () =>
    Effect.gen(function* () {
      const { add, written } = yield* gathered
      add("one")
      add("two")
      assert.deepStrictEqual(written, [])
      yield* Effect.repeat(round, { times: 2 })
      add("three")
      yield* Effect.repeat(round, { times: 2 })
      assert.deepStrictEqual(written, ["one\ntwo\n", "three\n"])
    }),
  )

  it.effect("are not gathered without a bound", () =>
    Effect.gen(function* () {
      const { add, written } = yield* gathered
      for (let line = 0; line < 5; line++) add("x".repeat(10_000))
      assert.deepStrictEqual(
        written.map((text) => text.length),
        [20_002, 20_002],
      )
    }),
  )

  it.effect("are all written when the log ends, and when the process does", () =>
    Effect.gen(function* () {
      const ended = yield* gathered
      ended.add("last")
      yield* ended.end
      assert.deepStrictEqual(ended.written, ["last\n"])
      const before = process.listeners("exit")
      const exiting = yield* gathered
      exiting.add("of a process that ends")
      for (const listener of process.listeners("exit")) if (!before.includes(listener)) listener(0)
      assert.deepStrictEqual(exiting.written, ["of a process that ends\n"])
      yield* exiting.end
      assert.deepStrictEqual(process.listeners("exit"), before)
    }),
  )
})
