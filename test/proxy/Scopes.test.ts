import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { ask, idOf, outputOf, way } from "../support/Ask.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"

/** How a caller sets out: what it sends with every turn. */
interface As {
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly members?: JsonObject
}

const first = [user("What is known?")]

const proxied = TestProxy.layerBrief()

const turn = Effect.fnUntraced(function* (
  input: ReadonlyArray<JsonObject>,
  { headers, key = "test-key-a", members }: As,
) {
  const answer = yield* post(
    { store: false, input: [...input], ...members },
    { key, ...(headers === undefined ? {} : { headers }) },
  )
  assert.strictEqual(answer.status, 200, answer.text)
  return answer
})

/** What the last turn was upstream. */
const last = Effect.map(Simulator, ({ turns }) => {
  const record = turns.at(-1)
  if (record === undefined) throw new Error("no turn")
  return record
})

/** One turn as `before`, and the next of the same conversation as `after`. Says whether it went on as it had begun. */
const goesOn = Effect.fnUntraced(function* (before: As, after: As) {
  const answer = yield* turn(first, before)
  const begun = yield* last
  const history = [...first, ...outputOf(answer), user("And then?")]
  const { headers } = yield* turn(history, after)
  const next = yield* last
  assert.strictEqual(next.transport, "websocket")
  const shared = next.connection === begun.connection
  const suffix = next.request?.["previous_response_id"] !== undefined
  assert.deepStrictEqual(way({ headers }, "connection", "input"), [
    shared ? "reused" : "new",
    suffix ? "suffix" : "full",
  ])
  assert.strictEqual(suffix, shared)
  assert.strictEqual(next.newItems, suffix ? 1 : history.length)
  assert.strictEqual(next.context.length, history.length)
  if (suffix) assert.strictEqual(next.request?.["previous_response_id"], idOf(answer))
  return shared
})

const sessions: ReadonlyArray<readonly [how: string, as: As]> = [
  ["the session-id header", { headers: { "session-id": "the-session" } }],
  ["prompt_cache_key", { members: { prompt_cache_key: "the-session" } }],
  ["no name at all", {}],
]

describe("Two callers", () => {
  for (const [how, as] of sessions) {
    it.effect(`with one session by ${how} share neither connection nor memory`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        assert.isTrue(yield* goesOn(as, as))
        const history = [...first, ...outputOf(yield* turn(first, as)), user("And then?")]
        const ofA = new Set(simulator.turns.map(({ connection }) => connection))

        const { headers } = yield* turn(history, { ...as, key: "test-key-b" })
        const record = yield* last
        assert.isFalse(ofA.has(record.connection))
        assert.strictEqual(headers.get("x-respool-input"), "full")
        assert.strictEqual(headers.get("x-respool-connection"), "new")
        assert.notProperty(record.request, "previous_response_id")
        assert.strictEqual(record.newItems, history.length)

        // The caller that began is not disturbed.
        const own = yield* turn(history, as)
        assert.strictEqual(own.headers.get("x-respool-input"), "suffix")
        assert.isTrue(ofA.has((yield* last).connection))
        for (const { connection, headers, raw } of simulator.turns) {
          const key = ofA.has(connection) ? "test-key-a" : "test-key-b"
          assert.strictEqual(headers["authorization"], `Bearer ${key}`)
          assert.notInclude(raw, "test-key")
        }
      }).pipe(Effect.provide(proxied)),
    )
  }

  it.effect("have each a chain of their own where one uses the other's id, which the upstream then refuses", () =>
    Effect.gen(function* () {
      const as: As = { headers: { "session-id": "the-session" } }
      const id = idOf(yield* turn(first, as))
      const owner = (yield* last).connection
      const answer = yield* post(
        { store: false, input: [user("And then?")], previous_response_id: id },
        { key: "test-key-b", headers: { "session-id": "the-session" } },
      )
      assert.strictEqual(answer.status, 400, answer.text)
      assert.notStrictEqual((yield* last).connection, owner)
    }).pipe(Effect.provide(proxied)),
  )
})

const one: As = { headers: { "session-id": "the-session" } }
const withHeader = (name: string, value: string): As => ({ headers: { ...one.headers, [name]: value } })

const splitting: ReadonlyArray<readonly [what: string, before: As, after: As]> = [
  ["openai-organization", withHeader("openai-organization", "org-a"), withHeader("openai-organization", "org-b")],
  ["openai-organization, given and not", withHeader("openai-organization", "org-a"), one],
  ["openai-project", withHeader("openai-project", "proj-a"), withHeader("openai-project", "proj-b")],
  ["user", { ...one, members: { user: "u-a" } }, { ...one, members: { user: "u-b" } }],
  ["user, given and not", one, { ...one, members: { user: "u-a" } }],
  [
    "safety_identifier",
    { ...one, members: { safety_identifier: "s-a" } },
    { ...one, members: { safety_identifier: "s-b" } },
  ],
  [
    "user in the place of safety_identifier",
    { ...one, members: { user: "x" } },
    { ...one, members: { safety_identifier: "x" } },
  ],
  ["the session's name", one, withHeader("session-id", "another-session")],
  ["the credential's scheme", { key: "test-key-a" }, { headers: { authorization: "Basic test-key-a" } }],
]

const harmless: ReadonlyArray<readonly [what: string, before: As, after: As]> = [
  ["x-request-id", withHeader("x-request-id", "request-1"), withHeader("x-request-id", "request-2")],
  ["traceparent", withHeader("traceparent", `00-${"1".repeat(32)}-${"1".repeat(16)}-01`), one],
  ["x-stainless-retry-count", withHeader("x-stainless-retry-count", "0"), withHeader("x-stainless-retry-count", "1")],
  ["user-agent", withHeader("user-agent", "one"), withHeader("user-agent", "two")],
  ["the case of the credential's scheme", { key: "test-key-a" }, { headers: { authorization: "bearer  test-key-a" } }],
  ["metadata", { ...one, members: { metadata: { turn: "1" } } }, { ...one, members: { metadata: { turn: "2" } } }],
]

describe("One caller's turns", () => {
  for (const [what, before, after] of splitting) {
    it.effect(`that differ in ${what} never share a connection`, () =>
      Effect.gen(function* () {
        assert.isFalse(yield* goesOn(before, after))
      }).pipe(Effect.provide(proxied)),
    )
  }

  for (const [what, before, after] of harmless) {
    it.effect(`that differ in ${what} go on where they were`, () =>
      Effect.gen(function* () {
        assert.isTrue(yield* goesOn(before, after))
      }).pipe(Effect.provide(proxied)),
    )
  }

  it.effect("send on the upgrade what the upstream binds to it, and no trace or request id", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* turn(first, {
        headers: { "openai-organization": "org-a", "x-request-id": "request-1", traceparent: "trace-1", cookie: "a=b" },
      })
      const headers = simulator.connections[0]?.headers ?? {}
      assert.strictEqual(headers["openai-organization"], "org-a")
      assert.strictEqual(headers["authorization"], "Bearer test-key-a")
      for (const name of ["x-request-id", "traceparent", "cookie"]) assert.notProperty(headers, name)
    }).pipe(Effect.provide(proxied)),
  )
})

describe("Without a scope", () => {
  const nobody: ReadonlyArray<readonly [how: string, authorization: string | undefined, upstream: string | undefined]> =
    [
      ["without Authorization", undefined, undefined],
      ["with an empty Authorization", "", undefined],
      ["with an Authorization nobody can read", "test-key-a", "test-key-a"],
      [
        "with two credentials in one header",
        "Bearer test-key-a, Bearer test-key-b",
        "Bearer test-key-a, Bearer test-key-b",
      ],
    ]
  for (const [how, authorization, upstream] of nobody) {
    it.effect(`${how} every turn goes over HTTP, in full and with no upgrade`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestProxy
        const simulator = yield* Simulator
        const headers = { "session-id": "the-session", ...(authorization === undefined ? {} : { authorization }) }
        let input: ReadonlyArray<JsonObject> = first
        for (let count = 1; count <= 2; count++) {
          const body = { model: "gpt-5.5", store: false, input: [...input] }
          const answer = yield* ask(`${url}/responses`, { headers, body })
          assert.strictEqual(answer.status, 200, answer.text)
          assert.strictEqual(answer.headers.get("x-respool-transport"), "http")
          assert.strictEqual(answer.headers.get("x-respool-reason"), "no_scope")
          const record = yield* last
          assert.strictEqual(record.raw, JSON.stringify(body))
          assert.strictEqual(record.headers["authorization"], upstream)
          input = [...input, ...outputOf(answer), user("And then?")]
        }
        assert.deepInclude(simulator.counters, { upgrades: 0, refusedUpgrades: 0, httpTurns: 2, websocketTurns: 0 })
      }).pipe(Effect.provide(proxied)),
    )
  }
})
