import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { TurnMemory } from "../../src/turn/memory/TurnMemory.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { toFrame } from "../../src/wire/Frame.ts"
import { parseRequestBody } from "../../src/wire/RequestBody.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Answer } from "../support/Ask.ts"
import type { Fuzzed } from "../support/BodyFuzz.ts"
import { fuzzedBody, verdictOf } from "../support/BodyFuzz.ts"
import { ownMembers } from "../support/OwnMembers.ts"
import { emptyAnswer, emptyResponse, PlainUpstream } from "../support/PlainUpstream.ts"
import { rawConnection } from "../support/RawConnection.ts"
import { turnsIn } from "../support/Logged.ts"
import { runs } from "../support/Runs.ts"

/** Through real sockets, with all that is around a turn; and through the reading of a body alone. */
const asked = runs(100_000)
const read = runs(25_000)
const clients = 32

const report = (seed: number, { body, encoding, how }: Fuzzed, answer?: Answer) =>
  `seed ${seed} (${how}, ${encoding ?? "no encoding"}): ${answer?.status ?? ""} ${answer?.text.slice(0, 300) ?? ""}\n` +
  Buffer.from(body.subarray(0, 2000)).toString("latin1")

/** Throws unless the answer is what the oracle says; tells whether the upstream was asked. */
const judge = (seed: number, fuzzed: Fuzzed, answer: Answer): boolean => {
  const verdict = verdictOf(fuzzed)
  const told = () => report(seed, fuzzed, answer)
  if (verdict === "upstream") {
    assert.isTrue(answer.status === 200 || (answer.status >= 400 && answer.status < 500), told())
    assert.isTrue(answer.headers.has("x-respool-transport"), told())
    return true
  }
  assert.strictEqual(answer.status, verdict.status, told())
  assert.isFalse(answer.headers.has("x-respool-transport"), told())
  const error = answer.json?.["error"]
  assert.sameMembers(Object.keys(error ?? {}), ["message", "type", "code", "param"], told())
  const { code, type } = error as { readonly code: string; readonly type: string }
  assert.strictEqual(type, "invalid_request_error", told())
  assert.include(verdict.codes, code, told())
  return false
}

/** All but the frame's own type. */
const ours = ownMembers.filter((name) => name !== "type")

// So few places, and so little room, that a leak of one turn in a hundred would leave none.
const settings = {
  maxTurns: 4 * clients,
  maxBodies: 16 * 1024 * 1024,
  maxBody: 1024 * 1024,
  maxConnections: 3 * clients,
}

const refusal = `{"type":"error","status":422,"error":{"message":"no","type":"invalid_request_error","code":"no","param":null}}`

/** Takes only what a socket may carry, and refuses some of that. */
const frames = (message: string): ReadonlyArray<string> => {
  const frame = JSON.parse(message) as Readonly<Record<string, unknown>>
  if (frame["type"] !== "response.create") throw new Error(`not a request: ${message}`)
  for (const name of ours) if (name in frame) throw new Error(`${name} in ${message}`)
  return [message.length % 16 === 0 ? refusal : emptyAnswer()]
}

const http = (): Response => new Response(emptyResponse())

const proxied = PlainUpstream.layerProxied({ frames, http }, settings)

describe("Request bodies that nobody means to send", () => {
  it.effect(
    "are answered each with the right class of status, and leave nothing behind",
    () =>
      Effect.gen(function* () {
        const { logged, url } = yield* TestProxy
        const pool = yield* ConnectionPool
        const memory = yield* TurnMemory
        let next = 0
        let turns = 0
        let answered = 0

        const client = Effect.scoped(
          Effect.gen(function* () {
            const { ask } = yield* rawConnection(url)
            for (let seed = ++next; seed <= asked; seed = ++next) {
              const fuzzed = fuzzedBody(seed)
              const { body, encoding } = fuzzed
              const answer = yield* ask({
                headers: [
                  ["authorization", "Bearer test-key-a"],
                  ["content-type", "application/json"],
                  ...(encoding === undefined ? [] : [["content-encoding", encoding] as const]),
                ],
                body,
                // Some in pieces, so that they are collected.
                ...(seed % 10 === 0 ? { chunk: 100 } : {}),
              })
              if (judge(seed, fuzzed, answer)) turns++
              if (answer.status === 200) answered++
            }
          }),
        )
        yield* Effect.all(
          Array.from({ length: clients }, () => client),
          { concurrency: "unbounded", discard: true },
        )

        assert.isAbove(answered, asked / 20)
        assert.isAbove(turns - answered, asked / 500)
        const { ask } = yield* rawConnection(url)
        const normal = yield* ask({
          headers: [["authorization", "Bearer test-key-a"]],
          body: `{"model":"gpt-5.5","input":"Hello"}`,
        })
        assert.strictEqual(normal.status, 200, normal.text)
        const connections = pool.connections()
        assert.deepStrictEqual(
          connections.filter(({ state }) => state !== "Idle"),
          [],
        )
        assert.isAtMost(connections.length, settings.maxConnections)
        assert.isAtMost(memory.size(), connections.length)
        assert.strictEqual(pool.waiting(), 0)
        // Every turn that was begun has ended, which is when its line is written, or counted for one a second later.
        yield* TestClock.adjust("1 second")
        assert.strictEqual(turnsIn(logged), turns + 1)
        assert.deepStrictEqual(
          logged.filter((line) => /level=(ERROR|FATAL)/i.test(line)),
          [],
        )
      }).pipe(Effect.scoped, Effect.provide(proxied)),
    { timeout: 600_000 },
  )

  it("are read, each as the oracle says, and what is sent for one is an object without respool's members", () => {
    for (let seed = asked + 1; seed <= asked + read; seed++) {
      const fuzzed = fuzzedBody(seed)
      if (fuzzed.encoding !== undefined) continue
      const parsed = parseRequestBody(fuzzed.body)
      const verdict = verdictOf(fuzzed)
      if (Result.isSuccess(parsed) !== (verdict === "upstream")) assert.fail(report(seed, fuzzed))
      if (Result.isFailure(parsed)) continue
      const frame = JSON.parse(Buffer.from(toFrame(parsed.success, { fromItem: 0 })).toString()) as object
      assert.strictEqual("type" in frame && frame.type, "response.create")
      for (const name of ours) assert.isFalse(name in frame, `seed ${seed}`)
    }
  }, 600_000)
})
