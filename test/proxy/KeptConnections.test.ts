import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { post } from "../support/AskProxy.ts"
import { ask, errorIn } from "../support/Ask.ts"
import { emptyAnswer, emptyResponse } from "../support/PlainUpstream.ts"
import type { Line } from "../support/RawUpstream.ts"
import { head, rawUpstream } from "../support/RawUpstream.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { TestProxy } from "../support/TestProxy.ts"

const answered = (line: Line, stream: boolean) => {
  const body = stream ? `data: ${emptyAnswer()}\n\n` : emptyResponse()
  const type = stream ? "text/event-stream" : "application/json"
  line.write(head(200, `content-type: ${type}`, `content-length: ${body.length}`), body)
}

/** How a connection may end in place of an answer. */
const endings: ReadonlyArray<readonly [how: string, end: (line: Line) => void]> = [
  ["ends", (line) => line.end()],
  ["is reset", (line) => line.reset()],
  [
    "ends in the middle of a head",
    (line) => {
      line.write("HTTP/1.1 200 OK\r\ncontent-le")
      line.end()
    },
  ],
]

/** An upstream that answers a first turn, and the next `failing` requests by the end of their connection. */
const upstream = (end: (line: Line) => void, failing: number, settings: Partial<SettingsValues> = {}) => {
  const asked: Array<string> = []
  const layer = Layer.unwrap(
    Effect.map(
      rawUpstream((line, { body, head }) => {
        asked.push(head.slice(0, head.indexOf("\r\n")))
        if (asked.length > 1 && asked.length <= 1 + failing) end(line)
        else answered(line, body.includes(`"stream":true`))
      }),
      ({ port }) =>
        TestProxy.layerProxy({ transport: "http", upstreamUrl: `http://127.0.0.1:${port}/v1`, ...settings }),
    ),
  )
  return { asked, layer }
}

const turn = (stream: boolean, more: Readonly<Record<string, string>> = {}) => post({ input: "Hello", stream, ...more })

describe("A connection over HTTP that is kept, and at the next turn", () => {
  for (const [how, end] of endings) {
    for (const stream of [true, false]) {
      const form = stream ? "streamed" : "as one object"
      it.effect(`${how}, costs the client nothing (${form})`, () => {
        const { asked, layer } = upstream(end, 1)
        return Effect.gen(function* () {
          assert.strictEqual((yield* turn(stream)).headers.get("x-respool-reason"), "transport_http")
          const answer = yield* turn(stream)
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.headers.get("x-respool-reason"), "upstream_closed")
          assert.lengthOf(asked, 3)
        }).pipe(Effect.provide(layer))
      })

      it.effect(`${how} twice, is one error that must not be repeated (${form})`, () => {
        const { asked, layer } = upstream(end, 9)
        return Effect.gen(function* () {
          yield* turn(stream)
          const answer = yield* turn(stream)
          assert.strictEqual(answer.status, 502)
          assert.deepInclude(errorIn(answer), { code: "upstream_closed" })
          assert.strictEqual(answer.headers.get("x-should-retry"), "false")
          assert.lengthOf(asked, 3)
        }).pipe(Effect.provide(layer))
      })
    }

    it.effect(`${how}, is an error where nothing may run twice`, () => {
      const { asked, layer } = upstream(end, 1, { retry: "strict" })
      return Effect.gen(function* () {
        yield* turn(true)
        const answer = yield* turn(true)
        assert.strictEqual(answer.status, 502)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        assert.lengthOf(asked, 2)
      }).pipe(Effect.provide(layer))
    })

    it.effect(`${how}, is an error where a conversation would grow twice`, () => {
      const { asked, layer } = upstream(end, 1)
      return Effect.gen(function* () {
        yield* turn(true)
        const answer = yield* turn(true, { conversation: "conv_1" })
        assert.strictEqual(answer.status, 502)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        assert.lengthOf(asked, 2)
      }).pipe(Effect.provide(layer))
    })

    it.effect(`${how}, costs a request that may be repeated nothing either`, () => {
      const { asked, layer } = upstream(end, 1)
      return Effect.gen(function* () {
        const { url } = yield* TestProxy
        yield* turn(true)
        assert.strictEqual((yield* ask(`${url}/models`, { key: "test-key-a" })).status, 200)
        assert.deepStrictEqual(asked.slice(1), ["GET /v1/models HTTP/1.1", "GET /v1/models HTTP/1.1"])
      }).pipe(Effect.provide(layer))
    })

    it.effect(`${how}, is an error of a request that may change something`, () => {
      const { asked, layer } = upstream(end, 1)
      return Effect.gen(function* () {
        const { url } = yield* TestProxy
        yield* turn(true)
        const answer = yield* ask(`${url}/responses/resp_1/cancel`, { key: "test-key-a", method: "POST" })
        assert.strictEqual(answer.status, 502)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        assert.lengthOf(asked, 2)
      }).pipe(Effect.provide(layer))
    })
  }
})
