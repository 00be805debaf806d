import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer } from "effect"
import { createServer } from "node:net"
import { networkInterfaces } from "node:os"
import { Settings } from "../../src/config/Settings.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { comesBack, hopOf, withHop } from "../../src/wire/Hops.ts"
import { ask, errorIn } from "../support/Ask.ts"
import { simulatorOf } from "../support/Several.ts"
import { TestProxy } from "../support/TestProxy.ts"

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer)

/** What the start says of these settings; undefined: it takes them. */
const refusal = (env: Readonly<Record<string, string>>) =>
  Effect.match(Settings.read, { onSuccess: () => undefined, onFailure: ({ message }) => message }).pipe(
    Effect.provide(Layer.merge(files, ConfigProvider.layer(ConfigProvider.fromEnv({ env })))),
  )

const ofThisMachine = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
const outside = ofThisMachine.find(({ family, internal }) => family === "IPv4" && !internal)?.address

describe("An upstream that is the proxy itself", () => {
  const itself: ReadonlyArray<readonly [host: string, port: string, url: string]> = [
    ["127.0.0.1", "8080", "http://127.0.0.1:8080/v1"],
    ["127.0.0.1", "8080", "http://localhost:8080"],
    ["127.0.0.1", "8080", "ws://LOCALHOST:8080/v1"],
    ["localhost", "8080", "http://127.0.0.1:8080/v1"],
    ["0.0.0.0", "8080", "http://127.0.0.1:8080/v1"],
    ["0.0.0.0", "8080", "http://0.0.0.0:8080/v1"],
    ["::", "8080", "http://[::1]:8080/v1"],
    ["::1", "8080", "http://localhost:8080/v1"],
    ["::1", "443", "https://[::1]/v1"],
    ["127.0.0.1", "80", "http://localhost/v1"],
    ["proxy.test", "8080", "https://proxy.test:8080/v1"],
    ...(outside === undefined ? [] : [["0.0.0.0", "8080", `http://${outside}:8080/v1`] as const]),
  ]
  it.effect.each(itself)("stops the start: %s", ([host, port, url]) =>
    Effect.gen(function* () {
      const env = { RESPOOL_HOST: host, RESPOOL_PORT: port, RESPOOL_UPSTREAM_URL: url }
      const message = yield* refusal(env)
      assert.match(message ?? "", /^RESPOOL_UPSTREAM_URL="[^"]+" leads to this proxy itself, which listens there: /)
    }),
  )

  const others: ReadonlyArray<readonly [env: Readonly<Record<string, string>>]> = [
    [{ RESPOOL_PORT: "8080", RESPOOL_UPSTREAM_URL: "http://127.0.0.1:8081/v1" }],
    [{ RESPOOL_PORT: "8080", RESPOOL_UPSTREAM_URL: "http://127.0.0.2:8080/v1" }],
    [{ RESPOOL_PORT: "0", RESPOOL_UPSTREAM_URL: "http://127.0.0.1/v1" }],
    [{ RESPOOL_PORT: "443", RESPOOL_HOST: "0.0.0.0" }],
    [{ RESPOOL_PORT: "8080", RESPOOL_HOST: "10.255.0.1", RESPOOL_UPSTREAM_URL: "http://127.0.0.1:8080/v1" }],
    [
      {
        RESPOOL_PORT: "8080",
        RESPOOL_UPSTREAM_URL: "http://127.0.0.1:8080/v1",
        RESPOOL_PROXY: "http://proxy.test:3128",
      },
    ],
  ]
  it.effect.each(others)("is not what looks like it: %s", ([env]) =>
    Effect.gen(function* () {
      assert.isUndefined(yield* refusal(env))
    }),
  )

  /** A port that is free now, for a proxy that must know its own before it listens. */
  const freePort = Effect.callback<number>((resume) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
    })
  })

  for (const transport of ["auto", "http"] as const) {
    it.effect(`is known by its hop at run time, before the request goes round (${transport})`, () =>
      Effect.gen(function* () {
        const port = yield* freePort
        const context = yield* Layer.build(
          TestProxy.layerProxy({ port, transport, upstreamUrl: `http://127.0.0.1:${port}/v1` }),
        )
        const { logged, url } = Context.get(context, TestProxy)
        for (const [path, body] of [
          ["/responses", { model: "m", input: "Hello" }],
          ["/responses", { model: "m", input: "Hello", stream: true }],
          ["/embeddings", { model: "m", input: "Hello" }],
          ["/models", undefined],
        ] as const) {
          const answer = yield* ask(`${url}${path}`, { key: "test-key-a", ...(body === undefined ? {} : { body }) })
          assert.strictEqual(answer.status, 508, answer.text)
          assert.deepInclude(errorIn(answer), { code: "upstream_is_this_proxy", type: "invalid_request_error" })
          assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        }
        // One line for each turn of the client, and none for a turn of the proxy's own.
        assert.lengthOf(
          logged.filter((line) => line.includes("message=turn")),
          2,
        )
      }).pipe(Effect.scoped),
    )
  }

  it.effect("is not one behind another proxy like it", () =>
    Effect.gen(function* () {
      const inner = Context.get(
        yield* Layer.build(TestProxy.layerProxy({ upstreamUrl: (yield* Simulator).url })),
        TestProxy,
      )
      const outer = Context.get(yield* Layer.build(TestProxy.layerProxy({ upstreamUrl: inner.url })), TestProxy)
      const body = { model: "gpt-5.5", input: "Hello" }
      const answer = yield* ask(`${outer.url}/responses`, { key: "test-key-a", body })
      assert.strictEqual(answer.status, 200, answer.text)
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer())),
  )

  it("is told from others by an entry of its own, however long the way is", () => {
    const [one, other] = [hopOf({}), hopOf({})]
    const same = {}
    assert.strictEqual(hopOf(same), hopOf(same))
    assert.notStrictEqual(one, other)
    assert.isFalse(comesBack(undefined, one))
    assert.isFalse(comesBack("cloudflare; loops=1, fastly", one))
    assert.isFalse(comesBack(withHop("cloudflare", other), one))
    assert.isTrue(comesBack(withHop(withHop("cloudflare", one), other), one))
    assert.strictEqual(withHop("cloudflare, respool-x", one), one)
    let way: string | undefined
    for (let count = 0; count < 8; count++) way = withHop(way, hopOf({}))
    assert.isTrue(comesBack(way, one))
  })
})

describe("An upstream that no model leads to", () => {
  const idle: ReadonlyArray<readonly [models: ReadonlyArray<ReadonlyArray<string>>, told: string | undefined]> = [
    [[[], []], "u1"],
    [[["a"], []], "u1"],
    [[[], [], []], '"u1 u2"'],
    [[[], ["a"], []], "u2"],
    [[[], ["a"]], undefined],
    [[[]], undefined],
  ]
  it.effect.each(idle)("is told at the start: %s", ([models, told]) =>
    Effect.gen(function* () {
      const { url } = yield* simulatorOf()
      const upstreams = models.map((models, at) => ({ name: `u${at}`, url, models }))
      const context = yield* Layer.build(TestProxy.layerProxy({ upstreams }))
      const lines = Context.get(context, TestProxy).logged.filter((line) => line.includes("no model leads"))
      assert.lengthOf(lines, told === undefined ? 0 : 1)
      if (told !== undefined) assert.match(lines[0] ?? "", new RegExp(` upstreams=${told}$`))
    }).pipe(Effect.scoped),
  )
})
