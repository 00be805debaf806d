import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { TurnError } from "../../../src/turn/TurnError.ts"
import { Availability } from "../../../src/upstream/pool/Availability.ts"

const url = "wss://upstream.test/v1/responses"
const one = { url, scope: "one" }
const two = { url, scope: "two" }

const failure = (status?: number) =>
  new TurnError({
    reason: status === undefined ? "dial_failed" : "upgrade_refused",
    delivery: "NotSent",
    message: "no",
    ...(status === undefined ? {} : { answer: { status, headers: {}, body: `{"error":{}}` } }),
  })

const test = (name: string, body: (availability: Availability["Service"]) => Effect.Effect<void>) =>
  it.effect(name, () => Effect.flatMap(Availability, body).pipe(Effect.provide(Availability.layer)))

describe("What one caller's dial comes to", () => {
  for (const status of [500, 502, 503, 504, 599, undefined]) {
    const what = status === undefined ? "no answer to its upgrade" : `an answer ${status}`
    test(`by ${what} keeps only that caller from dialling`, ({ failed, trouble }) =>
      Effect.sync(() => {
        failed(one, failure(status), true)
        assert.strictEqual(trouble(one), "dial_backoff")
        assert.isUndefined(trouble(two))
        assert.isUndefined(trouble({ ...one, url: `${url}?other` }))
      }))
  }

  for (const status of [404, 405, 426, 501]) {
    test(`by an answer ${status} puts only that caller on HTTP`, ({ failed, trouble }) =>
      Effect.gen(function* () {
        failed(one, failure(status), true)
        assert.strictEqual(trouble(one), "upstream_http_only")
        assert.isUndefined(trouble(two))
        yield* TestClock.adjust("5 minutes")
        assert.isUndefined(trouble(one))
      }))
  }

  for (const status of [400, 401, 402, 403, 408, 413, 414, 429, 431, 451]) {
    test(`by an answer ${status} keeps nobody`, ({ failed, trouble }) =>
      Effect.sync(() => {
        failed(one, failure(status), true)
        assert.isUndefined(trouble(one))
        assert.isUndefined(trouble(two))
      }))
  }

  test("where the upstream is not reached keeps everybody, whatever the query", ({ failed, trouble }) =>
    Effect.sync(() => {
      failed({ ...one, url: `${url}?api-version=1` }, failure(), false)
      for (const dialled of [one, two, { ...two, url: `${url}?other` }]) {
        assert.strictEqual(trouble(dialled), "dial_backoff")
      }
      assert.isUndefined(trouble({ ...one, url: "wss://other.test/v1/responses" }))
    }))
})

describe("A dial that succeeds", () => {
  test("ends it for all, where the upstream was not reached before", ({ failed, opened, trouble }) =>
    Effect.sync(() => {
      failed(one, failure(), false)
      opened(two)
      assert.isUndefined(trouble(one))
      failed(two, failure(), false)
      assert.strictEqual(trouble(one), "dial_backoff")
    }))

  for (const status of [503, 426, undefined]) {
    test(`ends what another got by ${status ?? "no answer"}`, ({ failed, opened, trouble }) =>
      Effect.sync(() => {
        failed(one, failure(status), true)
        opened(two)
        assert.isUndefined(trouble(one))
      }))
  }

  test("ends nothing more for one who fails again after that, but its own does", ({ failed, opened, trouble }) =>
    Effect.gen(function* () {
      failed(one, failure(503), true)
      opened(two)
      failed(one, failure(503), true)
      opened(two)
      assert.strictEqual(trouble(one), "dial_backoff")
      // It has gone on from where it was.
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(trouble(one), "dial_backoff")
      yield* TestClock.adjust("1 millis")
      assert.isUndefined(trouble(one))
      opened(one)
      failed(one, failure(503), true)
      yield* TestClock.adjust("1 second")
      assert.isUndefined(trouble(one))
    }))

  test("to another address of the upstream ends nothing", ({ failed, opened, trouble }) =>
    Effect.sync(() => {
      failed(one, failure(404), true)
      opened({ ...two, url: `${url}?other` })
      assert.strictEqual(trouble(one), "upstream_http_only")
    }))
})

describe("So many callers that fail as come to be", () => {
  test("are kept from dialling one by one, the latest thousand of them", ({ failed, trouble }) =>
    Effect.sync(() => {
      for (let at = 0; at < 5000; at++) failed({ url, scope: `made up ${at}` }, failure(503), true)
      assert.isUndefined(trouble({ url, scope: "made up 0" }))
      assert.strictEqual(trouble({ url, scope: "made up 4999" }), "dial_backoff")
      assert.isUndefined(trouble(two))
    }))
})
