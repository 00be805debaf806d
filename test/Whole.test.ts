/**
 * Several of respool in one process: each is whole, and none knows of another.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { HttpServer } from "effect/http"
import { ConnectionPool, layer } from "../src/Respool.ts"
import type { JsonObject } from "../src/simulator/JsonText.ts"
import { Simulator } from "../src/simulator/Simulator.ts"
import { ask as askAt } from "./support/Ask.ts"
import { unlessItHangs } from "./support/EventLoop.ts"
import { scrapedAt, sum } from "./support/Exposition.ts"
import { user } from "./support/Items.ts"

const headers = { authorization: "Bearer test-key-a", "session-id": "s" }

const ask = Effect.fnUntraced(function* (address: string, input: ReadonlyArray<JsonObject>) {
  const { headers: told, json } = yield* askAt(`${address}/v1/responses`, {
    headers,
    body: { model: "gpt-5.5", input },
  })
  const { output } = json as { readonly output: ReadonlyArray<JsonObject> }
  return { reason: told.get("x-respool-reason"), said: [...input, ...output, user("go on")] }
})

const turnsAt = (address: string) => Effect.map(scrapedAt(address), (samples) => sum(samples, "respool_turns_total"))

const addressIn = (context: Context.Context<HttpServer.HttpServer>) =>
  HttpServer.addressFormattedWith(Effect.succeed).pipe(Effect.provide(context))

describe("The proxy in one line", () => {
  it.effect("runs twice in one process, and the two share nothing", () =>
    Effect.gen(function* () {
      const { counters, url, until } = yield* Simulator
      const settings = { port: 0, upstreamUrl: url }
      const scope = yield* Scope.make()
      const one = yield* Layer.buildWithScope(layer(settings), scope)
      const other = yield* Layer.build(layer(settings))
      const [at, otherAt] = [yield* addressIn(one), yield* addressIn(other)]
      assert.notStrictEqual(at, otherAt)

      const first = yield* ask(at, [user("hello")])
      assert.strictEqual((yield* ask(otherAt, first.said)).reason, "no_checkpoint")
      assert.strictEqual((yield* ask(at, first.said)).reason, "continued")
      assert.strictEqual(counters.upgrades, 2)
      for (const context of [one, other]) assert.lengthOf(Context.get(context, ConnectionPool).connections(), 1)
      assert.deepStrictEqual([yield* turnsAt(at), yield* turnsAt(otherAt)], [2, 1])

      yield* Scope.close(scope, Exit.void)
      yield* unlessItHangs(until(() => counters.openSockets === 1))
      assert.strictEqual((yield* ask(otherAt, [user("still there?")])).reason !== undefined, true)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("is another one for each call, also where one app is given two", () =>
    Effect.gen(function* () {
      const { url } = yield* Simulator
      const pools: Array<ConnectionPool["Service"]> = []
      const used = (one: ReturnType<typeof layer>) =>
        Layer.effectDiscard(Effect.map(ConnectionPool, (pool) => pools.push(pool))).pipe(Layer.provide(one))
      const settings = { port: 0, upstreamUrl: url }
      yield* Layer.build(Layer.merge(used(layer(settings)), used(layer(settings))))
      assert.notStrictEqual(pools[0], pools[1])
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("says what is wrong with its settings", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(layer({ upstreamUrl: "nowhere" })))
      assert.match(error.message, /upstreamUrl/)
    }),
  )
})
