import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Deferred, Effect, Fiber, FileSystem, Layer } from "effect"
import { HttpServer } from "effect/http"
import { TestClock } from "effect/testing"
import { Reload } from "../src/Reload.ts"
import * as Server from "../src/Server.ts"
import { Settings } from "../src/config/Settings.ts"
import type { JsonObject } from "../src/simulator/JsonText.ts"
import { agent } from "../src/simulator/Script.ts"
import type { SimulatorService } from "../src/simulator/Simulator.ts"
import { ask, outputOf } from "./support/Ask.ts"
import { simulatorOf } from "./support/Several.ts"
import { user } from "./support/Items.ts"
import { collectingLogger } from "./support/Logged.ts"
import { socketsOpen } from "./support/OpenSockets.ts"

const script = agent({ rounds: 0, words: 5 })

/** A proxy for what its `respool.json` says, which a test may write again. */
const configured = Effect.fnUntraced(function* (json: object, isNamed = true) {
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped({ prefix: "respool-reload-" })}/respool.json`
  const write = (next: object | string) =>
    fs.writeFileString(path, typeof next === "string" ? next : JSON.stringify(next))
  yield* write(json)
  yield* fs.writeFileString(`${path}.keys`, JSON.stringify({ keys: [] }), { mode: 0o600 })
  const { logged, logger } = collectingLogger()
  const env = {
    RESPOOL_PORT: "0",
    RESPOOL_KEYS_FILE: `${path}.keys`,
    ...(isNamed ? { RESPOOL_CONFIG: path } : {}),
  }
  // Unnamed, the file is in the working folder, which all tests share.
  const here = (place: string) => (place === "respool.json" ? path : place)
  const layerFiles = Layer.succeed(FileSystem.FileSystem, {
    ...fs,
    exists: (place) => fs.exists(here(place)),
    readFileString: (place, encoding) => fs.readFileString(here(place), encoding),
    stat: (place) => fs.stat(here(place)),
  })
  const context = yield* Layer.build(
    Reload.layer.pipe(
      Layer.provideMerge(Server.layer),
      Layer.provide(Settings.layerConfig),
      Layer.provide([layerFiles, NodePath.layer, logger]),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
    ),
  )
  const server = yield* Effect.provide(HttpServer.HttpServer, context)
  const { now } = yield* Effect.provide(Reload, context)
  return { path, write, remove: fs.remove(path), logged, now, url: `${HttpServer.formatAddress(server.address)}/v1` }
})

const named = (simulators: ReadonlyArray<SimulatorService>, more: Readonly<Record<string, object>> = {}) => ({
  upstreams: Object.fromEntries(
    simulators.map(({ url }, at) => [`u${at}`, { url, models: [`m${at}`], credential: "caller", ...more[`u${at}`] }]),
  ),
})

/** One conversation; a turn's answer must be 200, and whether it was continued is noted. */
const conversation = (url: string, model: string, name: string) => {
  let history: ReadonlyArray<JsonObject> = []
  const inputs: Array<string | null> = []
  return {
    inputs,
    turn: Effect.fnUntraced(function* (text: string) {
      const input = [...history, user(text)]
      const answer = yield* ask(`${url}/responses`, {
        key: "test-key-a",
        headers: { "session-id": name },
        body: { model, store: false, input },
      })
      assert.strictEqual(answer.status, 200, answer.text)
      inputs.push(answer.headers.get("x-respool-input"))
      history = [...input, ...outputOf(answer)]
    }),
  }
}

/** Real files are looked at between steps of the test's clock, so requests that change nothing let time pass. */
const until = (url: string, holds: () => boolean) =>
  ask(url.replace(/v1$/, "healthz")).pipe(
    Effect.repeat({ until: holds }),
    Effect.timeoutOrElse({ duration: "1 minute", orElse: () => Effect.die("it never came") }),
  )

it.layer(NodeFileSystem.layer)("A reload", (it) => {
  it.effect("under load changes one upstream of three: the others lose no connection, and no turn fails", () =>
    Effect.gen(function* () {
      const simulators = yield* Effect.forEach([0, 1, 2], () => simulatorOf({ script }))
      const proxy = yield* configured(named(simulators))
      const underWay = yield* Deferred.make<void>()
      const reloaded = yield* Deferred.make<void>()
      let begun = 0
      const conversations = Array.from({ length: 50 }, (_, at) => conversation(proxy.url, `m${at % 3}`, `s${at}`))
      const running = yield* Effect.forEach(
        conversations,
        ({ turn }, at) =>
          Effect.gen(function* () {
            for (let count = 0; count < 8; count++) {
              yield* turn(`Turn ${count}`)
              if (count === 2 && ++begun === conversations.length) yield* Deferred.succeed(underWay, undefined)
              // Every other one runs on while the file is read.
              if (count === 4 && at % 2 === 0) yield* Deferred.await(reloaded)
            }
          }),
        { concurrency: "unbounded", discard: true },
      ).pipe(Effect.forkChild)
      yield* Deferred.await(underWay)
      yield* proxy.write(named(simulators, { u1: { maxAge: "5 minutes" } }))
      yield* proxy.now
      yield* Deferred.succeed(reloaded, undefined)
      yield* Fiber.join(running)

      const line = proxy.logged.filter((text) => text.includes("settings were read again"))
      assert.lengthOf(line, 1)
      assert.include(line[0], 'unchanged="u0 u2" changed=u1')
      assert.notInclude(line[0], "fromTheNextStart")
      const anew = new Set<number>()
      for (const [at, { inputs }] of conversations.entries()) {
        const full = inputs.filter((input) => input === "full").length
        if (at % 3 !== 1) assert.deepStrictEqual(inputs, ["full", ...Array.from({ length: 7 }, () => "suffix")])
        else if (full > 1) anew.add(at)
        assert.isAtMost(full, 2)
      }
      const [first, changed, third] = simulators
      assert.deepStrictEqual([first?.counters.upgrades, first?.counters.openSockets], [17, 17])
      assert.deepStrictEqual([third?.counters.upgrades, third?.counters.openSockets], [16, 16])
      // Those that waited for the reload all began anew.
      assert.isAtLeast(anew.size, 8)
      assert.strictEqual(changed?.counters.upgrades, 17 + anew.size)
      // What was in use at the reload was closed when its turn was over.
      if (changed !== undefined) yield* socketsOpen(changed, anew.size)
    }).pipe(Effect.scoped),
  )

  const changes: ReadonlyArray<readonly [name: string, more: object]> = [
    ["has another age", { maxAge: "5 minutes" }],
    ["has another transport", { transport: "websocket" }],
    ["has another credential", { credential: undefined, apiKey: "test-key-own" }],
    ["goes through no proxy", { proxy: "direct" }],
    ["sends another header on the upgrade", { forwardHeaders: "x-tenant" }],
    ["serves another model too", { models: ["m0", "m1"] }],
  ]
  it.effect.each(changes)("closes a socket that is in use when its turn is over, where the upstream %s", ([, more]) =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script })
      const proxy = yield* configured(named([simulator]))
      yield* simulator.failNext({ _tag: "Hold" })
      const { turn } = conversation(proxy.url, "m0", "s")
      const running = yield* Effect.forkChild(turn("One"))
      yield* simulator.until(({ turns }) => turns.at(-1)?.status === "running")
      yield* proxy.write(named([simulator], { u0: more }))
      yield* proxy.now
      assert.include(proxy.logged.at(-1), "changed=u0")
      assert.strictEqual(simulator.counters.openSockets, 1)
      yield* simulator.release
      yield* Fiber.join(running)
      yield* socketsOpen(simulator, 0)
    }).pipe(Effect.scoped),
  )

  it.effect("of a file that can't be used changes nothing, and says why", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script })
      const proxy = yield* configured(named([simulator]))
      const { inputs, turn } = conversation(proxy.url, "m0", "s")
      yield* turn("One")
      for (const wrong of ["{", { upstreams: { u0: { url: simulator.url, maxAge: "soon" } } }]) {
        yield* proxy.write(wrong)
        yield* proxy.now
      }
      yield* turn("Two")
      assert.deepStrictEqual(inputs, ["full", "suffix"])
      const lines = proxy.logged.filter((text) => text.includes("those before stay in force"))
      assert.lengthOf(lines, 2)
      assert.include(lines[0], "is not a JSON object")
      assert.include(lines[1], "upstreams.u0.maxAge")
      assert.strictEqual(simulator.counters.upgrades, 1)
    }).pipe(Effect.scoped),
  )

  it.effect("of a file that is gone changes nothing, whether or not its place was named", () =>
    Effect.gen(function* () {
      for (const isNamed of [true, false]) {
        const simulator = yield* simulatorOf({ script })
        const proxy = yield* configured(named([simulator]), isNamed)
        const { inputs, turn } = conversation(proxy.url, "m0", "s")
        yield* turn("One")
        yield* proxy.remove
        yield* proxy.now
        assert.include(proxy.logged.at(-1), "those before stay in force")
        yield* turn("Two")
        assert.deepStrictEqual(inputs, ["full", "suffix"])
        yield* proxy.write(named([simulator]))
        yield* proxy.now
        assert.include(proxy.logged.at(-1), "unchanged=u0")
      }
    }).pipe(Effect.scoped),
  )

  it.effect("takes no upstream on that only the next start would keep from others", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script })
      const own = { ...named([simulator], { u0: { credential: undefined, apiKey: "test-key-own" } }) }
      const caller = named([simulator])
      // Loopback to the system, but no address that is known to be it.
      const open = { host: "::ffff:127.0.0.1" }
      for (const [before, after, wrong] of [
        [{ ...open, ...caller }, { ...own, host: "127.0.0.1" }, "use the credential of upstreams.u0"],
        [{ ...open, ...caller }, { ...open, ...own, auth: "keys" }, "use the credential of upstreams.u0"],
        [{ ...own, auth: "keys" }, caller, "needs a credential of its own for"],
      ] as const) {
        const proxy = yield* configured(before)
        yield* proxy.write(after)
        yield* proxy.now
        assert.include(proxy.logged.at(-1), "those before stay in force")
        assert.include(proxy.logged.at(-1), wrong)
        assert.include(proxy.logged.at(-1), "until the next start")
      }
    }).pipe(Effect.scoped),
  )

  it.effect("shows no upstream another credential because the way to ask for it changes at the next start", () =>
    Effect.gen(function* () {
      const account = { upstreamApiKey: "test-key-account" }
      const withAccount = { auth: "keys", ...account }
      for (const [before, after, later] of [
        [{}, withAccount, '"auth upstreamApiKey"'],
        [account, withAccount, "auth"],
        [withAccount, account, "auth"],
        [withAccount, { auth: "keys", upstreamApiKey: "test-key-another" }, "upstreamApiKey"],
      ] as const) {
        const simulator = yield* simulatorOf({ script })
        const proxy = yield* configured({ ...named([simulator]), ...before })
        yield* proxy.write({ ...named([simulator]), ...after })
        yield* proxy.now
        assert.include(proxy.logged.at(-1), `unchanged=u0 fromTheNextStart=${later}`)
      }
    }).pipe(Effect.scoped),
  )

  it.effect("looks into the credential of an upstream that is new, and not into one that was in force before", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const simulator = yield* simulatorOf({ script })
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-reload-" })
      const withToken = (token: string) => named([simulator], { u0: { credential: undefined, tokenFile: token } })
      yield* fs.writeFileString(`${folder}/a`, '{"accessToken":"test-token"}', { mode: 0o600 })
      const proxy = yield* configured(withToken(`${folder}/a`))
      yield* proxy.write(withToken(`${folder}/b`))
      yield* proxy.now
      assert.include(proxy.logged.at(-1), "those before stay in force")
      assert.include(proxy.logged.at(-1), `upstreams.u0.tokenFile: ${folder}/b can't be read`)
      yield* fs.remove(`${folder}/a`)
      yield* proxy.write({ ...withToken(`${folder}/a`), maxTurns: 7 })
      yield* proxy.now
      assert.include(proxy.logged.at(-1), "unchanged=u0 fromTheNextStart=maxTurns")
    }).pipe(Effect.scoped),
  )

  it.effect("comes by itself when the file changes, and moves a model to another upstream", () =>
    Effect.gen(function* () {
      const simulators = yield* Effect.forEach([0, 1], () => simulatorOf({ script }))
      const [first, second] = simulators
      const proxy = yield* configured(named(simulators))
      const { turn } = conversation(proxy.url, "other", "s")
      yield* turn("One")
      const before = named(simulators)
      yield* proxy.write({ ...before, defaultUpstream: "u1" })
      yield* TestClock.adjust("1 second")
      yield* until(proxy.url, () => proxy.logged.some((text) => text.includes("settings were read again")))
      yield* turn("Two")
      assert.deepStrictEqual([first?.turns.length, second?.turns.length], [1, 1])
      assert.deepStrictEqual([first?.counters.openSockets, second?.counters.openSockets], [1, 1])

      yield* proxy.write({ upstreams: { u1: before.upstreams["u1"] } })
      yield* TestClock.adjust("1 second")
      if (first !== undefined) yield* socketsOpen(first, 0)
      assert.include(proxy.logged.at(-1), "gone=u0")
    }).pipe(Effect.scoped),
  )

  it.effect("names what holds from the next start on", () =>
    Effect.gen(function* () {
      const simulator = yield* simulatorOf({ script })
      const proxy = yield* configured(named([simulator]))
      yield* proxy.write({ ...named([simulator]), maxConnections: 7, logFormat: "json" })
      yield* proxy.now
      assert.include(proxy.logged.at(-1), 'unchanged=u0 fromTheNextStart="maxConnections logFormat"')
      // What holds for all upstreams holds for the next turn, as if each of them said it.
      yield* proxy.write({ ...named([simulator]), maxConnections: 7, idleTtl: "5 minutes", tlsVerify: "off" })
      yield* proxy.now
      assert.include(proxy.logged.at(-1), "unchanged= changed=u0 fromTheNextStart=maxConnections")
    }).pipe(Effect.scoped),
  )
})
