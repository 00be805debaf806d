import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { HttpServer } from "effect/http"
import { appCredential } from "../../src/Respool.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Manner, OnHttp, OnSocket } from "../support/EchoingUpstream.ts"
import { EchoingUpstream } from "../support/EchoingUpstream.ts"
import { layerApp } from "./embed.ts"
import { ask } from "./turn.ts"
import { ask as askApp } from "../support/Ask.ts"
import { user } from "../support/Items.ts"

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

const turn = (address: string, headers: Record<string, string>) =>
  askApp(`${address}/v1/responses`, { headers, body: { model: "m", input: [user("hello")] } })

describe("examples/embed.ts", () => {
  it.effect("serves a turn over a socket for its own auth scope, beside its own route", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const address = yield* HttpServer.addressFormattedWith(Effect.succeed)
      const refused = yield* turn(address, {})
      assert.strictEqual(refused.status, 401)
      assert.include(refused.text, "unknown_team")
      const taken = yield* turn(address, { "x-team-key": "test-team-key" })
      assert.strictEqual(taken.status, 200)
      assert.strictEqual(taken.headers.get("x-respool-transport"), "websocket")
      assert.strictEqual(simulator.counters.websocketTurns, 1)
      assert.deepStrictEqual((yield* askApp(`${address}/status`)).json, { connections: 1 })
    }).pipe(Effect.provide(app)),
  )

  it.effect("runs a turn of its own from bytes, in the same pool", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const credential = appCredential(Redacted.make(`Bearer ${upstreamKey}`))
      const caller = { scope: "team", label: "team", credential, tenant: false }
      const output = yield* ask(caller, "hello")
      assert.include(output.at(-1), '"type":"message"')
      assert.strictEqual(simulator.counters.websocketTurns, 1)
    }).pipe(Effect.provide(app)),
  )
})

describe("an app's own credential", () => {
  const mark = "test-marked-key"
  const marks = [mark, Buffer.from(mark).toString("base64").replace(/=+$/, ""), encodeURIComponent(mark)]
  const echoing = Layer.unwrap(
    Effect.map(EchoingUpstream, ({ url }) =>
      layerApp.pipe(
        Layer.provide(
          ConfigProvider.layer(
            ConfigProvider.fromUnknown({ UPSTREAM: url, TEAM_KEY: "test-team-key", UPSTREAM_KEY: mark }),
          ),
        ),
      ),
    ),
  ).pipe(Layer.provideMerge(EchoingUpstream.layer))

  const onSocket: ReadonlyArray<OnSocket> = [
    "answers",
    "repeats",
    "flat error",
    "error",
    "error after content",
    "failed",
    "close",
    "close after content",
    "no event",
  ]
  const overHttp: ReadonlyArray<OnHttp> = [
    "answers",
    "repeats",
    "error event",
    "no response",
    "cut",
    302,
    401,
    429,
    500,
  ]
  const manners: ReadonlyArray<Partial<Manner>> = [
    ...onSocket.map((socket) => ({ socket })),
    ...[401, 403, 429, 500].map((upgrade) => ({ upgrade, http: 500 as const })),
    ...overHttp.map((http) => ({ upgrade: 404, http })),
  ]
  const asked: ReadonlyArray<readonly [method: string, path: string, body?: object]> = [
    ["POST", "/v1/responses", { model: "m", input: "hello", stream: true }],
    ["POST", "/v1/responses", { model: "m", input: "hello" }],
    ["POST", "/v1/responses", { model: "m", input: "hello", background: true }],
    ["POST", "/v1/responses/compact", { model: "m", input: "hello" }],
    ["POST", "/v1/chat/completions", { model: "m", stream: true }],
    ["GET", "/v1/models"],
    ["GET", "/v1/responses/resp_1"],
    ["GET", "/v1/files"],
  ]

  for (const manner of manners) {
    it.effect(`is in nothing that a caller reads, whatever an upstream repeats (${JSON.stringify(manner)})`, () =>
      Effect.gen(function* () {
        const upstream = yield* EchoingUpstream
        yield* upstream.behave(manner)
        const address = yield* HttpServer.addressFormattedWith(Effect.succeed)
        let redacted = 0
        for (const [method, path, body] of asked) {
          const told = yield* Effect.promise(async () => {
            const response = await fetch(`${address}${path}`, {
              method,
              redirect: "manual",
              headers: { "content-type": "application/json", "x-team-key": "test-team-key" },
              ...(body === undefined ? {} : { body: JSON.stringify(body) }),
            })
            // An answer that is cut short counts as far as it came.
            const text = await response.text().catch(() => "")
            return JSON.stringify([...response.headers]) + text
          })
          for (const spelled of marks) assert.notInclude(told, spelled, `${method} ${path}`)
          if (told.includes("[redacted]")) redacted++
        }
        assert.include(upstream.credentials, `Bearer ${mark}`)
        const isSilent = manner.http === "answers" || manner.http === "cut"
        if (!isSilent && manner.socket === undefined) assert.isAbove(redacted, 0)
      }).pipe(Effect.provide(echoing)),
    )
  }
})
