import { assert, describe, it } from "@effect/vitest"
import type { Duration } from "effect"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { agent } from "../../src/simulator/Script.ts"
import type { SimulatorOptions, SimulatorService } from "../../src/simulator/Simulator.ts"
import type { UpstreamOptions } from "../../src/config/UpstreamSettings.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Asked } from "../support/Ask.ts"
import { outputOf, way } from "../support/Ask.ts"
import { eventsOf } from "../support/Events.ts"
import { simulatorOf } from "../support/Several.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"

const script = agent({ rounds: 1, words: 8 })

/** The item that answers a call, or none. */
const resultOf = ({ call_id, type }: JsonObject): ReadonlyArray<JsonObject> => {
  if (type === "function_call") return [{ type: "function_call_output", call_id: call_id ?? null, output: "done" }]
  return type === "custom_tool_call"
    ? [{ type: "custom_tool_call_output", call_id: call_id ?? null, output: "done" }]
    : []
}

interface Life {
  readonly simulator: SimulatorOptions & { readonly profile: NonNullable<SimulatorOptions["profile"]> }
  readonly upstream?: Partial<UpstreamOptions>
  readonly model: string
  readonly members?: JsonObject
  readonly headers?: Readonly<Record<string, string>>
  /** Between two turns. */
  readonly pause: Duration.Input
}

const lives: ReadonlyArray<Life> = [
  { simulator: { profile: "openai" }, model: "gpt-5.5", pause: "5 minutes" },
  { simulator: { profile: "azure", deployments: ["our-deployment"] }, model: "our-deployment", pause: "5 minutes" },
  { simulator: { profile: "xai" }, model: "grok-4", pause: "2 minutes" },
  { simulator: { profile: "vercel" }, model: "openai/gpt-5.5", pause: "1 minute" },
  {
    simulator: { profile: "codex" },
    model: "gpt-5.5",
    members: { instructions: "Be brief." },
    headers: { "chatgpt-account-id": "account-a" },
    pause: "5 minutes",
  },
  { simulator: { profile: "openai" }, upstream: { profile: "custom" }, model: "gpt-5.5", pause: "5 minutes" },
]

/** Runs against an upstream with a profile, as people would write its address. */
const at = <A, E>(
  { simulator, upstream = {} }: Life,
  run: (simulator: SimulatorService) => Effect.Effect<A, E, TestProxy>,
) =>
  Effect.gen(function* () {
    const service = yield* simulatorOf({ script, ...simulator })
    const bare = upstream.profile === "custom" ? service.url : new URL(service.url).origin.replace("http", "ws")
    const settings = {
      // A ping can't be answered while the test's clock leaps; that pings are sent is tested by itself.
      pingInterval: 100 * 60 * 60_000,
      upstreams: [{ name: "main", profile: simulator.profile, url: bare, ...upstream }],
    }
    return yield* run(service).pipe(Effect.provide(TestProxy.layerProxy(settings)))
  }).pipe(Effect.scoped)

const turn = ({ headers, members, model }: Life, input: ReadonlyArray<JsonObject>, more: Asked = {}) =>
  post({ model, input: [...input], ...members }, { ...more, headers: { ...headers, ...more.headers } })

describe("Thirty turns", () => {
  for (const life of lives) {
    const { profile } = life.simulator
    it.effect(`at ${life.upstream?.profile ?? profile} are each answered right, over at least two rotations`, () =>
      at(
        life,
        Effect.fnUntraced(function* (simulator) {
          let history: ReadonlyArray<JsonObject> = []
          const inputs: Array<string> = []
          for (let count = 0; count < 30; count++) {
            const last = history.at(-1)
            const results = history.slice(-4).flatMap(resultOf)
            const input: ReadonlyArray<JsonObject> = [
              ...history,
              ...(last?.["type"] === "function_call" || last?.["type"] === "custom_tool_call"
                ? results
                : [user(`Turn ${count}`)]),
            ]
            const answer = yield* turn(life, input)
            assert.strictEqual(answer.status, 200, answer.text)
            assert.strictEqual(answer.headers.get("x-respool-transport"), "websocket", answer.text)
            const record = simulator.turns.at(-1)
            assert.deepStrictEqual(
              record?.context.map((item): unknown => JSON.parse(item)),
              [...input],
            )
            const output = outputOf(answer)
            assert.deepStrictEqual(
              record?.output.map((item): unknown => JSON.parse(item)),
              [...output],
            )
            inputs.push(`${answer.headers.get("x-respool-connection")} ${answer.headers.get("x-respool-input")}`)
            history = [...input, ...output]
            yield* TestClock.adjust(life.pause)
          }
          const begun = inputs.filter((input) => input === "new full").length
          assert.isAtLeast(begun, 3)
          assert.strictEqual(inputs.filter((input) => input === "reused suffix").length, 30 - begun)
          const { counters, turns } = simulator
          assert.deepStrictEqual([counters.executions, counters.refusedTurns, counters.upgrades], [30, 0, begun])
          assert.isTrue(turns.every(({ status }) => status === "completed"))
        }),
      ),
    )
  }
})

const lifeAt = (profile: Life["simulator"]["profile"]): Life => {
  const life = lives.find(({ simulator }) => simulator.profile === profile)
  if (life === undefined) throw new Error(`no ${profile}`)
  return life
}

describe("The ChatGPT backend", () => {
  const codex = lifeAt("codex")
  const streamed = { ...codex, members: { ...codex.members, stream: true, prompt_cache_key: "c" } }
  const asCodex = { headers: { originator: "codex_exec" } }
  const itsOwn = /^(codex\.|responsesapi\.|keepalive$|response\.metadata$)/

  for (const websocket of ["on", "off"] as const) {
    const over = websocket === "on" ? "a socket" : "HTTP"
    it.effect(`shows events of its own to Codex and to nobody else, over ${over}`, () =>
      at(
        { ...codex, simulator: { ...codex.simulator, websocket } },
        Effect.fnUntraced(function* () {
          const types = Effect.map(turn(streamed, [user("Hi")], asCodex), ({ text }) =>
            eventsOf(text).map(({ type }) => type),
          )
          assert.isNotEmpty((yield* types).filter((type) => itsOwn.test(type)))
          const others = yield* turn(streamed, [user("Hi")])
          const shown = eventsOf(others.text).map(({ type }) => type)
          assert.deepStrictEqual(
            shown.filter((type) => itsOwn.test(type)),
            [],
          )
          assert.strictEqual(shown.at(-1), "response.completed")
        }),
      ),
    )

    it.effect(`stores nothing, whatever the client says, and answers one that does not stream, over ${over}`, () =>
      at(
        { ...codex, simulator: { ...codex.simulator, websocket } },
        Effect.fnUntraced(function* (simulator) {
          for (const store of [undefined, true, null]) {
            const members = { ...codex.members, stream: false, ...(store === undefined ? {} : { store }) }
            const answer = yield* turn({ ...codex, members }, [user("Hi")])
            assert.strictEqual(answer.status, 200, answer.text)
            assert.isNotEmpty(outputOf(answer))
          }
          const transport = websocket === "on" ? "websocket" : "http"
          for (const turn of simulator.turns) {
            assert.deepInclude(turn, { transport, status: "completed" })
            assert.deepInclude(turn.request, { store: false, instructions: "Be brief." })
          }
        }),
      ),
    )

    it.effect(`tells a turn's state in a header, and is told it again within the turn, over ${over}`, () =>
      at(
        { ...codex, simulator: { ...codex.simulator, websocket } },
        Effect.fnUntraced(function* (simulator) {
          const metadata = { client_metadata: { mine: "kept" } }
          const asked = { ...streamed, members: { ...streamed.members, ...metadata } }
          const first = yield* turn(asked, [user("One")], asCodex)
          const state = first.headers.get("x-codex-turn-state")
          assert.isNotNull(state)
          const output = (simulator.turns.at(-1)?.output ?? []).map((item) => JSON.parse(item) as JsonObject)
          const within = [user("One"), ...output, ...output.flatMap(resultOf)]
          const told = { headers: { ...asCodex.headers, "x-codex-turn-state": state ?? "" } }
          const again = yield* turn(asked, within, told)
          assert.strictEqual(again.status, 200, again.text)
          assert.include(again.text, "response.completed")
          assert.deepInclude(simulator.turns.at(-1)?.request?.["client_metadata"], { mine: "kept" })
          // The judge knows one turn from another: the state of this one is none of the next.
          const next = yield* turn(asked, [...within, user("Two")], told)
          assert.notInclude(next.text, "response.completed")
        }),
      ),
    )
  }

  for (const size of [0, 32_000, 33_000, 65_536, 100_000, 1_000_000]) {
    it.effect(`is sent metadata of ${size} bytes whole, beside a turn's state or without it`, () =>
      at(
        codex,
        Effect.fnUntraced(function* (simulator) {
          const mine = { mine: "x".repeat(size) }
          const asked = { ...streamed, members: { ...streamed.members, client_metadata: mine } }
          const state = { headers: { ...asCodex.headers, "x-codex-turn-state": "none that is known" } }
          yield* turn(asked, [user("One")], state)
          const { request } = simulator.turns.at(-1) ?? {}
          assert.deepInclude(request?.["client_metadata"], mine)
        }),
      ),
    )
  }

  it.effect("has no compaction, and says so itself", () =>
    at(
      codex,
      Effect.fnUntraced(function* () {
        const body = { model: "gpt-5.5", input: [user("Hi")] }
        const answer = yield* post(body, { path: "/responses/compact", headers: codex.headers ?? {} })
        assert.strictEqual(answer.status, 404)
      }),
    ),
  )
})

describe("Vercel's gateway", () => {
  it.effect("gets over HTTP what is over 4 MiB", () =>
    at(
      lifeAt("vercel"),
      Effect.fnUntraced(function* () {
        const long = yield* turn(lifeAt("vercel"), [user("x".repeat(4 * 1024 * 1024))])
        assert.strictEqual(long.status, 200, long.text.slice(0, 200))
        assert.strictEqual(long.headers.get("x-respool-reason"), "message_too_big")
        const short = yield* turn(lifeAt("vercel"), [user("x".repeat(4 * 1024 * 1024 - 1_000))])
        assert.strictEqual(short.headers.get("x-respool-transport"), "websocket")
      }),
    ),
  )

  it.effect("keeps a connection that is pinged longer than one that is idle", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script, profile: "vercel" })
      const upstreams = [{ name: "main", profile: "vercel" as const, url: simulator.url }]
      yield* Effect.gen(function* () {
        const life = lifeAt("vercel")
        const first = yield* turn(life, [user("One")])
        for (let pings = 1; pings <= 16; pings++) {
          yield* TestClock.adjust("25 seconds")
          yield* simulator.until(({ connections }) => (connections[0]?.pings ?? 0) >= pings)
        }
        const history = [user("One"), ...outputOf(first)]
        const answer = yield* turn(life, [...history, ...history.flatMap(resultOf), user("Two")])
        assert.strictEqual(answer.headers.get("x-respool-input"), "suffix")
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )
})

describe("Azure", () => {
  it.effect("names a deployment that there is not", () =>
    at(
      lifeAt("azure"),
      Effect.fnUntraced(function* () {
        const answer = yield* turn({ ...lifeAt("azure"), model: "no-deployment" }, [user("Hi")])
        assert.strictEqual(answer.status, 404)
        assert.include(answer.text, "DeploymentNotFound")
      }),
    ),
  )
})

describe("A key in api-key", () => {
  const atAzure = (accepts: ReadonlyArray<string>) =>
    simulatorOf({ profile: "azure", deployments: ["m"], accepts, script: agent({ rounds: 0 }) })

  const ways: ReadonlyArray<readonly [what: string, headers: Readonly<Record<string, string>>]> = [
    ["alone", { "api-key": "test-key-a" }],
    ["with a blank authorization", { "api-key": "test-key-a", authorization: " " }],
    ["with blanks around it", { "api-key": " test-key-a " }],
    ["beside the same as a bearer", { "api-key": "test-key-a", authorization: "Bearer test-key-a" }],
    ["beside another bearer, which counts", { "api-key": "test-key-b", authorization: "Bearer test-key-a" }],
    ["in other letters", { "API-Key": "test-key-a" }],
  ]
  for (const [what, headers] of ways) {
    it.effect(`is a bearer's on Azure's upgrade, and continues: ${what}`, () =>
      Effect.gen(function* () {
        const simulator = yield* atAzure(["test-key-a"])
        const settings = { upstreams: [{ name: "main", profile: "azure" as const, url: simulator.url }] }
        const told = yield* Effect.gen(function* () {
          const asked = { key: undefined, headers }
          const first = yield* post({ model: "m", input: [user("One")] }, asked)
          const second = yield* post({ model: "m", input: [user("One"), ...outputOf(first), user("Two")] }, asked)
          return [way(first), way(second)]
        }).pipe(Effect.provide(TestProxy.layerProxy(settings)))
        assert.deepStrictEqual(told, [
          ["websocket", "no_checkpoint"],
          ["websocket", "continued"],
        ])
        assert.deepStrictEqual(
          simulator.connections.map(({ headers }) => headers["authorization"]),
          ["Bearer test-key-a"],
        )
      }),
    )
  }

  const strangers: ReadonlyArray<readonly [what: string, headers: Readonly<Record<string, string>>]> = [
    ["another api-key", { "api-key": "test-key-b" }],
    ["another api-key in other letters", { "API-KEY": "test-key-b" }],
    ["another bearer", { authorization: "Bearer test-key-b" }],
    [
      "another bearer beside the same api-key, which does not count",
      { "api-key": "test-key-a", authorization: "Bearer test-key-b" },
    ],
    ["one that is longer by a letter", { "api-key": "test-key-ab" }],
  ]
  for (const [what, headers] of strangers) {
    it.effect(`shares no connection and no history with who shows ${what}`, () =>
      Effect.gen(function* () {
        const simulator = yield* atAzure(["test-key-a", "test-key-b", "test-key-ab"])
        const settings = { upstreams: [{ name: "main", profile: "azure" as const, url: simulator.url }] }
        const told = yield* Effect.gen(function* () {
          const first = yield* post(
            { model: "m", input: [user("One")] },
            { key: undefined, headers: { "api-key": "test-key-a" } },
          )
          const input = [user("One"), ...outputOf(first), user("Two")]
          return way(yield* post({ model: "m", input }, { key: undefined, headers }))
        }).pipe(Effect.provide(TestProxy.layerProxy(settings)))
        assert.deepStrictEqual(told, ["websocket", "no_checkpoint"])
        assert.strictEqual(new Set(simulator.connections.map(({ headers }) => headers["authorization"])).size, 2)
      }),
    )
  }

  it.effect("that Azure does not know is refused by its own words, and over HTTP it stays where it was", () =>
    Effect.gen(function* () {
      const simulator = yield* atAzure(["test-key-a"])
      const upstreams = [{ name: "main", profile: "azure" as const, url: simulator.url }]
      const wrong = { key: undefined, headers: { "api-key": "test-key-b" } }
      const refused = yield* post({ model: "m", input: "x" }, wrong).pipe(
        Effect.provide(TestProxy.layerProxy({ upstreams })),
      )
      assert.strictEqual(refused.status, 401)
      assert.include(refused.text, "invalid_api_key")
      const right = { key: undefined, headers: { "api-key": "test-key-a" } }
      const answer = yield* post({ model: "m", input: "x" }, right).pipe(
        Effect.provide(TestProxy.layerProxy({ upstreams, transport: "http" })),
      )
      assert.deepStrictEqual([answer.status, ...way(answer)], [200, "http", "transport_http"])
    }),
  )

  it.effect("goes to any other upstream as it came", () =>
    Effect.gen(function* () {
      const upstream = yield* simulatorOf({ script })
      const asked = { key: undefined, headers: { "api-key": "test-key-a" } }
      yield* post({ model: "gpt-5.5", input: "x" }, asked).pipe(
        Effect.provide(TestProxy.layerProxy({ upstreamUrl: upstream.url })),
      )
      const [connection] = upstream.connections
      assert.deepStrictEqual(
        [connection?.headers["api-key"], connection?.headers["authorization"]],
        ["test-key-a", undefined],
      )
    }),
  )
})
