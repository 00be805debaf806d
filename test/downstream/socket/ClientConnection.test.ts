import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Result } from "effect"
import { ClientConnection } from "../../../src/downstream/socket/ClientConnection.ts"
import type { TurnRequest } from "../../../src/turn/Executor.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import { round } from "../../support/EventLoop.ts"

const asked = JSON.stringify({ type: "response.create", model: "m", input: "x" })

/** A client's connection to nothing, whose messages are read once they may be. */
const connection = Effect.gen(function* () {
  const mayRead = yield* Deferred.make<void>()
  const told: Array<string> = []
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const made = new ClientConnection({
    maxBody: 1_000,
    maxBuffered: 1_000,
    ownAnchors: true,
    now: () => 0,
    run: (effect) => void run(effect),
    enter: Effect.succeed({ holds: () => true, release: () => void told.push("released") }),
    turns: { start: () => Effect.die(new Error("no turn may begin")), running: () => 0 } as never,
    read: ({ bytes }) =>
      Effect.as(Deferred.await(mayRead), { body: Result.getOrThrow(parseRequestBody(bytes)) } as TurnRequest),
    headed: () => {},
    refused: ({ code }) => void told.push(`refused ${code}`),
    ended: () => {},
  })
  made.opened({
    send: (texts) => {
      for (const text of texts) told.push(String((JSON.parse(text) as { type: string }).type))
      return true
    },
    buffered: () => 0,
    ping: () => {},
    close: (code) => void told.push(`closed ${code}`),
    terminate: () => void told.push("terminated"),
  })
  return { made, mayRead, told }
})

describe("A client's connection that is to close", () => {
  it.effect("refuses what had arrived and was not read yet, and closes then", () =>
    Effect.gen(function* () {
      const { made, mayRead, told } = yield* connection
      for (let message = 0; message < 2; message++) made.received(asked)
      made.leave()
      assert.deepStrictEqual(told, [])
      yield* Deferred.succeed(mayRead, undefined)
      yield* Effect.repeat(round, { times: 5 })
      const refusal = ["refused server_shutdown", "released"]
      // Frames of one step go out together behind it.
      assert.deepStrictEqual(told, [...refusal, ...refusal, "error", "error", "closed 1001"])
    }),
  )

  it.effect("closes at once where nothing has arrived", () =>
    Effect.gen(function* () {
      const { made, told } = yield* connection
      made.leave()
      assert.deepStrictEqual(told, ["closed 1001"])
    }),
  )
})
