import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { agent } from "../../src/simulator/Script.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { connectProxy } from "../support/ConnectProxy.ts"
import { tokenEndpoint } from "../support/TokenEndpoint.ts"
import type { Answer } from "../support/Ask.ts"
import { outputOf, way } from "../support/Ask.ts"
import { simulatorOf } from "../support/Several.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"
import { socketsOpen } from "../support/OpenSockets.ts"

const script = agent({ rounds: 0 })

const turn = (...input: ReadonlyArray<JsonObject>) =>
  post({ instructions: "Be brief.", store: false, input: [...input] })

const outcome = (answer: Answer) => [answer.status, ...way(answer, "connection", "input", "reason")].join(" ")

const secretFile = Effect.fnUntraced(function* (content: object) {
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped({ prefix: "respool-refresh-" })}/secret.json`
  const write = (next: object) => fs.writeFileString(path, JSON.stringify(next), { mode: 0o600 })
  yield* write(content)
  return { path, write }
})

/** A ping can't be answered while the test's clock leaps. */
const pingInterval = 100 * 60 * 60_000

const held = (tokenUrl: string) => ({
  accessToken: "test-token-1",
  refreshToken: "test-refresh-1",
  expiresAt: 600,
  tokenUrl,
  clientId: "client",
})

it.layer(NodeFileSystem.layer)("A token that the proxy holds", (it) => {
  it.effect("is refreshed by the way that its upstream has", () =>
    Effect.gen(function* () {
      const proxy = yield* connectProxy()
      const { url } = yield* tokenEndpoint()
      const { path } = yield* secretFile({ ...held(url), expiresAt: 0 })
      const simulator = yield* simulatorOf({ script, accepts: ["test-token-2"] })
      const credential = { _tag: "TokenFile" as const, path }
      const upstreams = [{ name: "main", url: simulator.url, credential, proxy: proxy.address }]
      const answer = yield* turn(user("One")).pipe(Effect.provide(TestProxy.layerProxy({ upstreams, pingInterval })))
      assert.strictEqual(outcome(answer), "200 new full no_checkpoint")
      const { host } = new URL(simulator.url)
      assert.deepStrictEqual(yield* proxy.seen, [`POST ${url}`, `CONNECT ${host}`])
    }),
  )

  it.effect("is refreshed in the middle of a conversation, which goes on where it was", () =>
    Effect.gen(function* () {
      const { asked, url } = yield* tokenEndpoint()
      const { path } = yield* secretFile(held(url))
      const simulator = yield* simulatorOf({ script, accepts: ["test-token-1", "test-token-2"] })
      const upstreams = [{ name: "main", url: simulator.url, credential: { _tag: "TokenFile" as const, path } }]
      yield* Effect.gen(function* () {
        const first = yield* turn(user("One"))
        yield* TestClock.adjust("11 minutes")
        const second = yield* turn(user("One"), ...outputOf(first), user("Two"))
        assert.strictEqual(outcome(second), "200 reused suffix continued")
        assert.lengthOf(asked, 1)
        assert.strictEqual(simulator.counters.upgrades, 1)
        // The next connection shows the new one.
        yield* turn(user("Another"))
        assert.deepStrictEqual(
          simulator.connections.map(({ headers }) => headers["authorization"]),
          ["Bearer test-token-1", "Bearer test-token-2"],
        )
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams, pingInterval })))
    }).pipe(Effect.scoped),
  )

  it.effect("and that the upstream refuses is refreshed and shown again in the same turn", () =>
    Effect.gen(function* () {
      const { asked, url } = yield* tokenEndpoint()
      const { path } = yield* secretFile({ ...held(url), expiresAt: "2100-01-01T00:00:00Z" })
      const simulator = yield* simulatorOf({ script, accepts: ["test-token-1"] })
      const upstreams = [{ name: "main", url: simulator.url, credential: { _tag: "TokenFile" as const, path } }]
      yield* Effect.gen(function* () {
        yield* turn(user("One"))
        yield* simulator.setAccepted(["test-token-2"])
        const second = yield* turn(user("Another"))
        assert.strictEqual(outcome(second), "200 new full credential_refused")
        // What was opened with the refused one is gone.
        yield* socketsOpen(simulator, 1)
        assert.lengthOf(asked, 1)
        yield* simulator.setAccepted([])
        const third = yield* turn(user("A third"))
        assert.strictEqual(third.status, 401)
        assert.notInclude(third.text, "test-token")
        assert.lengthOf(asked, 1)
        assert.strictEqual(simulator.counters.executions, 2)
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )

  it.effect("and can't have says so in one error, without a word of it", () =>
    Effect.gen(function* () {
      const { url } = yield* tokenEndpoint({ status: 400, body: { error: "test-refresh-1 is over" } })
      const { path } = yield* secretFile({ ...held(url), expiresAt: 0 })
      const upstreams = [
        { name: "main", url: "http://127.0.0.1:9/v1", credential: { _tag: "TokenFile" as const, path } },
      ]
      yield* Effect.gen(function* () {
        const answer = yield* turn(user("One"))
        assert.strictEqual(answer.status, 503)
        assert.deepInclude(answer.json?.["error"], { code: "credential_unavailable" })
        assert.notMatch(answer.text, /test-(refresh|token)/)
        assert.strictEqual(answer.headers.get("x-should-retry"), null)
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )
})

it.layer(NodeFileSystem.layer)("The login of the Codex CLI", (it) => {
  const login = (access: string) => ({ tokens: { access_token: access, account_id: "account-a" } })

  /** How the file may look before `codex login`; undefined: it is not there. */
  const before: ReadonlyArray<readonly [name: string, content: string | undefined]> = [
    ["is not there", undefined],
    ["is empty", ""],
    ["is blank", "\n"],
    ["is an empty object", "{}"],
    ["has lost its login", '{"OPENAI_API_KEY":null,"tokens":null}'],
    ["has an empty key", '{"OPENAI_API_KEY":""}'],
    ["has lost its tokens", '{"auth_mode":"chatgpt","last_refresh":"2026-01-01T00:00:00Z"}'],
  ]
  it.effect.each(before)("is taken on when it comes, where the file %s", ([, content]) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { path, write } = yield* secretFile({})
      yield* content === undefined ? fs.remove(path) : fs.writeFileString(path, content)
      const simulator = yield* simulatorOf({ script, profile: "codex", accepts: ["test-token-1"] })
      const plain = yield* simulatorOf({ script })
      const credential = { _tag: "CodexAuth" as const, path }
      const upstreams = [
        { name: "main", url: plain.url },
        { name: "codex", profile: "codex" as const, url: simulator.url, models: ["gpt-codex"], credential },
      ]
      const ask = (model: string, stream: boolean) =>
        post({ model, stream, instructions: "Be brief.", store: false, input: [user("One")] })
      yield* Effect.gen(function* () {
        const { logged } = yield* TestProxy
        const said = () => logged.filter((line) => line.includes("codex login") && line.includes("level=WARN"))
        assert.lengthOf(said(), 1)
        assert.include(said()[0], "upstream=codex")
        assert.include(said()[0], path)
        for (const stream of [true, false]) {
          const refused = yield* ask("gpt-codex", stream)
          assert.strictEqual(refused.status, 401)
          assert.deepStrictEqual(refused.json?.["error"], {
            message: `respool: there is no login in ${path} yet: run \`codex login\``,
            type: "invalid_request_error",
            code: "credential_missing",
            param: null,
          })
        }
        assert.strictEqual((yield* ask("gpt-other", false)).status, 200)
        yield* write(login("test-token-1"))
        const served = yield* ask("gpt-codex", false)
        assert.strictEqual(served.status, 200, served.text)
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams })))
    }).pipe(Effect.scoped),
  )

  it.effect("serves any client, and a refresh by Codex costs no session", () =>
    Effect.gen(function* () {
      const { path, write } = yield* secretFile(login("test-token-1"))
      const simulator = yield* simulatorOf({ script, profile: "codex", accepts: ["test-token-1", "test-token-2"] })
      const credential = { _tag: "CodexAuth" as const, path }
      const upstreams = [{ name: "main", profile: "codex" as const, url: simulator.url, credential }]
      yield* Effect.gen(function* () {
        const first = yield* turn(user("One"))
        assert.strictEqual(first.status, 200, first.text)
        yield* write(login("test-token-2"))
        yield* TestClock.adjust("2 seconds")
        const second = yield* turn(user("One"), ...outputOf(first), user("Two"))
        assert.strictEqual(outcome(second), "200 reused suffix continued")
        yield* turn(user("Another"))
        assert.deepStrictEqual(
          simulator.connections.map(({ headers }) => [headers["authorization"], headers["chatgpt-account-id"]]),
          [
            ["Bearer test-token-1", "account-a"],
            ["Bearer test-token-2", "account-a"],
          ],
        )
        // Codex has refreshed it in the meantime: no second has passed since it was looked at.
        yield* simulator.setAccepted(["test-token-3"])
        yield* write(login("test-token-3"))
        assert.strictEqual(outcome(yield* turn(user("A third"))), "200 new full credential_refused")
      }).pipe(Effect.provide(TestProxy.layerProxy({ upstreams, pingInterval })))
    }).pipe(Effect.scoped),
  )
})
