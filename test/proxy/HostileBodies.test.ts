import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestProxy } from "../support/TestProxy.ts"
import { emptyAnswer, emptyResponse, PlainUpstream } from "../support/PlainUpstream.ts"
import { rawConnection } from "../support/RawConnection.ts"
import { errorIn } from "../support/Ask.ts"
import { leftOut, saying } from "../support/ByName.ts"

const key = ["authorization", "Bearer test-key-a"] as const

const proxied = PlainUpstream.layerProxied({
  frames: () => [emptyAnswer()],
  http: () => new Response(emptyResponse()),
})

describe("A body of a hostile shape", () => {
  const why = leftOut(import.meta.url, "its bodies have twenty million items")
  it.effect.skipIf(why !== undefined)(
    `with millions of items is sent in full, whole, and never continued${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const { heard } = yield* PlainUpstream
        const { ask } = yield* rawConnection(url)
        for (const [items, way] of [
          [2_000_000, "WS"],
          [8_000_000, "POST"],
        ] as const) {
          const body = Buffer.concat([
            Buffer.from(`{"model":"m","input":[1`),
            Buffer.alloc(2 * items, ",1"),
            Buffer.from("]}"),
          ])
          for (let round = 0; round < 2; round++) {
            const answer = yield* ask({ headers: [key], body })
            assert.strictEqual(answer.status, 200, answer.text)
            assert.strictEqual(answer.headers.get("x-respool-input"), "full")
            if (way === "WS") assert.strictEqual(answer.headers.get("x-respool-reason"), "too_costly")
            const sent = heard.at(-1)
            assert.strictEqual(sent?.method, way)
            assert.isAtLeast(sent?.body.length ?? 0, body.length)
          }
        }
      }).pipe(Effect.scoped, Effect.provide(proxied)),
  )

  it.effect("with a million members, or a megabyte of brackets, is 400, and so is each inside the other", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const { ask } = yield* rawConnection(url)
      const many = Array.from({ length: 1_000_000 }, (_, i) => `"${i}":1`).join(",")
      const brackets = "[".repeat(1 << 20)
      for (const [body, code] of [
        [`{${many}}`, "too_many_members"],
        [brackets, "too_deep"],
        [`{"input":${brackets}`, "too_deep"],
        [`{"a":`.repeat(1 << 18), "too_deep"],
      ] as const) {
        const answer = yield* ask({ headers: [key], body })
        assert.strictEqual(answer.status, 400)
        assert.strictEqual(errorIn(answer)["code"], code)
        assert.isBelow(answer.text.length, 500)
      }
      assert.strictEqual(heard.length, 0)
      assert.strictEqual((yield* ask({ headers: [key], body: `{"model":"m","input":"Hello"}` })).status, 200)
    }).pipe(Effect.scoped, Effect.provide(proxied)),
  )
})
