import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { layerApp } from "./embed.ts"

const upstreamKey = "test-upstream-key"

const app = Layer.unwrap(
  Effect.map(Simulator, ({ url }) =>
    layerApp.pipe(
      Layer.provide(
        ConfigProvider.layer(
          ConfigProvider.fromUnknown({ UPSTREAM: url, TEAM_KEY: "test-team-key", UPSTREAM_KEY: upstreamKey }),
        ),
      ),
    ),
  ),
).pipe(Layer.provideMerge(Simulator.layer({ apiKeys: [upstreamKey] })))

const post = (address: string, headers: Record<string, string>) =>
  Effect.promise(async () => {
    const response = await fetch(`${address}/v1/responses`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ model: "m", input: [{ role: "user", content: "hello" }] }),
    })
    return { status: response.status, headers: response.headers, body: await response.text() }
  })

describe("examples/embed.ts", () => {
  it.effect("serves a turn over a socket for its own auth scope, beside its own route", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const address = yield* HttpServer.addressFormattedWith(Effect.succeed)
      const refused = yield* post(address, {})
      assert.strictEqual(refused.status, 401)
      assert.include(refused.body, "unknown_team")
      const turn = yield* post(address, { "x-team-key": "test-team-key" })
      assert.strictEqual(turn.status, 200)
      assert.strictEqual(turn.headers.get("x-respool-transport"), "websocket")
      assert.strictEqual(simulator.counters.websocketTurns, 1)
      const status: unknown = yield* Effect.promise(async () => (await fetch(`${address}/status`)).json())
      assert.deepStrictEqual(status, { connections: 1 })
    }).pipe(Effect.provide(app)),
  )
})
