import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { against } from "../../support/HttpTurn.ts"
import type { Line } from "../../support/RawUpstream.ts"
import { chunk, head, lastChunk } from "../../support/RawUpstream.ts"
import { RecordedTurn, ending, errorIn } from "../../support/RecordedTurn.ts"

const response = (more = "") => `{"id":"resp_1","object":"response","status":"completed","output":[]${more}}`
const created = `data: {"type":"response.created","response":{"id":"resp_1"}}`
const delta = `data: {"type":"response.output_text.delta","delta":"a"}`
const completed = `data: {"type":"response.completed","response":${response()}}`

const contentType = (type: string | undefined) => (type === undefined ? [] : [`content-type: ${type}`])

/** Answers with the status 200, in as many chunks as there are parts. */
const says =
  (type: string | undefined, ...parts: ReadonlyArray<string>) =>
  (line: Line) =>
    line.write(
      head(200, ...contentType(type), "transfer-encoding: chunked"),
      ...parts.map((part) => chunk(part)),
      lastChunk,
    )

/** The types of the events that the turn's client got, and how the turn ended. */
const told = Effect.fnUntraced(function* (upstream: (line: Line) => void, stream = true) {
  const sink = new RecordedTurn()
  const { fiber } = yield* against(upstream, { stream, sink })
  const exit = yield* Fiber.await(fiber)
  const error = errorIn(exit)
  return { events: sink.events, end: Exit.isSuccess(exit) ? exit.value.type : undefined, error }
})

const events = [created, delta, completed].join("\n\n")

describe("An answer over HTTP is read by its body, whatever its content type says", () => {
  const types = [
    undefined,
    "application/json",
    "text/plain; charset=utf-8",
    "application/octet-stream",
    "text/html",
    "TEXT/EVENT-STREAM",
    "*/*",
  ]
  for (const type of types) {
    it.effect(`events as ${type ?? "nothing"}`, () =>
      Effect.gen(function* () {
        const { end, events: seen } = yield* told(says(type, `${events}\n\n`))
        assert.deepStrictEqual(seen, ["response.created", "response.output_text.delta", "response.completed"])
        assert.strictEqual(end, "response.completed")
      }),
    )
    it.effect(`an object as ${type ?? "nothing"}`, () =>
      Effect.gen(function* () {
        const { end, events: seen } = yield* told(says(type, response()), false)
        assert.deepStrictEqual(seen, ["response.completed"])
        assert.strictEqual(end, "response.completed")
      }),
    )
  }

  const beginnings: ReadonlyArray<readonly [what: string, parts: ReadonlyArray<string>]> = [
    ["a byte order mark", ["\u{feff}", `${events}\n\n`]],
    ["a comment", [": hello\n\n", `${events}\n\n`]],
    ["the name of an event", ["event: response.created\n", `${events}\n\n`]],
    ["an id", ["id: 1\n", `${events}\n\n`]],
    ["the time of a retry", ["retry: 10\n\n", `${events}\n\n`]],
    ["empty lines", ["\r\n\r\n", "\n", `${events}\n\n`]],
    ["one byte at a time", [...`${events}\n\n`]],
  ]
  for (const [what, parts] of beginnings) {
    it.effect(`events that begin with ${what}`, () =>
      Effect.gen(function* () {
        const { end } = yield* told(says("application/json", ...parts))
        assert.strictEqual(end, "response.completed")
      }),
    )
  }

  for (const [what, text] of [
    ["a byte order mark", "\u{feff}{"],
    ["white space", " \r\n\t{"],
  ] as const) {
    it.effect(`an object that begins with ${what}`, () =>
      Effect.gen(function* () {
        const { end } = yield* told(says("text/event-stream", `${text}${response().slice(1)}`), false)
        assert.strictEqual(end, "response.completed")
      }),
    )
  }

  for (const [what, type, body, expected] of [
    ["nothing, as events", "text/event-stream", "", "upstream_closed Accepted"],
    ["nothing, as an object", "application/json", "", "upstream_protocol Accepted"],
    ["white space, as nothing", undefined, " \n", "upstream_protocol Accepted"],
    ["a page", "text/html", "<html></html>", "upstream_protocol Accepted"],
    ["a list", "application/json", `[${response()}]`, "upstream_protocol Accepted"],
    ["null", "application/json", "null", "upstream_protocol Accepted"],
    ["half an object", "application/json", response().slice(0, -9), "upstream_protocol Accepted"],
  ] as const) {
    it.effect(`${what}, is no answer`, () =>
      Effect.gen(function* () {
        const { error } = yield* told(says(type, ...(body === "" ? [] : [body])))
        assert.strictEqual(error && ending(error), expected)
      }),
    )
  }
})

describe("The last event over HTTP", () => {
  for (const [what, tail] of [
    ["nothing behind it", ""],
    ["one line end", "\n"],
    ["a carriage return", "\r"],
    ["both", "\r\n"],
    ["a half line of a field", "\nid: 4"],
    ["a comment", "\n: bye"],
  ] as const) {
    it.effect(`counts with ${what}`, () =>
      Effect.gen(function* () {
        const { end } = yield* told(says("text/event-stream", `${events}${tail}`))
        assert.strictEqual(end, "response.completed")
      }),
    )
  }

  it.effect("counts where it is an error", () =>
    Effect.gen(function* () {
      const { error } = yield* told(says("text/event-stream", `data: {"type":"error","code":"server_error"}`))
      assert.strictEqual(error?.answer?.status, 500)
    }),
  )

  for (let cut = 1; cut < completed.length; cut += 7) {
    it.effect(`does not count without its last ${cut} characters`, () =>
      Effect.gen(function* () {
        const { error, events: seen } = yield* told(
          says("text/event-stream", `${delta}\n\n${completed.slice(0, -cut)}`),
        )
        assert.strictEqual(error && ending(error), "upstream_closed Accepted")
        assert.deepStrictEqual(seen, ["response.output_text.delta"])
      }),
    )
  }
})

describe("An error with the status 200", () => {
  const errors: ReadonlyArray<readonly [text: string, status: number, words: string]> = [
    [`{"error":{"message":"Too many.","type":"rate_limit_error","code":"rate_limit_exceeded"}}`, 429, "Too many."],
    [`{"error":{"message":"No such key.","code":"invalid_api_key"}}`, 401, "No such key."],
    [`{"error":{"message":"Gone.","code":410}}`, 410, "Gone."],
    [`{"error":{"message":"Gone.","status":404}}`, 404, "Gone."],
    [`{"status":503,"error":{"message":"Overloaded."}}`, 503, "Overloaded."],
    [`{"id":"x","error":{"message":"It broke."},"output":null}`, 502, "It broke."],
    [`{"error":"It broke."}`, 502, "It broke."],
    [`{"error":"bad_gateway","message":"It broke."}`, 502, "It broke."],
    [`{"code":422,"error":{"message":"No."}}`, 422, "No."],
    [`{"error":["It broke."]}`, 502, "It broke."],
    [`{"type":null,"error":{"message":"It broke.","type":"server_error"}}`, 500, "It broke."],
  ]
  for (const [text, status, words] of errors) {
    for (const form of ["an object", "a line of data", "the last line"] as const) {
      it.effect(`is the upstream's refusal: ${text} as ${form}`, () =>
        Effect.gen(function* () {
          const upstream =
            form === "an object"
              ? says("application/json", text)
              : says("text/event-stream", `data: ${text}${form === "the last line" ? "" : "\n\n"}`)
          const { error, events: seen } = yield* told(upstream, form !== "an object")
          assert.strictEqual(error && ending(error), "upstream_error Rejected")
          assert.strictEqual(error?.answer?.status, status)
          assert.include(error?.answer?.body, words)
          assert.deepStrictEqual(seen, [])
        }),
      )
    }
  }

  for (const text of [`{"message":"It broke."}`, `{"code":"server_error","message":"It broke."}`, `{}`]) {
    it.effect(`is one where only the stream calls it so: ${text}`, () =>
      Effect.gen(function* () {
        const { error } = yield* told(says("text/event-stream", `event: error\ndata: ${text}\n\n`))
        assert.strictEqual(error && ending(error), "upstream_error Rejected")
      }),
    )
  }

  it.effect("ends the turn behind content, too, which has run then", () =>
    Effect.gen(function* () {
      const { error, events: seen } = yield* told(
        says("text/event-stream", `${delta}\n\ndata: {"error":{"message":"It broke."}}\n\n`),
      )
      assert.strictEqual(error && ending(error), "upstream_error Accepted")
      assert.deepStrictEqual(seen, ["response.output_text.delta"])
    }),
  )

  for (const [what, text, type] of [
    ["a response without one", response(`,"error":null`), "response.completed"],
    [
      "a failed response",
      response(`,"error":{"code":"server_error","message":"It broke."}`).replace("completed", "failed"),
      "response.failed",
    ],
    [
      "a failed response that does not say what it is",
      `{"id":"resp_1","status":"failed","error":{"message":"It broke."},"output":[]}`,
      "response.failed",
    ],
  ] as const) {
    it.effect(`is not ${what}`, () =>
      Effect.gen(function* () {
        const { end, events: seen } = yield* told(says("application/json", text), false)
        assert.strictEqual(end, type)
        assert.deepStrictEqual(seen, [type])
      }),
    )
  }
})

describe("A response that has not ended with its answer", () => {
  for (const status of ["queued", "in_progress"]) {
    for (const stream of [true, false]) {
      it.effect(`is told as ${status}, ${stream ? "streamed" : "as one object"}`, () =>
        Effect.gen(function* () {
          const { end, events: seen } = yield* told(
            says("application/json", response().replace("completed", status)),
            stream,
          )
          assert.strictEqual(end, `response.${status}`)
          assert.deepStrictEqual(seen, [`response.${status}`])
        }),
      )
    }
  }
})
