import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { PlainUpstream } from "../support/PlainUpstream.ts"
import { TestProxy } from "../support/TestProxy.ts"

const proxied = PlainUpstream.layerProxied({ http: () => new Response("{}") })

const root = Effect.map(TestProxy, ({ url }) => new URL("/", url).href)

const asked = Effect.fnUntraced(function* (method: string, headers: Readonly<Record<string, string>> = {}, query = "") {
  const url = `${yield* root}${query}`
  return yield* Effect.promise(async () => {
    const response = await fetch(url, { method, headers, ...(method === "POST" ? { body: "{}" } : {}) })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })
})

describe("GET /", () => {
  const ways: ReadonlyArray<readonly [method: string, headers: Readonly<Record<string, string>>, query: string]> = [
    ["GET", {}, ""],
    ["GET", { accept: "text/html,application/xhtml+xml" }, ""],
    ["GET", { accept: "application/json" }, ""],
    ["GET", { authorization: "Bearer test-key-a" }, ""],
    ["GET", { "api-key": "test-key-a" }, ""],
    ["GET", {}, "?x=1"],
    ["GET", { "content-type": "application/json" }, ""],
  ]
  it.effect.each(ways)("says who is there and what to set, to everybody: %s %s %s", ([method, headers, query]) =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const answer = yield* asked(method, headers, query)
      assert.strictEqual(answer.status, 200)
      assert.include(answer.text, "respool, a proxy for the OpenAI Responses API")
      assert.include(answer.text, `\nOPENAI_BASE_URL=${url}\n`)
      assert.strictEqual(answer.headers.get("content-type"), "text/plain; charset=utf-8")
      assert.strictEqual(answer.headers.get("x-content-type-options"), "nosniff")
      assert.notInclude(answer.text, "test-key")
      assert.isEmpty((yield* PlainUpstream).heard)
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("has no body for HEAD, and is for reading alone", () =>
    Effect.gen(function* () {
      const head = yield* asked("HEAD")
      assert.deepStrictEqual([head.status, head.text], [200, ""])
      for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
        const { headers, status, text } = yield* asked(method)
        assert.strictEqual(status, 405, method)
        assert.strictEqual(headers.get("allow"), "GET", method)
        assert.include(text, '"code":"method_not_allowed"', method)
      }
      assert.isEmpty((yield* PlainUpstream).heard)
    }).pipe(Effect.provide(proxied)),
  )

  // What is said is set by people: a name that somebody else chose must not become a command of theirs.
  it.effect.each(["evil.test/$(x)", "a b", "<script>", "x';y", "x\\y"])("repeats no host that is none: %s", (host) =>
    Effect.gen(function* () {
      const { status, text } = yield* asked("GET", { host })
      assert.notInclude(text, host)
      assert.include([200, 400, 403], status)
      if (status === 200) assert.include(text, "OPENAI_BASE_URL=this address with /v1 behind it")
    }).pipe(Effect.provide(proxied)),
  )
})
