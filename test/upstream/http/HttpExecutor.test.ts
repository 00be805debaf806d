import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { HttpClient, HttpClientError } from "effect/http"
import { TestClock } from "effect/testing"
import { Settings } from "../../../src/config/Settings.ts"
import { Forwarder } from "../../../src/turn/Forwarder.ts"
import { anonymous } from "../../../src/turn/Caller.ts"
import type { TurnError } from "../../../src/turn/TurnError.ts"
import { HttpExecutor } from "../../../src/upstream/http/HttpExecutor.ts"
import { Credentials } from "../../../src/upstream/credential/Credentials.ts"
import * as Forwarding from "../../../src/upstream/http/Forwarding.ts"
import { HttpUpstream } from "../../../src/upstream/http/HttpUpstream.ts"
import { Routing } from "../../../src/upstream/route/Routing.ts"
import { Upstreams } from "../../../src/upstream/route/Upstreams.ts"
import {
  MiB,
  against,
  broken,
  completed,
  created,
  delta,
  endless,
  executing,
  refused,
  sse,
  turn,
} from "../../support/HttpTurn.ts"
import { leftOut, saying } from "../../support/ByName.ts"
import type { Line } from "../../support/RawUpstream.ts"
import { chunk, head, lastChunk, rawUpstream } from "../../support/RawUpstream.ts"
import { RecordedTurn, ending, failureOf } from "../../support/RecordedTurn.ts"

describe("What an upstream has seen of a turn that failed over HTTP", () => {
  const cases: ReadonlyArray<readonly [what: string, says: (line: Line) => void, expected: string]> = [
    ["hung up without an answer", (line) => line.end(), "upstream_closed Ambiguous"],
    ["reset without an answer", (line) => line.reset(), "upstream_closed Ambiguous"],
    [
      "said something that is no HTTP",
      (line) => {
        line.write("nonsense\r\n\r\n")
        line.end()
      },
      "upstream_closed Ambiguous",
    ],
    [
      "hung up behind the head",
      (line) => {
        line.write(sse)
        line.end()
      },
      "upstream_closed Accepted",
    ],
    [
      "hung up in the middle of its events",
      (line) => {
        line.write(sse, chunk(created))
        line.end()
      },
      "upstream_closed Accepted",
    ],
    [
      "ended its stream without a terminal event",
      (line) => line.write(sse, chunk(created + delta), lastChunk),
      "upstream_closed Accepted",
    ],
    ["failed at once", (line) => line.write(sse, chunk(broken)), "upstream_error Rejected"],
    ["failed behind its first event", (line) => line.write(sse, chunk(created + broken)), "upstream_error Accepted"],
    ["refused behind its first event", (line) => line.write(sse, chunk(created + refused)), "upstream_error Rejected"],
    ["failed behind content", (line) => line.write(sse, chunk(delta + broken)), "upstream_error Accepted"],
    ["sent half an event", (line) => line.write(sse, chunk(`data: {"type":"resp\n\n`)), "upstream_protocol Accepted"],
    [
      "sent a garbled error event",
      (line) => line.write(sse, chunk(`${delta}data: {"type":"error",oops}\n\n`)),
      "upstream_protocol Accepted",
    ],
    [
      "sent a garbled terminal event",
      (line) =>
        line.write(sse, chunk(`${delta}data: {"type":"response.completed","response":{"id":"re}\n\n`), lastChunk),
      "upstream_protocol Accepted",
    ],
    [
      "sent a terminal event that is garbled behind its response",
      (line) => line.write(sse, chunk(completed.replace("}}", "},oops}")), lastChunk),
      "upstream_protocol Accepted",
    ],
    [
      "sent a terminal event without a response",
      (line) => line.write(sse, chunk(`data: {"type":"response.completed"}\n\n`), lastChunk),
      "upstream_protocol Accepted",
    ],
    [
      "answered with the status 600",
      (line) => line.write(head(600, "content-length: 0")),
      "upstream_protocol Accepted",
    ],
    [
      "answered with the status 99",
      (line) => line.write("HTTP/1.1 099 Odd\r\ncontent-length: 9\r\n\r\n"),
      "upstream_protocol Accepted",
    ],
    [
      "sent JSON that is no response",
      (line) => line.write(head(200, "content-length: 2"), "[]"),
      "upstream_protocol Accepted",
    ],
  ]
  for (const [what, says, expected] of cases) {
    it.effect(`is ${expected} where it ${what}`, () =>
      Effect.gen(function* () {
        const { failed } = yield* against(says)
        assert.strictEqual(ending(yield* failed), expected)
      }),
    )
  }

  const goesOn: ReadonlyArray<readonly [what: string, says: (line: Line) => void]> = [
    ["sends half an event", (line) => line.write(sse, chunk(`data: {"type":"resp\n\n`))],
    ["sends an error event", (line) => line.write(sse, chunk(broken))],
    ["answers with the status 600", (line) => line.write(head(600, "content-length: 9"))],
    ["answers with the status 99", (line) => line.write("HTTP/1.1 099 Odd\r\ncontent-length: 9\r\n\r\n")],
  ]
  for (const [what, says] of goesOn) {
    it.effect(`is decided at once when it ${what} and goes on: it is left`, () =>
      Effect.gen(function* () {
        const { failed, line } = yield* against(says)
        yield* failed
        yield* Deferred.await((yield* line).closed)
      }),
    )
  }

  it.effect("is over for what is no turn, too, when its status is none of HTTP", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<Line>()
      const upstream = yield* rawUpstream((line) => {
        line.write(head(777, "content-length: 9"))
        Deferred.doneUnsafe(asked, Effect.succeed(line))
      })
      const { forward } = yield* Effect.provide(Forwarder, executing(upstream.port))
      const request = { method: "GET", path: "/models", headers: {}, caller: anonymous, body: undefined }
      assert.strictEqual(ending(failureOf(yield* Effect.exit(forward(request)))), "upstream_protocol Accepted")
      yield* Deferred.await((yield* Deferred.await(asked)).closed)
    }),
  )

  it.effect("comes with the upstream's own words where it failed in an event", () =>
    Effect.gen(function* () {
      const { failed } = yield* against((line) => line.write(sse, chunk(created + broken), lastChunk))
      const { answer, code, event, message } = yield* failed
      assert.deepStrictEqual(
        { status: answer?.status, code, message, event: `data: ${event}\n\n` },
        // Whoever logs the message logs none of the upstream's words.
        {
          status: 500,
          code: "server_error",
          message: "the upstream answered with an error (server_error)",
          event: broken,
        },
      )
    }),
  )

  it.effect("is NotSent where nobody listens", () =>
    Effect.gen(function* () {
      const { execute } = yield* HttpExecutor
      const error = failureOf(yield* Effect.exit(execute(turn(true), new RecordedTurn())))
      assert.strictEqual(ending(error), "upstream_unreachable NotSent")
    }).pipe(Effect.provide(executing(1))),
  )

  const codes: ReadonlyArray<readonly [code: string, delivery: TurnError["delivery"]]> = [
    ["ENOTFOUND", "NotSent"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "NotSent"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "NotSent"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "NotSent"],
    ["CERT_HAS_EXPIRED", "NotSent"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "NotSent"],
    // A peer may refuse our certificate after we have written.
    ["EPROTO", "Ambiguous"],
    ["ETIMEDOUT", "Ambiguous"],
  ]
  for (const [code, delivery] of codes) {
    it.effect(`is ${delivery} where the platform says ${code}`, () =>
      Effect.gen(function* () {
        const { forward } = yield* Forwarder
        const request = { method: "GET", path: "/models", headers: {}, caller: anonymous, body: undefined }
        assert.strictEqual(ending(failureOf(yield* Effect.exit(forward(request)))), `upstream_unreachable ${delivery}`)
      }).pipe(
        Effect.provide(
          Forwarding.layerNoDeps.pipe(
            Layer.provide([HttpUpstream.layerNoDeps, Routing.layerNoDeps]),
            Layer.provide(
              Layer.succeed(
                HttpClient.HttpClient,
                HttpClient.make((request) => {
                  const cause = Object.assign(new Error("no"), { code })
                  const reason = new HttpClientError.TransportError({ request, cause })
                  return Effect.fail(new HttpClientError.HttpClientError({ reason }))
                }),
              ),
            ),
            Layer.provide([Upstreams.layerNoDeps, Credentials.layerFixed]),
            Layer.provide(Settings.layer()),
          ),
        ),
      ),
    )
  }
})

describe("What is kept of an answer over HTTP", () => {
  const why = leftOut(import.meta.url, "one of its answers has 64 MiB of JSON")
  it.effect.skipIf(why !== undefined)(`is at most 64 MiB of JSON${saying(why)}`, () =>
    Effect.gen(function* () {
      const body = (length: number) => `{"status":"completed","x":"${"a".repeat(length - 29)}"}`
      const says = (length: number) => (line: Line) =>
        line.write(head(200, "content-type: application/json", `content-length: ${length}`), body(length))
      const sink = new RecordedTurn()
      const fits = yield* against(says(64 * MiB), { sink, stream: false })
      assert.strictEqual((yield* Fiber.join(fits.fiber)).type, "response.completed")
      assert.isAbove(sink.bytes, 64 * MiB)
      const over = yield* against(says(64 * MiB + 1), { stream: false })
      const error = yield* over.failed
      assert.strictEqual(ending(error), "upstream_protocol Accepted")
      assert.include(error.message, "limit")
      assert.deepStrictEqual(over.sink.events, [])
    }),
  )

  it.effect("is one event of at most 64 MiB, and the upstream that goes on with it is left", () =>
    Effect.gen(function* () {
      const { failed, line, sink } = yield* against((line) => {
        line.write(sse, chunk(`${created}data: {"type":"response.output_text.delta","delta":"`))
        line.flood(endless("a".repeat(256 * 1024)))
      })
      assert.strictEqual(ending(yield* failed), "upstream_protocol Accepted")
      const { closed, taken } = yield* line
      yield* Deferred.await(closed)
      assert.isAbove(taken, 64 * MiB)
      assert.deepStrictEqual(sink.events, ["response.created"])
    }),
  )

  it.effect("is the first MiB of what explains a refusal", () =>
    Effect.gen(function* () {
      const { failed, line } = yield* against((line) => {
        line.write(head(429, "retry-after: 7", "transfer-encoding: chunked"), chunk("Slow down. "))
        line.flood(endless("a".repeat(64 * 1024)))
      })
      const error = yield* failed
      assert.strictEqual(ending(error), "upstream_error Rejected")
      assert.strictEqual(error.answer?.status, 429)
      assert.strictEqual(error.answer?.headers["retry-after"], "7")
      assert.strictEqual(error.answer?.body.length, MiB)
      assert.isTrue(error.answer?.body.startsWith("Slow down. aaa"))
      yield* Deferred.await((yield* line).closed)
    }),
  )

  it.effect("is as much of a refusal as came before the upstream hung up", () =>
    Effect.gen(function* () {
      const { failed } = yield* against((line) => {
        line.write(head(400, "content-length: 100"), "No.")
        line.end()
      })
      const error = yield* failed
      assert.strictEqual(ending(error), "upstream_error Rejected")
      assert.strictEqual(error.answer?.status, 400)
      // The platform may drop what it has not handed on when the connection breaks.
      assert.include(["", "No."], error.answer?.body)
    }),
  )

  for (const stream of [true, false]) {
    it.effect(`is as much of a refusal as came in ten seconds, whatever the turn's own times (stream: ${stream})`, () =>
      Effect.gen(function* () {
        const { came, failed, fiber, line } = yield* against(
          (line) => line.write(head(500, "content-length: 100"), "It is"),
          { stream, settings: { firstEventTimeout: 5_000, turnTimeout: 5_000 } },
        )
        yield* came
        yield* TestClock.adjust("9999 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const error = yield* failed
        assert.strictEqual(ending(error), "upstream_error Rejected")
        assert.deepInclude(error.answer, { status: 500, body: "It is" })
        yield* Deferred.await((yield* line).closed)
      }),
    )
  }

  it.effect("is nothing where an answer has no body", () =>
    Effect.gen(function* () {
      const upstream = yield* rawUpstream((line) => line.write(head(204)))
      const { forward } = yield* Effect.provide(Forwarder, executing(upstream.port))
      const request = {
        method: "DELETE",
        path: "/responses/resp_1",
        headers: {},
        caller: anonymous,
        body: undefined,
      }
      const { body, status } = yield* forward(request)
      assert.strictEqual(status, 204)
      assert.strictEqual(yield* Stream.mkString(Stream.decodeText(body)), "")
    }),
  )

  it.effect("is nothing where a refusal has no body", () =>
    Effect.gen(function* () {
      const { failed } = yield* against((line) => line.write(head(304)))
      assert.deepInclude((yield* failed).answer, { status: 304, body: "" })
    }),
  )
})
