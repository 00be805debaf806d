/**
 * Every example runs, against the simulator, and is short enough to be read at once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Database } from "bun:sqlite"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { hash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { FileSystem } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { ask } from "../support/Ask.ts"
import { user } from "../support/Items.ts"
import * as Agent from "./agent.ts"
import * as AiSdk from "./aiSdk.ts"
import * as OpenAi from "./openai.ts"
import * as Pool from "./pool.ts"
import * as Proxy from "./proxy.ts"
import * as Teams from "./teams.ts"

const folder = new URL(".", import.meta.url)

const config = (values: Readonly<Record<string, string>>) => ConfigProvider.layer(ConfigProvider.fromUnknown(values))

const ways = ["full", "suffix", "suffix"]

type Talk = (
  options: { readonly baseURL: string; readonly apiKey: string },
  questions: ReadonlyArray<string>,
) => Promise<ReadonlyArray<{ readonly way: string | null | undefined }>>

describe("The examples", () => {
  it("are each under 60 lines, and all run by a test", () => {
    const tests = readdirSync(folder).filter((name) => name.endsWith(".test.ts"))
    const imported = tests.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n")
    for (const name of readdirSync(folder).filter((name) => !name.endsWith(".test.ts"))) {
      const lines = readFileSync(new URL(name, folder), "utf8").trimEnd().split("\n")
      assert.isBelow(lines.length, 60, name)
      assert.include(imported, `from "./${name}"`)
    }
  })

  const talks: ReadonlyArray<readonly [string, Talk]> = [
    ["openai.ts", OpenAi.talk],
    ["aiSdk.ts", AiSdk.talk],
  ]

  it.effect.each(talks)("continue on one connection: %s", ([, talk]) =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const told = yield* Effect.promise(() => talk({ baseURL: url, apiKey: "test-key-a" }, ["one", "two", "three"]))
      assert.deepStrictEqual(
        told.map(({ way }) => way),
        ways,
      )
      assert.strictEqual(counters.upgrades, 1)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("run an agent with a tool to its end: agent.ts", () =>
    Effect.gen(function* () {
      const { counters, turns, url } = yield* Simulator
      const asked = Agent.agent("use 3 steps").pipe(Effect.provide(Agent.layerClient))
      const items = yield* Effect.provide(asked, config({ OPENAI_BASE_URL: url, OPENAI_API_KEY: "test-key-a" }))
      assert.strictEqual(items.at(-1)?.["type"], "message")
      assert.strictEqual(counters.upgrades, 1)
      assert.lengthOf(turns, 4)
      assert.strictEqual(counters.continuations, 3)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("find the mistake in a pool: pool.ts", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Pool.checked)
      assert.strictEqual(error._tag, "LifecycleError")
    }),
  )

  it.effect("serve the proxy inside of an app: proxy.ts", () =>
    Effect.gen(function* () {
      const { counters, url } = yield* Simulator
      const app = yield* Layer.build(Proxy.layerApp.pipe(Layer.provide(config({ UPSTREAM: url }))))
      const address = yield* HttpServer.addressFormattedWith(Effect.succeed).pipe(Effect.provide(app))
      const body = { model: "gpt-5.5", input: [user("hello")] }
      assert.strictEqual((yield* ask(`${address}/v1/responses`, { key: "test-key-a", body })).status, 200)
      assert.strictEqual(counters.websocketTurns, 1)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("ask a database who is asking: teams.ts", () =>
    Effect.gen(function* () {
      const { turns, url } = yield* Simulator
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/teams.sqlite`
      const database = new Database(path)
      database.run(Teams.schema)
      for (const team of ["red", "blue"]) {
        database.run("insert into teams values (?, ?, ?)", [team, hash("sha256", `token-${team}`), `test-key-${team}`])
      }
      database.close()
      const app = yield* Layer.build(Teams.layerApp.pipe(Layer.provide(config({ TEAMS: path, UPSTREAM: url }))))
      const address = yield* HttpServer.addressFormattedWith(Effect.succeed).pipe(Effect.provide(app))
      const body = { model: "gpt-5.5", input: [user("hello")] }
      const statuses: Array<number> = []
      for (const key of ["token-red", "token-blue", "token-green", "test-key-red", undefined]) {
        statuses.push((yield* ask(`${address}/v1/responses`, { key, body })).status)
      }
      assert.deepStrictEqual(statuses, [200, 200, 401, 401, 401])
      assert.strictEqual(new Set(turns.map(({ connection }) => connection)).size, 2)
    }).pipe(Effect.provide([NodeFileSystem.layer, Simulator.layer({ apiKeys: ["test-key-red", "test-key-blue"] })])),
  )
})
