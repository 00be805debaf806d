import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { gzipSync } from "node:zlib"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { outputOf } from "../support/Ask.ts"
import type { RawRequest } from "../support/RawConnection.ts"
import { rawConnection } from "../support/RawConnection.ts"
import { user } from "../support/Items.ts"

const maxBody = 32 * 1024
const proxied = TestProxy.layerBrief({ maxBody })

const ours = [
  ["authorization", "Bearer test-key-a"],
  ["session-id", "the-session"],
  ["content-type", "application/json"],
] as const

const small = `{"model":"gpt-5.5","input":"x"}`
const large = `{"model":"gpt-5.5","input":"${"x".repeat(maxBody)}"}`
const encoded = (encoding: string) => [...ours, ["content-encoding", encoding] as const]
const upgrading: ReadonlyArray<readonly [name: string, value: string]> = [
  ...ours,
  ["connection", "Upgrade"],
  ["upgrade", "websocket"],
  ["sec-websocket-version", "13"],
  ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="],
]

interface Bad {
  readonly what: string
  readonly request: RawRequest
  readonly status: number
  readonly code: string
  readonly param?: string
}

const bad = (what: string, status: number, code: string, request: RawRequest, param?: string): Bad => ({
  what,
  request: { headers: ours, ...request },
  status,
  code,
  ...(param === undefined ? {} : { param }),
})

const body = (what: string, code: string, text: string, param?: string): Bad =>
  bad(what, 400, code, { body: text }, param)

const bads: ReadonlyArray<Bad> = [
  body("a body that is no JSON", "invalid_json", `{"model":`),
  body("an empty body", "invalid_json", ""),
  body("text after the object", "invalid_json", `${small}{}`),
  body("a number no JSON has", "invalid_json", `{"model":"gpt-5.5","n":01}`),
  body("an array", "not_object", `[${small}]`),
  body("a string", "not_object", `"x"`),
  body("null", "not_object", "null"),
  body("input given twice", "duplicate_member", `{"model":"m","input":"a","input":"b"}`, "input"),
  body(
    "input given twice, once spelled with escapes",
    "duplicate_member",
    `{"model":"m","input":"a","\\u0069nput":"b"}`,
    "input",
  ),
  body("an unknown member given twice", "duplicate_member", `{"model":"m","x":1,"x":1}`, "x"),
  body("nesting without end", "too_deep", `{"model":"m","input":${"[".repeat(10_000)}${"]".repeat(10_000)}}`),
  bad("bytes that are no UTF-8", 400, "invalid_utf8", {
    body: Buffer.concat([Buffer.from(`{"model":"m","input":"`), Buffer.from([0xc3, 0x28]), Buffer.from(`"}`)]),
  }),
  bad("a body over the limit by its announced length", 413, "request_too_large", { body: large }),
  bad("a body over the limit, in chunks", 413, "request_too_large", { body: large, chunk: 1000 }),
  bad("a body over the limit only once decoded", 413, "request_too_large", {
    headers: encoded("gzip"),
    body: gzipSync(large),
  }),
  bad("gzip that is none", 400, "invalid_content_encoding", { headers: encoded("gzip"), body: small }),
  bad("gzip that is cut short", 400, "invalid_content_encoding", {
    headers: encoded("gzip"),
    body: gzipSync(small).subarray(0, -9),
  }),
  bad("an unknown Content-Encoding", 415, "unsupported_content_encoding", {
    headers: encoded("compress"),
    body: small,
  }),
  bad("two Content-Encodings", 415, "unsupported_content_encoding", { headers: encoded("gzip, br"), body: small }),
  bad("an unknown path", 404, "unknown_url", { path: "/v2/responses", body: small }),
  bad("the root in another case", 404, "unknown_url", { path: "/Index" }),
  bad("a WebSocket upgrade that is not whole", 400, "invalid_upgrade", { headers: upgrading.slice(0, -1) }),
  bad("a WebSocket upgrade that is not whole, without /v1", 400, "invalid_upgrade", {
    path: "/responses",
    headers: upgrading.slice(0, -1),
  }),
  bad("a WebSocket upgrade elsewhere", 426, "websocket_not_supported", { path: "/v1/models", headers: upgrading }),
  ...["/v1/responses", "/responses"].flatMap((path) =>
    ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"].map((method) =>
      bad(`${method} ${path}`, 405, "method_not_allowed", { path, method }),
    ),
  ),
  bad("PUT with a body", 405, "method_not_allowed", { method: "PUT", body: small }),
  bad("POST /healthz", 405, "method_not_allowed", { path: "/healthz", body: "{}" }),
  bad("DELETE /healthz", 405, "method_not_allowed", { path: "/healthz", method: "DELETE" }),
]

const turnOf = (input: ReadonlyArray<unknown>): RawRequest => ({
  headers: ours,
  body: JSON.stringify({ model: "gpt-5.5", store: false, input }),
})

describe("Between two turns on one client connection", () => {
  for (const { code, param = null, request, status, what } of bads) {
    it.effect(`${what} is ${status} ${code}, and nothing else is changed by it`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { url } = yield* TestProxy
        const { ask } = yield* rawConnection(url)
        const first = [user("What is known?")]
        const begun = yield* ask(turnOf(first))
        assert.strictEqual(begun.status, 200, begun.text)

        const refused = yield* ask(request)
        assert.strictEqual(refused.status, status, refused.text)
        assert.match(refused.headers.get("content-type") ?? "", /^application\/json\b/)
        const error = refused.json?.["error"]
        assert.isObject(error)
        assert.sameMembers(Object.keys(error ?? {}), ["message", "type", "code", "param"])
        assert.deepInclude(error, { type: "invalid_request_error", code, param })
        assert.match(String((error as { readonly message: unknown }).message), /\S/)
        if (status === 405)
          assert.strictEqual(refused.headers.get("allow"), request.path === "/healthz" ? "GET" : "POST")

        const next = yield* ask(turnOf([...first, ...outputOf(begun), user("And then?")]))
        assert.strictEqual(next.status, 200, next.text)
        assert.strictEqual(next.headers.get("x-respool-input"), "suffix")
        assert.strictEqual(next.headers.get("x-respool-connection"), "reused")
        assert.deepInclude(simulator.counters, { upgrades: 1, openSockets: 1, websocketTurns: 2, httpTurns: 0 })
      }).pipe(Effect.scoped, Effect.provide(proxied)),
    )
  }

  it.effect("a HEAD of the turn's path is 405 without a body", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const answer = yield* Effect.promise(() => fetch(`${url}/responses`, { method: "HEAD" }))
      assert.strictEqual(answer.status, 405)
      assert.strictEqual(yield* Effect.promise(() => answer.text()), "")
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("an Upgrade to something else than a WebSocket is ignored, as HTTP says", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { ask } = yield* rawConnection(url)
      const headers = [...ours, ["connection", "Upgrade, HTTP2-Settings"] as const, ["upgrade", "h2c"] as const]
      const models = yield* ask({ path: "/v1/models", headers })
      assert.strictEqual(models.status, 200, models.text)
      assert.strictEqual((yield* ask({ path: "/v1/responses", headers })).status, 405)
    }).pipe(Effect.scoped, Effect.provide(proxied)),
  )

  it.effect("a method nobody knows is 405 everywhere", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      for (const path of ["/v1/responses", "/v1/models"]) {
        const { ask } = yield* rawConnection(url)
        const answer = yield* ask({ path, method: "PROPFIND", headers: ours })
        assert.strictEqual(answer.status, 405, answer.text)
        assert.property(answer.json, "error")
      }
    }).pipe(Effect.scoped, Effect.provide(proxied)),
  )
})
