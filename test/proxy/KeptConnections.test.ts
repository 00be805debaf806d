import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { post } from "../support/AskProxy.ts"
import { ask, errorIn } from "../support/Ask.ts"
import { emptyAnswer, emptyResponse } from "../support/PlainUpstream.ts"
import type { Asked, Line } from "../support/RawUpstream.ts"
import { head, rawUpstream } from "../support/RawUpstream.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import type { Pair } from "../support/Certificate.ts"
import { loopback, selfSigned } from "../support/Certificate.ts"
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
  ["ends in the middle of a status line", (line) => void (line.write("HTTP/1."), line.end())],
  ["ends behind an empty line", (line) => void (line.write("\r\n"), line.end())],
  ["ends behind an answer that is none yet", (line) => void (line.write(head(100)), line.end())],
  ["is reset in the middle of a head", (line) => void (line.write("HTTP/1.1 200 OK\r\n"), line.reset())],
  ["ends in one direction, and is still read", (line) => line.shutdown()],
]

/** An upstream that does with each request as its number says, counted from 0. */
const upstreamThat = (
  does: (line: Line, asked: Asked, number: number) => void,
  settings: Partial<SettingsValues> = {},
  tls?: Pair,
) => {
  const asked: Array<string> = []
  const layer = Layer.unwrap(
    Effect.map(
      rawUpstream((line, request) => {
        asked.push(request.head.slice(0, request.head.indexOf("\r\n")))
        does(line, request, asked.length - 1)
      }, tls),
      ({ port }) =>
        TestProxy.layerProxy({
          transport: "http",
          upstreamUrl: `http${tls === undefined ? "" : "s"}://127.0.0.1:${port}/v1`,
          // The certificate is the test's own.
          ...(tls === undefined ? {} : { tlsVerify: "off" as const }),
          ...settings,
        }),
    ),
  )
  return { asked, layer }
}

const streams = ({ body }: Asked) => body.includes(`"stream":true`)

/** An upstream that answers a first turn, and the next `failing` requests by the end of their connection. */
const upstream = (end: (line: Line) => void, failing: number, settings: Partial<SettingsValues> = {}, tls?: Pair) =>
  upstreamThat(
    (line, request, number) => {
      if (number > 0 && number <= failing) end(line)
      else answered(line, streams(request))
    },
    settings,
    tls,
  )

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

describe("A kept connection over TLS, at the next turn", () => {
  const pair = selfSigned(loopback)
  for (const [how, end] of [
    ["ends with a word of TLS", (line) => line.end()],
    ["is reset without one", (line) => line.reset()],
    ["ends in one direction", (line) => line.shutdown()],
    ["ends in the middle of a head", (line) => void (line.write("HTTP/1.1 200 OK\r\ncontent-le"), line.end())],
  ] satisfies typeof endings) {
    it.effect(`${how}, and is sent once more`, () => {
      const { asked, layer } = upstream(end, 1, {}, pair)
      return Effect.gen(function* () {
        yield* turn(true)
        const answer = yield* turn(true)
        assert.deepStrictEqual([answer.status, answer.headers.get("x-respool-reason")], [200, "upstream_closed"])
        assert.isNull(answer.headers.get("x-should-retry"))
        assert.lengthOf(asked, 3)
      }).pipe(Effect.provide(layer))
    })

    it.effect(`${how}, and is an error where nothing may run twice`, () => {
      const { asked, layer } = upstream(end, 1, { retry: "strict" }, pair)
      return Effect.gen(function* () {
        yield* turn(true)
        const answer = yield* turn(true)
        assert.deepStrictEqual([answer.status, answer.headers.get("x-should-retry")], [502, "false"])
        assert.lengthOf(asked, 2)
      }).pipe(Effect.provide(layer))
    })
  }
})

describe("A connection that closes while the request goes out", () => {
  const large = "x".repeat(700 * 1024)

  /** Ends a connection as it gets the first bytes of its second request, of which the rest is never read. */
  const unread = (end: (line: Line) => void, failing: number, settings: Partial<SettingsValues> = {}) => {
    const cut = { count: 0 }
    const { asked, layer } = upstreamThat((line, request) => {
      answered(line, streams(request))
      if (cut.count === failing) return
      line.received = () => {
        cut.count++
        line.received = () => {}
        end(line)
      }
    }, settings)
    return { asked, cut, layer }
  }

  for (const [how, end] of endings.slice(0, 2)) {
    for (const input of ["Hello", large]) {
      it.effect(`${how} before ${input.length} bytes have been read, and is sent once more`, () => {
        const { asked, cut, layer } = unread(end, 1)
        return Effect.gen(function* () {
          yield* turn(true)
          const answer = yield* turn(true, { input })
          assert.deepStrictEqual([answer.status, answer.headers.get("x-respool-reason")], [200, "upstream_closed"])
          assert.isNull(answer.headers.get("x-should-retry"))
          assert.deepStrictEqual([cut.count, asked.length], [1, 2])
        }).pipe(Effect.provide(layer))
      })

      it.effect(
        `${how} before ${input.length} bytes have been read, and is an error where nothing may run twice`,
        () => {
          const { asked, layer } = unread(end, 1, { retry: "strict" })
          return Effect.gen(function* () {
            yield* turn(true)
            const answer = yield* turn(true, { input })
            assert.deepStrictEqual([answer.status, answer.headers.get("x-should-retry")], [502, "false"])
            assert.lengthOf(asked, 1)
          }).pipe(Effect.provide(layer))
        },
      )
    }
  }
})

/** What an answer says of its connection, which its upstream closes right behind it. */
const lastAnswers: ReadonlyArray<readonly [how: string, answer: (line: Line, stream: boolean) => void]> = [
  ["closes behind its answer", (line, stream) => void (answered(line, stream), line.end())],
  ["says close", (line, stream) => ends(line, stream, "HTTP/1.1", ["connection: close"], true)],
  [
    "says how long it is kept",
    (line, stream) => ends(line, stream, "HTTP/1.1", ["keep-alive: timeout=1, max=1"], true),
  ],
  ["gives no length", (line, stream) => ends(line, stream, "HTTP/1.1", [], false)],
  ["is of HTTP/1.0", (line, stream) => ends(line, stream, "HTTP/1.0", [], true)],
  ["is of HTTP/1.0 and gives no length", (line, stream) => ends(line, stream, "HTTP/1.0", [], false)],
  [
    "says 408 to nobody",
    (line, stream) => {
      answered(line, stream)
      timedOut(line)
    },
  ],
]

const ends = (line: Line, stream: boolean, version: string, more: ReadonlyArray<string>, hasLength: boolean) => {
  const body = stream ? `data: ${emptyAnswer()}\n\n` : emptyResponse()
  const length = hasLength ? [`content-length: ${body.length}`] : []
  const type = `content-type: ${stream ? "text/event-stream" : "application/json"}`
  line.write(head(200, type, ...length, ...more).replace("HTTP/1.1", version), body)
  line.end()
}

/** How an edge ends a connection on which it has waited too long for a request (RFC 9110, section 15.5.9). */
const timedOut = (line: Line, body = "<html><body><h1>408 Request Time-out</h1></body></html>") => {
  const headers = ["content-type: text/html", "cache-control: no-cache", "connection: close"]
  line.write(head(408, ...headers, `content-length: ${body.length}`), body)
  line.end()
}

describe("An upstream over HTTP whose first answer", () => {
  for (const [how, answer] of lastAnswers) {
    for (const stream of [true, false]) {
      it.effect(`${how}, gets each of four turns once, stream: ${stream}`, () => {
        const answers: Array<number> = []
        const { layer } = upstreamThat((line, request, number) => {
          answers.push(number)
          answer(line, streams(request))
        })
        return Effect.gen(function* () {
          for (let turns = 0; turns < 4; turns++) {
            const answer = yield* turn(stream)
            assert.strictEqual(answer.status, 200)
            assert.isNull(answer.headers.get("x-should-retry"))
          }
          assert.lengthOf(answers, 4)
        }).pipe(Effect.provide(layer))
      })
    }
  }
})

describe("A kept connection that an edge has waited on too long, and says 408 to the next turn,", () => {
  for (const [what, body] of [
    ["with a page", undefined],
    ["without a body", ""],
    ["in words", "Request Timeout"],
  ] as const) {
    for (const stream of [true, false]) {
      it.effect(`${what}, costs the client nothing, stream: ${stream}`, () => {
        const { asked, layer } = upstream((line) => timedOut(line, body), 1)
        return Effect.gen(function* () {
          yield* turn(stream)
          const answer = yield* turn(stream)
          assert.deepStrictEqual([answer.status, answer.headers.get("x-respool-reason")], [200, "upstream_closed"])
          assert.isNull(answer.headers.get("x-should-retry"))
          assert.lengthOf(asked, 3)
        }).pipe(Effect.provide(layer))
      })
    }

    it.effect(`${what}, twice, is told as it is`, () => {
      const { asked, layer } = upstream((line) => timedOut(line, body), 9)
      return Effect.gen(function* () {
        yield* turn(true)
        const answer = yield* turn(true)
        assert.deepStrictEqual([answer.status, answer.headers.get("x-should-retry")], [408, "false"])
        assert.lengthOf(asked, 3)
      }).pipe(Effect.provide(layer))
    })

    it.effect(`${what}, is the answer where nothing may run twice`, () => {
      const { asked, layer } = upstream((line) => timedOut(line, body), 1, { retry: "strict" })
      return Effect.gen(function* () {
        yield* turn(true)
        const answer = yield* turn(true)
        assert.deepStrictEqual([answer.status, answer.headers.get("x-should-retry")], [408, "false"])
        assert.lengthOf(asked, 2)
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("in the API's own words, is the client's answer", () => {
    const said = `{"error":{"code":"Timeout","message":"The operation was timeout."}}`
    const { asked, layer } = upstream((line) => timedOut(line, said), 1)
    return Effect.gen(function* () {
      yield* turn(true)
      const answer = yield* turn(true)
      assert.deepStrictEqual([answer.status, answer.text], [408, said])
      assert.isNull(answer.headers.get("x-should-retry"))
      assert.lengthOf(asked, 2)
    }).pipe(Effect.provide(layer))
  })
})
