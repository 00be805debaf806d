import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { paced } from "../../../src/downstream/http/Paced.ts"
import type { TurnError } from "../../../src/turn/TurnError.ts"

const KiB = 1024

/** How long the client may take nothing, in milliseconds. */
const within = 1000

/** A paced body of parts of these sizes, and what happens at its two ends. */
const begun = Effect.fnUntraced(function* (sizes: ReadonlyArray<number>) {
  const seen = { read: 0, late: 0, over: false }
  const parts = sizes.map((size, index) => new Uint8Array(size).fill(index + 1))
  const source = Stream.fromIterable(parts).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((part) => Effect.sync(() => (seen.read++, part))),
    Stream.ensuring(Effect.sync(() => void (seen.over = true))),
  )
  const late = Effect.sync(() => void seen.late++)
  const pull = yield* Stream.toPull(paced(source, within, late))
  yield* round
  return { seen, parts, pull }
})

/** Lets fibers go on as far as they can without time. */
const round = Effect.replicateEffect(Effect.yieldNow, 50)

const test = (title: string, body: Effect.Effect<void, TurnError | Cause.Done, Scope.Scope>) =>
  it.effect(title, () => Effect.scoped(body))

describe("A paced body", () => {
  test(
    "comes as it was, in small parts, whatever the parts of its source are",
    Effect.gen(function* () {
      const sizes = [0, 1, 16 * KiB, 16 * KiB + 1, 100 * KiB, 3, 1000 * KiB]
      const { parts, pull, seen } = yield* begun(sizes)
      const got: Array<Uint8Array> = []
      for (;;) {
        const next = yield* Effect.exit(pull)
        if (Exit.isFailure(next)) break
        got.push(...next.value)
        yield* round
      }
      assert.isAtMost(Math.max(...got.map(({ length }) => length)), 16 * KiB)
      assert.isTrue(Buffer.concat(got).equals(Buffer.concat(parts)))
      assert.deepStrictEqual(seen, { read: sizes.length, late: 0, over: true })
    }),
  )

  for (const [what, size] of [
    ["small", 10],
    ["just small enough", 16 * KiB],
    ["large", 160 * KiB],
  ] as const) {
    test(
      `is not read further ahead than a few parts: ${what} ones`,
      Effect.gen(function* () {
        const { seen } = yield* begun(Array<number>(40).fill(size))
        yield* TestClock.adjust(within - 1)
        yield* round
        assert.isAtMost(seen.read, 4)
        assert.isFalse(seen.over)
      }),
    )
  }

  test(
    "fails once its client has taken nothing for too long, and lets its source go",
    Effect.gen(function* () {
      const { pull, seen } = yield* begun(Array<number>(40).fill(KiB))
      yield* TestClock.adjust(within - 1)
      yield* round
      assert.deepStrictEqual([seen.late, seen.over], [0, false])
      yield* TestClock.adjust(1)
      yield* round
      assert.deepStrictEqual([seen.late, seen.over], [1, true])
      const exits: Array<Exit.Exit<unknown, unknown>> = []
      for (let pulls = 0; pulls < 9 && !exits.some(Exit.isFailure); pulls++) exits.push(yield* Effect.exit(pull))
      const failed = exits.at(-1)
      assert.isTrue(failed !== undefined && Exit.isFailure(failed))
      if (failed === undefined || !Exit.isFailure(failed)) return
      const error = Cause.findErrorOption(failed.cause)
      assert.strictEqual(error._tag === "Some" ? (error.value as TurnError).reason : "none", "slow_client")
    }),
  )

  test(
    "goes on for as long as its client takes a part in time, however slow it is",
    Effect.gen(function* () {
      const { pull, seen } = yield* begun(Array<number>(40).fill(KiB))
      let taken = 0
      while (taken < 40) {
        yield* TestClock.adjust(within - 1)
        taken += (yield* pull).length
        yield* round
      }
      assert.deepStrictEqual(seen, { read: 40, late: 0, over: true })
    }),
  )

  test(
    "waits for its source without a limit of its own",
    Effect.gen(function* () {
      let late = 0
      const pull = yield* Stream.toPull(
        paced(
          Stream.never,
          within,
          Effect.sync(() => void late++),
        ),
      )
      const pulling = yield* Effect.forkChild(pull)
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(pulling.pollUnsafe())
      assert.strictEqual(late, 0)
      yield* Fiber.interrupt(pulling)
    }),
  )
})
