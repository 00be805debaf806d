import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { agent } from "../../src/simulator/Script.ts"
import type { SimulatorService } from "../../src/simulator/Simulator.ts"
import type { UpstreamOptions } from "../../src/config/UpstreamSettings.ts"
import type { CredentialSettings } from "../../src/config/CredentialSettings.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { ask, outputOf } from "../support/Ask.ts"
import type { Heard } from "../support/PlainUpstream.ts"
import type { PlainUpstream } from "../support/PlainUpstream.ts"
import { plainOf, simulatorOf } from "../support/Several.ts"
import { user } from "../support/Items.ts"
import { get, post } from "../support/AskProxy.ts"
import { socketsOpen } from "../support/OpenSockets.ts"

const key = (apiKey: string): CredentialSettings => ({ _tag: "Fixed", apiKey: Redacted.make(apiKey) })

const script = agent({ rounds: 0 })

const turn = (model: string, ...input: ReadonlyArray<JsonObject>) => post({ model, store: false, input: [...input] })

/** Runs behind a proxy for upstreams that `options` makes of simulators. */
const among = <A, E>(
  names: ReadonlyArray<string>,
  options: (simulators: ReadonlyArray<SimulatorService>) => ReadonlyArray<UpstreamOptions>,
  run: (simulators: ReadonlyArray<SimulatorService>) => Effect.Effect<A, E, TestProxy>,
) =>
  Effect.gen(function* () {
    const simulators = yield* Effect.forEach(names, () => simulatorOf({ script }))
    return yield* run(simulators).pipe(Effect.provide(TestProxy.layerProxy({ upstreams: options(simulators) })))
  }).pipe(Effect.scoped)

const served: ReadonlyArray<ReadonlyArray<string>> = [[], ["grok-*", "gpt-5.5-mini"], ["grok-4-*", "*-mini"]]

const three = (simulators: ReadonlyArray<SimulatorService>): ReadonlyArray<UpstreamOptions> =>
  simulators.map(({ url }, at) => ({
    name: `u${at}`,
    url,
    models: served[at] ?? [],
    credential: key(`test-key-u${at}`),
  }))

describe("Of several upstreams", () => {
  const chosen: ReadonlyArray<readonly [model: string, upstream: number]> = [
    ["gpt-5.5", 0],
    ["grok-3", 1],
    ["grok-4-fast", 2],
    ["gpt-5.5-mini", 1],
    ["o5-mini", 2],
    ["grok", 0],
  ]
  it.effect("a turn goes to the one that serves its model: by name, else by the longest pattern, else the first", () =>
    among(
      ["a", "b", "c"],
      three,
      Effect.fnUntraced(function* (simulators) {
        for (const [model, upstream] of chosen) {
          const before = simulators.map(({ turns }) => turns.length)
          const answer = yield* turn(model, user("Hi"))
          assert.strictEqual(answer.status, 200, answer.text)
          const went = simulators.flatMap(({ turns }, at) => (turns.length > (before[at] ?? 0) ? [at] : []))
          assert.deepStrictEqual(went, [upstream], model)
        }
      }),
    ),
  )

  it.effect("each is shown its own credential, and nothing that says whose account the caller's is", () =>
    among(
      ["a", "b", "c"],
      three,
      Effect.fnUntraced(function* (simulators) {
        const account = { "openai-organization": "org-caller", "api-key": "test-key-a", "session-id": "s" }
        for (const model of ["gpt-5.5", "grok-3", "grok-4-fast"]) {
          const overSocket = yield* post({ model, input: [user("Hi")] }, { headers: account })
          assert.strictEqual(overSocket.headers.get("x-respool-transport"), "websocket")
          const overHttp = yield* post({ model, background: true, input: [user("Hi")] }, { headers: account })
          assert.strictEqual(overHttp.headers.get("x-respool-transport"), "http")
        }
        for (const [at, { connections, turns }] of simulators.entries()) {
          assert.strictEqual(turns.length, 2)
          for (const { headers } of [...connections, ...turns]) {
            assert.strictEqual(headers["authorization"], `Bearer test-key-u${at}`)
            assert.notInclude(JSON.stringify(headers), "caller")
          }
        }
      }),
    ),
  )

  it.effect("a conversation stays on its connection there, beside one at another", () =>
    among(
      ["a", "b", "c"],
      three,
      Effect.fnUntraced(function* (simulators) {
        for (const model of ["gpt-5.5", "grok-3"]) {
          const first = yield* turn(model, user("One"))
          const second = yield* turn(model, user("One"), ...outputOf(first), user("Two"))
          assert.strictEqual(second.headers.get("x-respool-input"), "suffix")
        }
        assert.deepStrictEqual(
          simulators.map(({ counters }) => counters.upgrades),
          [1, 1, 0],
        )
      }),
    ),
  )

  it.effect("one of them without sockets sends nobody else over HTTP", () =>
    among(
      ["a", "b", "c"],
      (simulators) => three(simulators).map((one, at) => (at === 1 ? { ...one, transport: "http" } : one)),
      Effect.fnUntraced(function* () {
        const ways = yield* Effect.forEach(["gpt-5.5", "grok-3", "grok-4-fast"], (model) => turn(model, user("Hi")))
        assert.deepStrictEqual(
          ways.map(({ headers }) => headers.get("x-respool-transport")),
          ["websocket", "http", "websocket"],
        )
      }),
    ),
  )

  it.effect("the limits are each one's own", () =>
    among(
      ["a", "b", "c"],
      (simulators) => three(simulators).map((one, at) => (at === 1 ? { ...one, maxMessage: 2_000 } : one)),
      Effect.fnUntraced(function* () {
        const long = user("x".repeat(3_000))
        const ways = yield* Effect.forEach(["gpt-5.5", "grok-3"], (model) => turn(model, long))
        assert.deepStrictEqual(
          ways.map(({ headers }) => headers.get("x-respool-reason")),
          ["no_checkpoint", "message_too_big"],
        )
      }),
    ),
  )
})

/** Upstreams that say who they are, and which models they have, to those who show the right key. */
const tellers = Effect.fnUntraced(function* (...lists: ReadonlyArray<ReadonlyArray<string>>) {
  const answer = (at: number, { headers, url }: Heard) => {
    if (headers.get("authorization") !== `Bearer test-key-u${at}`) return Response.json({}, { status: 401 })
    if (!/^\/v1\/models(\?|$)/.test(url))
      return Response.json({ upstream: at, encoding: headers.get("content-encoding") })
    const data = (lists[at] ?? []).map((id) => ({ id, object: "model", owned_by: `u${at}`, extra: 1 }))
    return Response.json({ object: "list", data })
  }
  return yield* Effect.forEach(lists, (_, at) => plainOf({ http: (request) => answer(at, request) }))
})

const optionsOf = (plain: ReadonlyArray<PlainUpstream["Service"]>): ReadonlyArray<UpstreamOptions> =>
  plain.map(({ url }, at) => ({ name: `u${at}`, url, models: served[at] ?? [], credential: key(`test-key-u${at}`) }))

describe("What is no turn", () => {
  it.effect("goes where the model of its body or path is served, whatever its encoding, else to the first", () =>
    Effect.gen(function* () {
      const plain = yield* tellers([], [], [])
      yield* Effect.gen(function* () {
        const { url } = yield* TestProxy
        const compact = (model: string, encoding?: string) =>
          Effect.promise(async () => {
            const body = JSON.stringify({ model, input: [user("Hi")] })
            const response = await fetch(`${url}/responses/compact`, {
              method: "POST",
              headers: {
                "content-type": "application/json",
                ...(encoding === undefined ? {} : { "content-encoding": encoding }),
              },
              body: encoding === undefined ? body : Bun.gzipSync(body),
            })
            return (await response.json()) as unknown
          })
        assert.deepStrictEqual(yield* compact("grok-3"), { upstream: 1, encoding: null })
        assert.deepStrictEqual(yield* compact("grok-4-fast", "gzip"), { upstream: 2, encoding: null })
        assert.deepStrictEqual(yield* compact("gpt-5.5"), { upstream: 0, encoding: null })
        assert.deepInclude((yield* get("/models/grok-3")).json, { upstream: 1 })
        assert.deepInclude((yield* get("/models/gpt-5.5?x=1")).json, { upstream: 0 })
        assert.deepInclude((yield* get("/responses/resp_1")).json, { upstream: 0 })
        for (const [at, { heard }] of plain.entries()) {
          for (const { headers } of heard) assert.strictEqual(headers.get("authorization"), `Bearer test-key-u${at}`)
        }
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams: optionsOf(plain) })))
    }).pipe(Effect.scoped),
  )

  const ids = ({ json }: { readonly json: JsonObject | undefined }) =>
    (json?.["data"] as ReadonlyArray<{ readonly id: string }> | undefined)?.map(({ id }) => id)

  it.effect("and asks for the models gets those of all, each only from where a turn with it would go", () =>
    Effect.gen(function* () {
      const plain = yield* tellers(
        ["gpt-5.5", "gpt-5.5-mini"],
        ["grok-3", "gpt-5.5-mini", "gpt-5.5"],
        ["o5-mini", "grok-3"],
      )
      yield* Effect.gen(function* () {
        const answer = yield* get("/models")
        assert.deepStrictEqual(ids(answer), ["gpt-5.5", "grok-3", "gpt-5.5-mini", "o5-mini"])
        assert.deepInclude(answer.json, { object: "list" })
        assert.include(answer.text, '"owned_by":"u1","extra":1')
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams: optionsOf(plain) })))
    }).pipe(Effect.scoped),
  )

  /** Two upstreams, of which the second lists its models as the ChatGPT backend does. */
  const withBackend = (list: (url: string) => string) =>
    Effect.gen(function* () {
      const api = yield* plainOf({
        http: () => new Response('{"object":"list","data":[{"id":"gpt-5.5","object":"model"}]}'),
      })
      const backend = yield* plainOf({ http: ({ url }) => new Response(list(url)) })
      const upstreams: ReadonlyArray<UpstreamOptions> = [
        { name: "api", url: api.url, credential: key("test-key-one") },
        {
          name: "codex",
          profile: "codex",
          url: backend.url,
          models: ["gpt-5.5-codex*"],
          credential: key("test-key-two"),
        },
      ]
      return { upstreams, backend }
    })
  const codexModels = '{"models":[{"slug":"gpt-5.5-codex","display_name":"Codex"},{"slug":"gpt-5.5"},{"x":1},null]}'

  it.effect("and asks for the models gets those of the ChatGPT backend too, in the API's form", () =>
    Effect.gen(function* () {
      const { backend, upstreams } = yield* withBackend(() => codexModels)
      yield* Effect.gen(function* () {
        for (const [path, asked] of [
          ["/models", "/v1/models?client_version=0.169.0"],
          ["/models?limit=5", "/v1/models?limit=5&client_version=0.169.0"],
        ] as const) {
          const answer = yield* get(path)
          assert.deepStrictEqual(ids(answer), ["gpt-5.5", "gpt-5.5-codex"])
          assert.include(answer.text, '{"id":"gpt-5.5-codex","object":"model","created":0,"owned_by":"openai"}')
          assert.strictEqual(backend.heard.at(-1)?.url, asked)
        }
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )

  it.effect("and asks for them as Codex does gets the ChatGPT backend's own form", () =>
    Effect.gen(function* () {
      const { backend, upstreams } = yield* withBackend(() => codexModels)
      yield* Effect.gen(function* () {
        const answer = yield* get("/models?client_version=0.200.1")
        assert.deepStrictEqual(answer.json, { models: [{ slug: "gpt-5.5-codex", display_name: "Codex" }] })
        assert.strictEqual(backend.heard.at(-1)?.url, "/v1/models?client_version=0.200.1")
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )

  const strange = ['{"models":[]}', '{"models":{}}', '{"models":[{"slug":5}]}', "[]", "models", '{"data":{}}', "null"]
  it.effect.each(strange)("and asks for the models gets the others' where one answers %s", (text) =>
    Effect.gen(function* () {
      const { upstreams } = yield* withBackend(() => text)
      yield* Effect.gen(function* () {
        for (const path of ["/models", "/models?client_version=1"]) {
          assert.deepStrictEqual(ids(yield* get(path)), ["gpt-5.5"])
        }
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )

  it.effect("and asks for the models goes without those of an upstream that is away, with a line that says so", () =>
    Effect.gen(function* () {
      const plain = yield* tellers(["gpt-5.5"], ["grok-3"])
      const [first, second] = optionsOf(plain)
      if (first === undefined || second === undefined) throw new Error("two upstreams")
      const wrongKey = { ...second, credential: key("test-key-wrong") }
      yield* Effect.gen(function* () {
        const { logged } = yield* TestProxy
        assert.deepStrictEqual(ids(yield* get("/models")), ["gpt-5.5"])
        const lines = logged.filter((line) => line.includes("did not tell its models"))
        assert.lengthOf(lines, 1)
        assert.include(lines[0], "upstream=u1")
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams: [first, wrongKey] })))
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* get("/models")).status, 401)
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams: [{ ...first, credential: key("no") }, wrongKey] })))
    }).pipe(Effect.scoped),
  )
})

describe("The upgrade", () => {
  it.effect("names the betas of the client and of the profile, each once", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script })
      const upstreams = [{ name: "a", profile: "codex", url: simulator.url, credential: key("test-key-own") }] as const
      yield* Effect.gen(function* () {
        const ours = "responses_websockets=2026-02-06"
        yield* post({ model: "m", input: [user("1")] })
        yield* post({ model: "m", input: [user("2")] }, { headers: { "openai-beta": "responses_multi_agent=v1" } })
        yield* post({ model: "m", input: [user("3")] }, { headers: { "openai-beta": `a=1, ${ours}` } })
        assert.deepStrictEqual(
          simulator.connections.map(({ headers }) => headers["openai-beta"]),
          [ours, `responses_multi_agent=v1,${ours}`, `a=1,${ours}`],
        )
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )

  it.effect("is one for each model where a connection serves one", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script })
      const upstreams = [{ name: "a", profile: "vercel", url: simulator.url, credential: key("test-key-own") }] as const
      yield* Effect.gen(function* () {
        const history = [user("Hi"), ...outputOf(yield* turn("one", user("Hi"))), user("And then?")]
        for (const model of ["two", "one"]) yield* turn(model, ...history)
        assert.deepStrictEqual(
          simulator.turns.map(({ connection }) => connection),
          [0, 1, 0],
        )
        assert.strictEqual(simulator.counters.upgrades, 2)
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )
})

describe("A refused credential", () => {
  it.effect("ends the connections that were opened with it, and no others", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script, apiKeys: ["test-key-a", "test-key-other"] })
      yield* Effect.gen(function* () {
        const { url } = yield* TestProxy
        const other = { key: "test-key-other", body: { model: "m", input: [user("Mine")] } }
        yield* ask(`${url}/responses`, other)
        yield* turn("m", user("One"))
        yield* simulator.configure({ apiKeys: ["test-key-other"] })
        const refused = yield* post({ model: "m", user: "u", input: [user("Two")] })
        assert.strictEqual(refused.status, 401)
        yield* socketsOpen(simulator, 1)
        assert.strictEqual((yield* ask(`${url}/responses`, other)).status, 200)
        assert.strictEqual((yield* turn("m", user("One"))).status, 401)
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreamUrl: simulator.url })))
    }).pipe(Effect.scoped),
  )
})
