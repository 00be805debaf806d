import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { MiB, against, completed, created, delta, settled, sse, turn } from "../support/HttpTurn.ts"
import type { Line } from "../support/RawUpstream.ts"
import { chunk, head, lastChunk } from "../support/RawUpstream.ts"
import { eventually } from "../support/EventLoop.ts"
import { RecordedTurn, ending } from "../support/RecordedTurn.ts"

describe("An upstream that is silent over HTTP", () => {
  it.effect("is left without a head, and may have run the turn", () =>
    Effect.gen(function* () {
      const { failed, line } = yield* against(() => {})
      const { closed } = yield* line
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(ending(yield* failed), "first_event_timeout Ambiguous")
      yield* Deferred.await(closed)
    }),
  )

  for (const [what, noise] of [
    ["comments", ": still here\n\n"],
    ["what is no event", "data: [DONE]\n\nevent: ping\ndata: {}\n\n"],
    ["the times of its retries", "retry: 5\n\n"],
  ] as const) {
    it.effect(`is left although it sends ${what}`, () =>
      Effect.gen(function* () {
        const { failed, line, sink } = yield* against((line) => line.write(sse, chunk(noise)))
        yield* Deferred.await(sink.headed)
        const upstream = yield* line
        for (let second = 0; second < 19; second++) {
          yield* TestClock.adjust("1 second")
          upstream.write(chunk(noise))
        }
        yield* TestClock.adjust("1 second")
        assert.strictEqual(ending(yield* failed), "first_event_timeout Accepted")
        yield* Deferred.await(upstream.closed)
      }),
    )
  }

  it.effect("is left when it is silent after an event", () =>
    Effect.gen(function* () {
      const { failed, line, sink } = yield* against((line) => line.write(sse, chunk(created)))
      yield* Deferred.await(sink.began)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(ending(yield* failed), "event_timeout Accepted")
      yield* Deferred.await((yield* line).closed)
    }),
  )

  it.effect("has the whole turn's time for an answer in one piece", () =>
    Effect.gen(function* () {
      const { failed, fiber, line, sink } = yield* against((line) => line.write(head(200, "content-length: 100")), {
        stream: false,
      })
      yield* Deferred.await(sink.headed)
      yield* TestClock.adjust("99999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(ending(yield* failed), "turn_timeout Accepted")
      yield* Deferred.await((yield* line).closed)
    }),
  )

  it.effect("has no more of the turn's time than was left when it was asked", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("90 seconds")
      const { failed, fiber, line, sink } = yield* against((line) => line.write(sse, chunk(created)))
      yield* Deferred.await(sink.began)
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(ending(yield* failed), "turn_timeout Accepted")
      yield* Deferred.await((yield* line).closed)
    }),
  )

  it.effect("ends nothing once the terminal event has come, and is left a second later", () =>
    Effect.gen(function* () {
      const { fiber, line, sink } = yield* against((line) => line.write(sse, chunk(created)))
      yield* Deferred.await(sink.began)
      for (let second = 0; second < 4; second++) {
        yield* TestClock.adjust("24900 millis")
        const seen = sink.events.length
        const upstream = yield* line
        upstream.write(chunk(second < 3 ? delta : completed))
        yield* eventually(
          () => sink.events.length > seen,
          () => `event ${seen}`,
        )
      }
      // 99.6 seconds of 100 are over.
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).responseId, "resp_1")
      yield* Deferred.await((yield* line).closed)
    }),
  )
})

describe("A client that is behind over HTTP", () => {
  const event = `data: {"type":"response.output_text.delta","delta":"${"a".repeat(16 * 1024)}"}\n\n`
  const flooding = (count: number) => (line: Line) => {
    let left = count
    line.write(sse)
    line.flood(() => (left-- > 0 ? chunk(event) : undefined))
    line.write(chunk(completed), lastChunk)
  }

  it.effect("keeps the upstream waiting, and gets everything once it goes on", () =>
    Effect.gen(function* () {
      const sink = new RecordedTurn()
      const count = 4096
      sink.behind = true
      const { fiber, line } = yield* against(flooding(count), { sink })
      yield* Deferred.await(sink.began)
      const upstream = yield* line
      yield* settled(() => upstream.taken + sink.events.length)
      // What is read at a time is a few hundred KiB; the rest is in the hands of the kernel, or still the upstream's.
      assert.isBelow(sink.bytes, 4 * MiB)
      assert.isBelow(upstream.taken, 48 * MiB)
      sink.behind = false
      sink.drained?.()
      assert.strictEqual((yield* Fiber.join(fiber)).type, "response.completed")
      assert.lengthOf(sink.events, count + 1)
    }),
  )

  it.effect("does not answer for the upstream's silence once it has caught up", () =>
    Effect.gen(function* () {
      const sink = new RecordedTurn()
      sink.behind = true
      const { failed, fiber } = yield* against((line) => line.write(sse, chunk(delta)), { sink })
      yield* Deferred.await(sink.began)
      yield* TestClock.adjust("4 seconds")
      sink.drained?.()
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(ending(yield* failed), "event_timeout Accepted")
    }),
  )

  it.effect("goes on although it catches up before the reader has noticed that it is behind", () =>
    Effect.gen(function* () {
      const sink = new RecordedTurn()
      let catches = 0
      const count = 512
      sink.behind = true
      sink.onDrain = (drained) => {
        catches++
        drained()
      }
      const { fiber } = yield* against(flooding(count), { sink })
      assert.strictEqual((yield* Fiber.join(fiber)).type, "response.completed")
      assert.lengthOf(sink.events, count + 1)
      assert.isAbove(catches, 1)
    }),
  )

  it.effect("loses its turn when it takes nothing in its time, and the upstream is left", () =>
    Effect.gen(function* () {
      const sink = new RecordedTurn()
      sink.behind = true
      const { failed, line } = yield* against(flooding(4096), { sink })
      yield* Deferred.await(sink.began)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(ending(yield* failed), "slow_client Accepted")
      yield* Deferred.await((yield* line).closed)
    }),
  )
})

describe("A turn over HTTP that is interrupted", () => {
  const stages: ReadonlyArray<
    readonly [
      when: string,
      says: (line: Line) => void,
      reached: (sink: RecordedTurn, came: Effect.Effect<void>) => Effect.Effect<void>,
    ]
  > = [
    ["before the head", () => {}, () => Effect.void],
    ["behind the head", (line) => line.write(sse), (sink) => Deferred.await(sink.headed)],
    ["between events", (line) => line.write(sse, chunk(created)), (sink) => Deferred.await(sink.began)],
    [
      "in the middle of JSON",
      (line) => line.write(head(200, "content-length: 100"), "{"),
      (sink) => Deferred.await(sink.headed),
    ],
    ["in the middle of a refusal", (line) => line.write(head(429, "content-length: 100"), "{"), (_, came) => came],
  ]
  for (const [when, says, reached] of stages) {
    it.effect(`${when} leaves no connection behind`, () =>
      Effect.gen(function* () {
        const { came, fiber, line, sink, upstream } = yield* against(says)
        const { closed } = yield* line
        yield* reached(sink, came)
        yield* Fiber.interrupt(fiber)
        yield* Deferred.await(closed)
        assert.strictEqual(upstream.open(), 0)
      }),
    )
  }

  it.effect("has its connection used again only where its answer was whole", () =>
    Effect.gen(function* () {
      const { execute, fiber, upstream } = yield* against((line) => line.write(sse, chunk(completed), lastChunk))
      yield* Fiber.join(fiber)
      yield* execute(turn(true), new RecordedTurn())
      yield* execute(turn(true), new RecordedTurn())
      assert.lengthOf(upstream.lines, 1)
    }),
  )
})
