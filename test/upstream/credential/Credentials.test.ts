import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { Resolved } from "../../../src/upstream/credential/Credential.ts"
import { Credentials } from "../../../src/upstream/credential/Credentials.ts"
import type { CredentialSettings } from "../../../src/config/CredentialSettings.ts"
import type { SettingsOptions } from "../../../src/config/Settings.ts"
import { Settings } from "../../../src/config/Settings.ts"
import { connectProxy } from "../../support/ConnectProxy.ts"
import { head, rawUpstream } from "../../support/RawUpstream.ts"
import { tokenEndpoint } from "../../support/TokenEndpoint.ts"
import { collectingLogger } from "../../support/Logged.ts"

/** Lines that were logged by the test that runs. */
const { logged, logger } = collectingLogger()

const layerFor = (settings: SettingsOptions = {}) =>
  Credentials.layer.pipe(Layer.provide(Settings.layer(settings)), Layer.provideMerge([NodeFileSystem.layer, logger]))

const credentials = layerFor()

const fileOf = Effect.fnUntraced(function* (content: object | string, mode = 0o600) {
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped({ prefix: "respool-credentials-" })}/credential.json`
  let writes = 0
  // Each a second after the one before: what is written twice in one millisecond, as long as before, can't be told apart.
  const write = (next: object | string) =>
    Effect.andThen(
      fs.writeFileString(path, typeof next === "string" ? next : JSON.stringify(next), { mode }),
      Effect.suspend(() => fs.utimes(path, ++writes, writes)),
    )
  yield* write(content)
  return { path, write }
})

const resolve = (settings: CredentialSettings) =>
  Effect.flatMap(Credentials, (service) => service.resolve("main", settings))

/** The token that upstreams are shown. */
const tokenOf = (resolved: Resolved | undefined) =>
  resolved === undefined ? undefined : Redacted.value(resolved.headers)["authorization"]?.replace(/^Bearer /, "")

const token = (settings: CredentialSettings) => Effect.map(resolve(settings), tokenOf)

/** What a failure says. */
const refusal = (settings: CredentialSettings) =>
  Effect.map(Effect.flip(resolve(settings)), ({ delivery, message, reason }) => {
    assert.deepStrictEqual([reason, delivery], ["credential_unavailable", "NotSent"])
    return message
  })

const jwt = (claims: object) => `head.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`

describe("A fixed credential", () => {
  it.effect("is shown as it is, stands for itself, and a caller's own is left to the caller", () =>
    Effect.gen(function* () {
      const fixed = (apiKey: string) => resolve({ _tag: "Fixed", apiKey: Redacted.make(apiKey) })
      const one = yield* fixed("test-key-one")
      assert.strictEqual(tokenOf(one), "test-key-one")
      assert.strictEqual(one?.identity, (yield* fixed("test-key-one"))?.identity)
      assert.notStrictEqual(one?.identity, (yield* fixed("test-key-two"))?.identity)
      assert.notInclude(one?.identity, "test-key")
      assert.isUndefined(yield* resolve({ _tag: "Caller" }))
    }).pipe(Effect.provide(credentials)),
  )

  it.effect("is all that an app without files has", () =>
    Effect.gen(function* () {
      assert.include(yield* refusal({ _tag: "TokenFile", path: "t" }), "which this app does not read")
    }).pipe(Effect.provide(Credentials.layerFixed)),
  )
})

describe("The Codex CLI's auth.json", () => {
  const login = (access: string, more: object = {}) => ({
    auth_mode: "chatgpt",
    OPENAI_API_KEY: null,
    tokens: { id_token: "x", access_token: access, refresh_token: "test-refresh", account_id: "account-a", ...more },
  })
  const of = (path: string): CredentialSettings => ({ _tag: "CodexAuth", path })

  it.effect("is followed when Codex refreshes it, still stands for the same account, and is never written", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { path, write } = yield* fileOf(login("test-token-1"))
      const first = yield* resolve(of(path))
      assert.strictEqual(tokenOf(first), "test-token-1")
      assert.strictEqual(first && Redacted.value(first.headers)["chatgpt-account-id"], "account-a")
      yield* write(login("test-token-2"))
      yield* TestClock.adjust("1 second")
      const second = yield* resolve(of(path))
      assert.strictEqual(tokenOf(second), "test-token-2")
      assert.strictEqual(second?.identity, first?.identity)
      yield* write(login("test-token-3", { account_id: "account-b" }))
      yield* TestClock.adjust("1 second")
      assert.notStrictEqual((yield* resolve(of(path)))?.identity, first?.identity)
      assert.strictEqual(
        yield* fs.readFileString(path),
        JSON.stringify(login("test-token-3", { account_id: "account-b" })),
      )
    }).pipe(Effect.provide(credentials)),
  )

  it.effect("is looked at no more than once a second, but at once after a refusal", () =>
    Effect.gen(function* () {
      const { path, write } = yield* fileOf(login("test-token-1"))
      const first = yield* resolve(of(path))
      yield* write(login("test-token-2"))
      assert.strictEqual(yield* token(of(path)), "test-token-1")
      if (first === undefined) throw new Error("nothing")
      yield* Effect.flatMap(Credentials, (service) => service.refused(of(path), first))
      assert.strictEqual(yield* token(of(path)), "test-token-2")
    }).pipe(Effect.provide(credentials)),
  )

  it.effect("tells the account in the id token where it does not say it, and may hold an API key", () =>
    Effect.gen(function* () {
      const idToken = jwt({ "https://api.openai.com/auth": { chatgpt_account_id: "account-c" } })
      const { path, write } = yield* fileOf(login("test-token-1", { account_id: null, id_token: idToken }))
      const first = yield* resolve(of(path))
      assert.strictEqual(first && Redacted.value(first.headers)["chatgpt-account-id"], "account-c")
      yield* write({ OPENAI_API_KEY: "test-key-a" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* token(of(path)), "test-key-a")
    }).pipe(Effect.provide(credentials)),
  )

  it.effect("with a token whose time is over says who refreshes it, and no token", () =>
    Effect.gen(function* () {
      const { path } = yield* fileOf(login(jwt({ exp: 60, secret: "test-secret" })))
      yield* TestClock.adjust("59 seconds")
      assert.isDefined(yield* resolve(of(path)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* refusal(of(path)), `the token in ${path} has expired; running codex refreshes it`)
    }).pipe(Effect.provide(credentials)),
  )

  it.effect("that is none says so; where it was one before, that stays in force", () =>
    Effect.gen(function* () {
      logged.length = 0
      const { message, reason } = yield* Effect.flip(resolve(of("/no/where")))
      assert.strictEqual(reason, "credential_missing")
      assert.strictEqual(message, "there is no login in /no/where yet: run `codex login`")
      const { path, write } = yield* fileOf("{")
      assert.match(yield* refusal(of(path)), /is not the Codex CLI's auth\.json: log in with `codex login`$/)
      yield* write(login("test-token-1"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* token(of(path)), "test-token-1")
      yield* write('{"test-secret')
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* token(of(path)), "test-token-1")
      assert.include(logged.at(-1), "what was read before stays in force")
      assert.notInclude(logged.join(), "test-secret")
    }).pipe(Effect.provide(credentials)),
  )
})

describe("A token file", () => {
  const of = (path: string): CredentialSettings => ({ _tag: "TokenFile", path })
  const held = (tokenUrl: string, more: object = {}) => ({
    accessToken: "test-token-1",
    refreshToken: "test-refresh-1",
    expiresAt: 600,
    tokenUrl,
    clientId: "client",
    ...more,
  })

  it.effect(
    "has one refresher for all: fifty turns with a token that is over ask once, and none of them is told the old",
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { asked, url } = yield* tokenEndpoint()
        const { path } = yield* fileOf(
          held(url, { scope: "responses", clientSecret: "test-client-secret", account: "a" }),
        )
        const before = yield* resolve(of(path))
        yield* TestClock.adjust("10 minutes")
        const all = yield* Effect.forEach(Array.from({ length: 50 }), () => resolve(of(path)), {
          concurrency: "unbounded",
        })
        assert.deepStrictEqual([...new Set(all.map(tokenOf))], ["test-token-2"])
        assert.deepStrictEqual(asked, [
          {
            grant_type: "refresh_token",
            refresh_token: "test-refresh-1",
            client_id: "client",
            client_secret: "test-client-secret",
            scope: "responses",
          },
        ])
        assert.deepStrictEqual([...new Set(all.map((resolved) => resolved?.identity))], [before?.identity])
        const { mode } = yield* fs.stat(path)
        assert.strictEqual(mode & 0o777, 0o600)
        assert.deepStrictEqual(JSON.parse(yield* fs.readFileString(path)), {
          ...held(url, { scope: "responses", clientSecret: "test-client-secret", account: "a" }),
          accessToken: "test-token-2",
          refreshToken: "test-refresh-2",
          expiresAt: 600 + 3600,
        })
        assert.lengthOf(yield* fs.readDirectory(path.replace(/\/[^/]+$/, "")), 1)
        // A restart finds it.
        assert.strictEqual(yield* token(of(path)).pipe(Effect.provide(credentials)), "test-token-2")
        assert.lengthOf(asked, 1)
      }).pipe(Effect.provide(credentials)),
  )

  it.effect("is refreshed before its time is over, and no turn waits for that", () =>
    Effect.gen(function* () {
      const { asked, first, hold, url } = yield* tokenEndpoint()
      const { promise, resolve: letGo } = Promise.withResolvers<void>()
      hold.until = promise
      const { path } = yield* fileOf(held(url))
      assert.strictEqual(yield* token(of(path)), "test-token-1")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* token(of(path)), "test-token-1")
      assert.lengthOf(asked, 0)
      yield* TestClock.adjust("1 second")
      for (let turn = 0; turn < 3; turn++) assert.strictEqual(yield* token(of(path)), "test-token-1")
      yield* Deferred.await(first)
      letGo()
      yield* Effect.repeat(token(of(path)), { until: (shown) => shown === "test-token-2" })
      assert.lengthOf(asked, 1)
    }).pipe(Effect.provide(credentials)),
  )

  it.effect(
    "that can't be refreshed serves as long as it lives, is tried again after a while, and tells no secret",
    () =>
      Effect.gen(function* () {
        logged.length = 0
        const no = { status: 400, body: { error: "invalid_grant", error_description: "test-refresh-1 is over" } }
        const { asked, url } = yield* tokenEndpoint(no, no, no)
        const { path } = yield* fileOf(held(url))
        yield* resolve(of(path))
        yield* TestClock.adjust("10 minutes")
        const says = `the token in ${path} can't be refreshed: its endpoint answered 400 without a token`
        assert.strictEqual(yield* refusal(of(path)), says)
        assert.include(yield* refusal(of(path)), "the last try failed just now")
        assert.lengthOf(asked, 1)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* refusal(of(path)), says)
        yield* TestClock.adjust("1 second")
        assert.include(yield* refusal(of(path)), "the last try failed just now")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* refusal(of(path)), says)
        assert.lengthOf(asked, 3)
        assert.notMatch(logged.join(), /test-(token|refresh)/)
      }).pipe(Effect.provide(credentials)),
  )

  const ways: ReadonlyArray<
    readonly [
      what: string,
      by: (proxy: Redacted.Redacted<string>) => {
        readonly http?: Redacted.Redacted<string>
        readonly https?: Redacted.Redacted<string>
        readonly no?: ReadonlyArray<string>
        readonly upstream?: Redacted.Redacted<string>
      },
      goes: "through it" | "past it",
    ]
  > = [
    ["the environment names for its URL", (http) => ({ http }), "through it"],
    ["the environment names for other URLs", (https) => ({ https }), "past it"],
    ["the environment names, with another exception", (http) => ({ http, no: ["other.test"] }), "through it"],
    ["the environment names, with this exception", (http) => ({ http, no: ["127.0.0.0/8"] }), "past it"],
    ["the upstream names", (upstream) => ({ upstream }), "through it"],
    ["the upstream names, whatever the environment excepts", (upstream) => ({ upstream, no: ["*"] }), "through it"],
    ["the upstream goes without", (http) => ({ http, upstream: Redacted.make("direct") }), "past it"],
    ["nobody names", () => ({}), "past it"],
  ]
  for (const [what, by, goes] of ways) {
    it.effect(`is refreshed ${goes}, where there is a proxy that ${what}`, () =>
      Effect.gen(function* () {
        const proxy = yield* connectProxy()
        const { asked, url } = yield* tokenEndpoint()
        const { path } = yield* fileOf(held(url))
        const { http, https, no = [], upstream } = by(proxy.address)
        yield* TestClock.adjust("10 minutes")
        const shown = yield* Effect.flatMap(Credentials, (service) => service.resolve("main", of(path), upstream)).pipe(
          Effect.provide(layerFor({ environmentProxies: { http, https, no } })),
        )
        assert.strictEqual(tokenOf(shown), "test-token-2")
        assert.lengthOf(asked, 1)
        assert.deepStrictEqual(yield* proxy.seen, goes === "through it" ? [`POST ${url}`] : [])
      }).pipe(Effect.provide(NodeFileSystem.layer)),
    )
  }

  it.effect("is not refreshed where the proxy on the way refuses it, and says so without its address", () =>
    Effect.gen(function* () {
      const proxy = yield* connectProxy({ refuse: 403 })
      const { asked, url } = yield* tokenEndpoint()
      const { path } = yield* fileOf(held(url))
      yield* TestClock.adjust("10 minutes")
      const http = proxy.with("me:test-pass")
      const said = yield* refusal(of(path)).pipe(
        Effect.provide(layerFor({ environmentProxies: { http, https: undefined, no: [] } })),
      )
      assert.include(said, "can't be refreshed: its endpoint answered 403 without a token")
      assert.notMatch(said, /test-pass/)
      assert.lengthOf(asked, 0)
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.effect("is not taken to where its endpoint would send it on to", () =>
    Effect.gen(function* () {
      const elsewhere = yield* tokenEndpoint()
      const { asked, url } = yield* tokenEndpoint({ status: 307, body: {}, headers: { location: elsewhere.url } })
      const { path } = yield* fileOf(held(url, { expiresAt: 0 }))
      assert.include(yield* refusal(of(path)), "its endpoint answered 307")
      assert.lengthOf(asked, 1)
      assert.deepStrictEqual(elsewhere.asked, [])
    }).pipe(Effect.provide(credentials)),
  )

  it.effect("goes on being refreshed where one who waits for it goes away", () =>
    Effect.gen(function* () {
      const { asked, first, hold, url } = yield* tokenEndpoint()
      const { promise, resolve: letGo } = Promise.withResolvers<void>()
      hold.until = promise
      const { path } = yield* fileOf(held(url, { expiresAt: 0 }))
      const gone = yield* Effect.forkChild(token(of(path)))
      yield* Deferred.await(first)
      const waiting = yield* Effect.forkChild(token(of(path)))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(gone)
      letGo()
      assert.strictEqual(yield* Fiber.join(waiting), "test-token-2")
      assert.lengthOf(asked, 1)
    }).pipe(Effect.provide(credentials)),
  )

  for (const [how, answer] of [
    ["is answered", {}],
    ["is refused, since its refresh token was used already", { status: 400, body: { error: "invalid_grant" } }],
  ] as const) {
    it.effect(`that somebody writes while the one before is refreshed stays and counts, where that ${how}`, () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { first, hold, url } = yield* tokenEndpoint(answer)
        const { promise, resolve: letGo } = Promise.withResolvers<void>()
        hold.until = promise
        const { path } = yield* fileOf(held(url, { expiresAt: 0 }))
        const waiting = yield* Effect.forkChild(token(of(path)))
        yield* Deferred.await(first)
        const theirs = JSON.stringify(
          held(url, { accessToken: "test-token-theirs", refreshToken: "test-refresh-theirs" }),
        )
        yield* fs.writeFileString(path, theirs)
        letGo()
        assert.strictEqual(yield* Fiber.join(waiting), "test-token-theirs")
        assert.strictEqual(yield* token(of(path)), "test-token-theirs")
        assert.strictEqual(yield* fs.readFileString(path), theirs)
      }).pipe(Effect.provide(credentials)),
    )
  }

  it.effect("whose endpoint is silent fails in time", () =>
    Effect.gen(function* () {
      const { first, url } = yield* tokenEndpoint("silence")
      const { path } = yield* fileOf(held(url, { expiresAt: "1970-01-01T00:00:00Z" }))
      const waiting = yield* Effect.forkChild(refusal(of(path)))
      yield* Deferred.await(first)
      yield* TestClock.adjust("30 seconds")
      assert.include(yield* Fiber.join(waiting), "its endpoint did not answer in time")
    }).pipe(Effect.provide(credentials)),
  )

  it.effect(
    "is refreshed on a connection of its own, so that nothing that comes late is taken for another's token",
    () =>
      Effect.gen(function* () {
        const upstream = yield* rawUpstream((line, { body }) => {
          const token = `{"access_token":"for ${new URLSearchParams(body).get("refresh_token")}","expires_in":3600}`
          line.write(head(200, "content-type: application/json", `content-length: ${token.length}`), token)
        })
        const url = `http://127.0.0.1:${upstream.port}/token`
        yield* TestClock.adjust("10 minutes")
        for (const refreshToken of ["one", "two", "three"]) {
          const { path } = yield* fileOf(held(url, { refreshToken }))
          assert.strictEqual(yield* token(of(path)), `for ${refreshToken}`)
        }
        assert.lengthOf(upstream.lines, 3)
      }).pipe(Effect.provide(credentials)),
  )

  it.effect("that an upstream refuses is refreshed before the next turn, and not again for a minute", () =>
    Effect.gen(function* () {
      const { asked, url } = yield* tokenEndpoint()
      const { path } = yield* fileOf(held(url))
      const service = yield* Credentials
      const refused = Effect.fnUntraced(function* () {
        const shown = yield* resolve(of(path))
        if (shown === undefined) throw new Error("nothing")
        yield* service.refused(of(path), shown)
        // Told twice, as by two turns at once.
        yield* service.refused(of(path), shown)
      })
      yield* refused()
      assert.strictEqual(yield* token(of(path)), "test-token-2")
      yield* refused()
      assert.strictEqual(yield* token(of(path)), "test-token-2")
      assert.lengthOf(asked, 1)
      yield* TestClock.adjust("1 minute")
      yield* refused()
      assert.strictEqual(yield* token(of(path)), "test-token-3")
      assert.lengthOf(asked, 2)
    }).pipe(Effect.provide(credentials)),
  )

  const useless: ReadonlyArray<readonly [why: string, file: object | string, mode: number, says: RegExp]> = [
    ["is open to others", held("https://host.test"), 0o644, /is open to other users of this machine/],
    ["would send its refresh token in the clear", held("http://host.test/token"), 0o600, /is not a token file/],
    ["has no token", { refreshToken: "test-refresh-1" }, 0o600, /is not a token file/],
    ["has a date that is none", held("https://host.test", { expiresAt: "soon" }), 0o600, /is not a token file/],
    [
      "is over and can't be refreshed",
      { accessToken: "test-token-1", expiresAt: 0 },
      0o600,
      /it has no "refreshToken"/,
    ],
  ]
  for (const [why, file, mode, says] of useless) {
    it.effect(`that ${why} is no use, and says so`, () =>
      Effect.gen(function* () {
        const { path } = yield* fileOf(file, mode)
        const message = yield* refusal(of(path))
        assert.match(message, says)
        assert.notMatch(message, /test-(token|refresh)/)
      }).pipe(Effect.provide(credentials)),
    )
  }
})
