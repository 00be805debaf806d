import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { gzipSync } from "node:zlib"
import { ask, errorOf } from "../support/Ask.ts"
import { askRaw, makeRecorder } from "../support/Recorder.ts"
import { makeTenancy, recordIds, startProxy } from "../support/Tenancy.ts"

/** Larger than any answer may be, and small on the wire. */
const long = "x".repeat(100_000)
const wide = "\\u0001".repeat(20_000)

/** What an error may add to the 256 characters that it repeats, each of which JSON may write as six. */
const most = 256 * 6 * 2 + 512

describe("An error that repeats what was sent", () => {
  const bodies: ReadonlyArray<readonly [what: string, status: number, body: (text: string) => string]> = [
    ["previous_response_id", 404, (text) => `{"model":"m","previous_response_id":"${text}"}`],
    ["an item_reference", 404, (text) => `{"model":"m","input":[{"type":"item_reference","id":"${text}"}]}`],
    ["a reference without a type", 404, (text) => `{"model":"m","input":[{"id":"${text}"}]}`],
    ["a conversation", 404, (text) => `{"model":"m","conversation":"${text}"}`],
    ["a conversation as an object", 404, (text) => `{"model":"m","conversation":{"id":"${text}"}}`],
    ["response_id", 404, (text) => `{"model":"m","response_id":"${text}"}`],
    ["a name with another's id inside", 404, (text) => `{"model":"m","${text}":{"id":"theirs"}}`],
    ["a name twice", 400, (text) => `{"model":"m","${text}":1,"${text}":2}`],
    ["a name with a name twice inside", 400, (text) => `{"model":"m","${text}":{"a":1,"a":2}}`],
    ["a name twice inside", 400, (text) => `{"model":"m","tools":[{"${text}":1,"${text}":2}]}`],
    ["a name twice deep inside", 400, (text) => `{"model":"m","input":[[[{"a":{"${text}":1,"${text}":2}}]]]}`],
  ]

  it.effect("is no larger than the longest that it may repeat", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      yield* recordIds(tenancy, `key:${tenancy.a.id}`, ["theirs"])
      const recorder = yield* makeRecorder(() => "{}")
      const { url } = yield* startProxy(tenancy, recorder.url, { transport: "http" })
      for (const [what, status, body] of bodies) {
        for (const path of ["responses", "responses/compact"]) {
          for (const text of [long, wide]) {
            const answer = yield* Effect.promise(async () => {
              const headers = { authorization: `Bearer ${tenancy.b.secret}`, "content-encoding": "gzip" }
              const response = await fetch(`${url}/${path}`, { method: "POST", headers, body: gzipSync(body(text)) })
              return { status: response.status, text: await response.text() }
            })
            assert.strictEqual(answer.status, status, what)
            assert.isAtMost(answer.text.length, most, what)
          }
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )

  it.effect("is so of a path as well", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const recorder = yield* makeRecorder(() => "{}")
      const { url } = yield* startProxy(tenancy, recorder.url, { transport: "http" })
      const name = "y".repeat(12_000)
      const { secret: key } = tenancy.b
      for (const target of [
        `/v1/${name}`,
        `/v1/responses/${name}`,
        `/v1/models/a/${name}`,
        `/${name}`,
        `/v1/files?${name}`,
      ]) {
        const answer = yield* askRaw(url, "GET", target, key)
        assert.strictEqual(answer.status, 404, target.slice(0, 20))
        assert.isAtMost(answer.text.length, most)
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )

  it.effect("is so of a header as well, and repeats what is short", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const recorder = yield* makeRecorder(() => "{}")
      const { url } = yield* startProxy(tenancy, recorder.url, { transport: "http" })
      const name = "z".repeat(8_000)
      const body = `{"model":"m","previous_response_id":"resp_short"}`
      for (const header of ["x-request-id", "origin", "content-encoding", "authorization", "session-id"]) {
        const answer = yield* ask(`${url}/responses`, { key: tenancy.b.secret, body, headers: { [header]: name } })
        assert.isAtLeast(answer.status, 400, header)
        assert.isAtMost(answer.text.length, most)
        for (const value of answer.headers.values()) assert.isAtMost(value.length, 256)
      }
      const short = errorOf(yield* ask(`${url}/responses`, { key: tenancy.b.secret, body }))
      assert.strictEqual(short.message, "Previous response with id 'resp_short' not found.")
    }).pipe(Effect.scoped),
  )
})
