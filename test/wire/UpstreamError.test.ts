import { assert, describe, it } from "@effect/vitest"
import { errorOf } from "../../src/wire/UpstreamError.ts"

const nested = (error: Record<string, unknown>, rest: Record<string, unknown> = {}) =>
  errorOf(JSON.stringify({ type: "error", error, ...rest }))

const flat = (code: string | null) =>
  errorOf(JSON.stringify({ type: "error", code, message: "no", param: null, sequence_number: 1 }))

describe("errorOf", () => {
  it("reads the envelope and keeps its error as it is written", () => {
    const error =
      '{"type":"invalid_request_error", "code":"previous_response_not_found","message":"Previous response with id \'resp_abc\' not found.","param":"previous_response_id","n":1.0}'
    assert.deepStrictEqual(errorOf(`{"type":"error","status":400,"stream_id":"main","error":${error}}`), {
      status: 400,
      type: "invalid_request_error",
      code: "previous_response_not_found",
      message: "Previous response with id 'resp_abc' not found.",
      param: "previous_response_id",
      headers: {},
      isFlat: false,
      body: `{"error":${error}}`,
    })
  })

  it("reads the flat form and gives it the API's shape", () => {
    assert.deepStrictEqual(flat("rate_limit_exceeded"), {
      status: 429,
      type: undefined,
      code: "rate_limit_exceeded",
      message: "no",
      param: undefined,
      headers: {},
      isFlat: true,
      body: '{"error":{"message":"no","type":"rate_limit_error","code":"rate_limit_exceeded","param":null}}',
    })
  })

  it("takes the status from either name, if it is one of an error", () => {
    assert.strictEqual(nested({ message: "x" }, { status_code: 429 })?.status, 429)
    assert.strictEqual(nested({ message: "x" }, { status: 503, status_code: 429 })?.status, 503)
    assert.strictEqual(nested({ message: "x" }, { status: null, status_code: 401 })?.status, 401)
    for (const status of [200, 399, 600, 400.5, "400"]) {
      assert.strictEqual(nested({ message: "x", code: "server_error" }, { status })?.status, 500, String(status))
    }
  })

  it.each([
    ["rate_limit_exceeded", 429],
    ["usage_limit_reached", 429],
    ["insufficient_quota", 429],
    ["invalid_prompt", 400],
    ["image_too_large", 400],
    ["previous_response_not_found", 400],
    ["context_length_exceeded", 400],
    ["websocket_connection_limit_reached", 400],
    ["invalid_api_key", 401],
    ["server_error", 500],
    ["something_else", 502],
    [null, 502],
  ])("without a status takes it from the code: %s is %d", (code, status) => {
    assert.strictEqual(flat(code)?.status, status)
  })

  it("asks the error's type where the code says nothing", () => {
    assert.strictEqual(nested({ type: "invalid_request_error", code: null, message: "x" })?.status, 400)
    assert.strictEqual(nested({ type: "rate_limit_error", message: "x" })?.status, 429)
    assert.strictEqual(nested({ type: "server_error", code: "new_code", message: "x" })?.status, 500)
    assert.strictEqual(
      nested({ type: "invalid_request_error", code: "rate_limit_exceeded", message: "x" })?.status,
      429,
    )
  })

  it("gathers the headers of both places, in lower case, and only what can be one", () => {
    const headers = nested(
      { message: "x", headers: { "Retry-After": "1", "X-A": "nested" } },
      { headers: { "x-a": "outer", "X-Codex-Primary-Used-Percent": 99.5, bad: null, worse: {} } },
    )?.headers
    assert.deepStrictEqual(headers, { "retry-after": "1", "x-a": "outer", "x-codex-primary-used-percent": "99.5" })
  })

  it("has words for an error without any", () => {
    const error = errorOf('{"type":"error"}')
    assert.strictEqual(error?.status, 502)
    assert.match(error?.message ?? "", /without a message/)
    assert.strictEqual(errorOf('{"type":"error","error":"overloaded"}')?.message, "overloaded")
  })

  it("reads nothing into other events and texts", () => {
    for (const frame of [
      '{"type":"response.failed","error":{"message":"x"}}',
      '{"error":{"message":"x"}}',
      "[]",
      '{"type":"error",}',
      "",
    ]) {
      assert.isUndefined(errorOf(frame), frame)
    }
  })
})
