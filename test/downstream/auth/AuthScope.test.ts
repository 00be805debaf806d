import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Headers } from "effect/http"
import { ApiError } from "../../../src/downstream/ApiError.ts"
import type { Caller } from "../../../src/turn/Caller.ts"
import { AuthScope } from "../../../src/downstream/auth/AuthScope.ts"
import { Keys } from "../../../src/downstream/auth/Keys.ts"
import { makeKey } from "../../../src/downstream/auth/KeysFile.ts"

const resolve = (headers: Headers.Input) =>
  Effect.flatMap(AuthScope, (auth) => auth.resolve(Headers.fromInput(headers)))

const withAuthorization = (authorization: string) => resolve({ authorization })

const sent = (caller: Caller) =>
  caller.credential === undefined ? undefined : Redacted.value(caller.credential.headers)["authorization"]

const everythingButTheCredential = ({ scope, label, credential }: Caller) =>
  [scope, label, credential?.identity].join(" ")

describe("AuthScope.layerPassthrough", () => {
  it.effect("knows a caller again by exactly what it sends, and never for another", () =>
    Effect.gen(function* () {
      const first = yield* withAuthorization("Bearer test-key-a")
      assert.strictEqual(yield* withAuthorization("Bearer test-key-a"), first)
      const others: ReadonlyArray<{ readonly authorization?: string; readonly "api-key"?: string }> = [
        { authorization: "Bearer test-key-b" },
        { authorization: "Basic test-key-a" },
        { authorization: "Bearer test-key-a", "api-key": "test-key-b" },
        { "api-key": "Bearer test-key-a" },
        { "api-key": "test-key-a" },
        { authorization: "Bearer test-key-a, Bearer test-key-b" },
      ]
      for (const headers of others) {
        const other = yield* resolve(headers)
        assert.notStrictEqual(other.credential?.identity, first.credential?.identity, JSON.stringify(headers))
        assert.deepStrictEqual(sent(other), headers.authorization, JSON.stringify(headers))
        const again = yield* resolve(headers)
        assert.strictEqual(everythingButTheCredential(again), everythingButTheCredential(other))
      }
      assert.strictEqual(yield* withAuthorization("Bearer test-key-a"), first)
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("forgets callers that others came after, which then are who they were", () =>
    Effect.gen(function* () {
      const first = yield* withAuthorization("Bearer test-key-a")
      for (let i = 0; i < 300; i++) yield* withAuthorization(`Bearer test-key-${i}`)
      const again = yield* withAuthorization("Bearer test-key-a")
      assert.notStrictEqual(again, first)
      assert.strictEqual(everythingButTheCredential(again), everythingButTheCredential(first))
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("gives a caller without a credential no scope and sends none", () =>
    Effect.gen(function* () {
      for (const headers of [{}, { authorization: "" }, { authorization: " \t " }]) {
        const caller = yield* resolve(headers)
        assert.strictEqual(caller.scope, undefined)
        assert.strictEqual(caller.credential, undefined)
        assert.strictEqual(caller.tenant, false)
      }
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("gives equal credentials one scope and different ones different scopes", () =>
    Effect.gen(function* () {
      const a = yield* withAuthorization("Bearer test-key-a")
      const again = yield* withAuthorization("Bearer test-key-a")
      const b = yield* withAuthorization("Bearer test-key-b")
      const basic = yield* withAuthorization("Basic test-key-a")
      assert.strictEqual(a.scope, again.scope)
      assert.strictEqual(a.credential?.identity, again.credential?.identity)
      assert.strictEqual(new Set([a.scope, b.scope, basic.scope, undefined]).size, 4)
      assert.strictEqual(new Set([a.credential?.identity, b.credential?.identity, basic.credential?.identity]).size, 3)
      assert.strictEqual(a.tenant, false)
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("does not let the scheme's case or extra blanks make another scope", () =>
    Effect.gen(function* () {
      const plain = yield* withAuthorization("Bearer test-key-a")
      for (const form of ["bearer test-key-a", "BEARER   test-key-a", "  Bearer\ttest-key-a  "]) {
        const caller = yield* withAuthorization(form)
        assert.deepStrictEqual(everythingButTheCredential(caller), everythingButTheCredential(plain), form)
      }
      const otherCase = yield* withAuthorization("Bearer TEST-KEY-A")
      assert.notStrictEqual(otherCase.scope, plain.scope)
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("forwards the caller's header as it was written", () =>
    Effect.gen(function* () {
      assert.strictEqual(sent(yield* withAuthorization(" bearer  test-key-a ")), "bearer  test-key-a")
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("forwards a header that cannot be read, and shares nothing for it", () =>
    Effect.gen(function* () {
      const forms = ["test-key-a", "Bearer", "Bearer test-key-a, Bearer test-key-b", "Bearer a,b", "Bearer a b", "é x"]
      for (const form of forms) {
        const caller = yield* withAuthorization(form)
        assert.strictEqual(caller.scope, undefined, form)
        assert.strictEqual(sent(caller), form)
      }
      const ids = yield* Effect.forEach(forms, (form) =>
        Effect.map(withAuthorization(form), (c) => c.credential?.identity),
      )
      assert.strictEqual(new Set(ids).size, forms.length)
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("takes an api-key for a credential like an authorization", () =>
    Effect.gen(function* () {
      const of = (headers: Headers.Input) => resolve(headers)
      const a = yield* of({ "api-key": "test-key-a" })
      assert.deepStrictEqual(a.credential && Redacted.value(a.credential.headers), { "api-key": "test-key-a" })
      assert.strictEqual(a.credential?.owner, "caller")
      for (const same of [" test-key-a ", "test-key-a\t"]) {
        assert.strictEqual((yield* of({ "api-key": same })).scope, a.scope)
      }
      assert.strictEqual((yield* of({ "api-key": "test-key-a", authorization: " " })).scope, a.scope)
      const others = [
        { "api-key": "test-key-b" },
        { "api-key": "TEST-KEY-A" },
        { authorization: "Bearer test-key-a" },
        { authorization: "api-key test-key-a" },
        { authorization: "Bearer test-key-a", "api-key": "test-key-a" },
        { authorization: "Bearer test-key-a", "api-key": "test-key-b" },
        { authorization: "Bearer test-key-b", "api-key": "test-key-a" },
      ]
      const scopes = yield* Effect.forEach(others, (headers) => Effect.map(of(headers), ({ scope }) => scope))
      assert.strictEqual(new Set([a.scope, undefined, ...scopes]).size, others.length + 2)
      const both = yield* of({ authorization: "Bearer test-key-a", "api-key": "test-key-b" })
      assert.deepStrictEqual(both.credential && Redacted.value(both.credential.headers), {
        authorization: "Bearer test-key-a",
        "api-key": "test-key-b",
      })
      assert.notInclude(everythingButTheCredential(both), "test-key")
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("forwards an api-key that cannot be read, and shares nothing for it", () =>
    Effect.gen(function* () {
      for (const key of ["test-key-a, test-key-b", "a b", "a,b", "a\tb"]) {
        const caller = yield* resolve({ "api-key": key })
        assert.strictEqual(caller.scope, undefined, key)
        assert.deepStrictEqual(caller.credential && Redacted.value(caller.credential.headers), { "api-key": key })
      }
      const half = yield* resolve({ authorization: "Bearer", "api-key": "test-key-a" })
      assert.strictEqual(half.scope, undefined)
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("shows the credential nowhere but inside the Redacted", () =>
    Effect.gen(function* () {
      for (const form of ["Bearer test-key-a", "test-key-a"]) {
        const caller = yield* withAuthorization(form)
        assert.notInclude(everythingButTheCredential(caller), "test-key-a")
        assert.notInclude(JSON.stringify(caller), "test-key-a")
        assert.notInclude(String(caller.credential), "test-key-a")
      }
    }).pipe(Effect.provide(AuthScope.layerPassthrough)),
  )

  it.effect("draws another digest key for every process", () =>
    Effect.gen(function* () {
      const once = withAuthorization("Bearer test-key-a").pipe(
        Effect.provide(AuthScope.layerPassthrough, { local: true }),
      )
      const first = yield* once
      const second = yield* once
      assert.notStrictEqual(first.scope, second.scope)
      assert.notStrictEqual(first.label, second.label)
      assert.notStrictEqual(first.credential?.identity, second.credential?.identity)
    }),
  )
})

describe("AuthScope.layerKeys", () => {
  const setup = Effect.gen(function* () {
    const alice1 = yield* makeKey({ name: "laptop", user: "alice" })
    const alice2 = yield* makeKey({ name: "phone", user: "alice" })
    const robot = yield* makeKey({ name: "robot" })
    const layer = AuthScope.layerKeys.pipe(Layer.provide(Keys.layer([alice1.record, alice2.record, robot.record])))
    const auth = yield* Effect.provide(AuthScope, layer)
    const bearer = (key: Redacted.Redacted<string>, scheme = "Bearer") =>
      auth.resolve(Headers.fromInput({ authorization: `${scheme} ${Redacted.value(key)}` }))
    return { alice1, alice2, robot, auth, bearer }
  })

  it.effect("gives all keys of a user the user's scope, and a key without a user its own", () =>
    Effect.gen(function* () {
      const { alice1, alice2, robot, bearer } = yield* setup
      assert.strictEqual((yield* bearer(alice1.secret)).scope, "user:alice")
      assert.strictEqual((yield* bearer(alice2.secret)).scope, "user:alice")
      assert.strictEqual((yield* bearer(robot.secret)).scope, `key:${robot.record.id}`)
    }),
  )

  it.effect("takes a key of ours as an api-key too, where there is no authorization", () =>
    Effect.gen(function* () {
      const { alice1, auth, robot } = yield* setup
      const of = (headers: Headers.Input) => auth.resolve(Headers.fromInput(headers))
      const key = Redacted.value(alice1.secret)
      for (const headers of [{ "api-key": key }, { "api-key": ` ${key} ` }, { "api-key": key, authorization: "" }]) {
        const caller = yield* of(headers)
        assert.deepStrictEqual([caller.scope, caller.tenant, caller.credential], ["user:alice", true, undefined])
      }
      const other = { authorization: `Bearer ${Redacted.value(robot.secret)}`, "api-key": key }
      assert.strictEqual((yield* of(other)).scope, `key:${robot.record.id}`)
      for (const headers of [
        { "api-key": "test-key-a" },
        { "api-key": "" },
        { "api-key": `${key}, ${key}` },
        { "api-key": key.slice(0, -1) },
        { "api-key": `Bearer ${key}` },
        { authorization: `Basic ${key}`, "api-key": key },
        { "x-api-key": key },
      ]) {
        const error = yield* Effect.flip(of(headers))
        assert.deepStrictEqual([error.status, error.code], [401, "invalid_api_key"], JSON.stringify(headers))
      }
    }),
  )

  it.effect("gives the caller no credential, since the upstream has its own, and marks it as one of many", () =>
    Effect.gen(function* () {
      const { alice1, bearer } = yield* setup
      const alice = yield* bearer(alice1.secret, "bEaReR")
      assert.isUndefined(alice.credential)
      assert.strictEqual(alice.tenant, true)
      assert.strictEqual((yield* bearer(alice1.secret, " \tBearer  ")).scope, "user:alice")
    }),
  )

  it.effect("names the key in its label and shows no secret anywhere", () =>
    Effect.gen(function* () {
      const { alice1, bearer } = yield* setup
      const caller = yield* bearer(alice1.secret)
      assert.strictEqual(caller.label, `laptop (${alice1.record.id}) of alice`)
      const shown = JSON.stringify(caller) + String(caller.credential)
      assert.notInclude(shown, Redacted.value(alice1.secret))
      assert.notInclude(shown, "test-upstream-key")
    }),
  )

  it.effect("answers a missing, malformed or unknown key with 401 invalid_api_key", () =>
    Effect.gen(function* () {
      const { alice1, auth } = yield* setup
      const stranger = yield* makeKey({ name: "stranger" })
      const secret = Redacted.value(alice1.secret)
      const forms = [
        undefined,
        "",
        "  ",
        "Bearer",
        secret,
        `Basic ${secret}`,
        `Bearer ${secret}x`,
        `Bearer ${secret.slice(0, -1)}`,
        `Bearer ${secret}, Bearer ${secret}`,
        `Bearer ${Redacted.value(stranger.secret)}`,
        "Bearer test-upstream-key",
      ]
      for (const authorization of forms) {
        const error = yield* Effect.flip(auth.resolve(Headers.fromInput({ authorization })))
        assert.strictEqual(error.status, 401, authorization)
        assert.strictEqual(error.code, "invalid_api_key")
        assert.deepStrictEqual(error.headers, { "www-authenticate": "Bearer" })
        assert.notInclude(error.body, secret)
      }
    }),
  )
})

describe("AuthScope.layer", () => {
  it.effect("resolves callers by the embedder's own rule", () =>
    Effect.gen(function* () {
      const caller = yield* resolve({ "x-team": "blue" })
      assert.strictEqual(caller.scope, "team:blue")
      const error = yield* Effect.flip(resolve({}))
      assert.strictEqual(error.status, 401)
    }).pipe(
      Effect.provide(
        AuthScope.layer((headers) =>
          headers["x-team"] === undefined
            ? Effect.fail(ApiError.unauthorized("no_team", "no team"))
            : Effect.succeed({
                scope: `team:${headers["x-team"]}`,
                label: headers["x-team"],
                credential: undefined,
                tenant: true,
              }),
        ),
      ),
    ),
  )
})
