import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { post } from "../support/AskProxy.ts"
import { eventsOf } from "../support/Events.ts"
import { emptyResponse, PlainUpstream } from "../support/PlainUpstream.ts"

const answering = (body: () => string, type = "application/json") =>
  PlainUpstream.layerProxied({ http: () => new Response(body(), { headers: { "content-type": type } }) })

const greet = (stream: boolean) => post({ input: "Hello", background: true, stream })

describe("A response that is still under way when its answer ends", () => {
  for (const status of ["queued", "in_progress"]) {
    const proxied = answering(() => emptyResponse().replace("completed", status))
    it.effect(`is told as ${status} to a client that reads a stream`, () =>
      Effect.gen(function* () {
        const answer = yield* greet(true)
        assert.strictEqual(answer.status, 200)
        const events = eventsOf(answer.text)
        assert.deepStrictEqual(
          events.map(({ type }) => type),
          [`response.${status}`],
        )
      }).pipe(Effect.provide(proxied)),
    )

    it.effect(`is told as ${status} to a client that reads an object`, () =>
      Effect.gen(function* () {
        const answer = yield* greet(false)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(answer.json?.["status"], status)
      }).pipe(Effect.provide(proxied)),
    )
  }
})

describe("An error that comes with the status 200", () => {
  const error = `{"error":{"message":"Slow down.","type":"rate_limit_error","code":"rate_limit_exceeded"}}`
  for (const [form, type, body] of [
    ["an object", "application/json", error],
    ["a line of data", "text/event-stream", `data: ${error}\n\n`],
    ["a line of data without a content type of its own", "text/plain", `data: ${error}\n\n`],
  ] as const) {
    for (const stream of [true, false]) {
      it.effect(`is a 429 with the upstream's words, as ${form}, ${stream ? "streamed" : "as one object"}`, () =>
        Effect.gen(function* () {
          const answer = yield* greet(stream)
          assert.strictEqual(answer.status, 429)
          assert.strictEqual(answer.text, error)
        }).pipe(Effect.provide(answering(() => body, type))),
      )
    }
  }
})
