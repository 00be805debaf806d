import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FileSystem, Layer, Scope } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { idsOf, referencedIds } from "../../../src/downstream/tenants/OwnedIds.ts"
import type { ApiError } from "../../../src/downstream/ApiError.ts"
import { Ownership } from "../../../src/downstream/tenants/Ownership.ts"

const answer = {
  id: "resp_a",
  object: "response",
  previous_response_id: "resp_before",
  conversation: { id: "conv_a" },
  metadata: { id: "echo_metadata" },
  prompt: { id: "echo_prompt" },
  tools: [{ type: "code_interpreter", container: "echo_container", container_id: "echo_container_id" }],
  output: [
    { type: "reasoning", id: "rs_a", summary: [], encrypted_content: "test" },
    { type: "code_interpreter_call", id: "ci_a", container_id: "cntr_a", code: "1", status: "completed" },
    { type: "shell_call", id: "sh_a", call_id: "call_a", environment: { container_id: "cntr_shell_a" } },
    { type: "mcp_call", id: "mcp_a", output: "text" },
    { type: "mcp_list_tools", id: "mcpl_a", tools: [{ input_schema: { container_id: "echo_schema", id: "echo_id" } }] },
    {
      type: "message",
      id: "msg_a",
      role: "assistant",
      content: [
        {
          type: "output_text",
          text: "done",
          annotations: [
            { type: "container_file_citation", container_id: "cntr_cited_a", file_id: "cfile_a" },
            { type: "file_citation", file_id: "echo_file" },
          ],
        },
      ],
    },
  ],
}

const idsOfAnswer = [
  "resp_a",
  "conv_a",
  "rs_a",
  "ci_a",
  "cntr_a",
  "sh_a",
  "cntr_shell_a",
  "mcp_a",
  "mcpl_a",
  "msg_a",
  "cntr_cited_a",
  "cfile_a",
]

/** What a check refuses with; undefined: it lets the request pass. */
const refusal = (check: Effect.Effect<void, ApiError>) =>
  Effect.match(check, { onFailure: (error) => error, onSuccess: () => undefined })

describe("idsOf", () => {
  it("finds what an answer made and nothing that it only repeats", () => {
    assert.sameMembers([...idsOf(answer)], idsOfAnswer)
  })

  it("reads items by themselves, a conversation's plain id, and a compaction", () => {
    assert.deepStrictEqual(idsOf(answer.output[0]), ["rs_a"])
    assert.deepStrictEqual(idsOf(answer.output.slice(0, 2)), ["rs_a", "ci_a", "cntr_a"])
    assert.deepStrictEqual(idsOf({ id: "resp_b", conversation: "conv_b" }), ["resp_b", "conv_b"])
    const compaction = { id: "resp_c", object: "response.compaction", output: [{ type: "compaction", id: "cmp_c" }] }
    assert.deepStrictEqual(idsOf(compaction), ["resp_c", "cmp_c"])
  })

  it("finds nothing in what has not the shape of an answer", () => {
    for (const value of [undefined, null, "resp_a", 1, [], [null, "x"], {}, { id: 1, output: "x" }, { id: "" }]) {
      assert.deepStrictEqual(idsOf(value), [])
    }
  })
})

describe("referencedIds", () => {
  it("tells what a request continues or fetches from what it only holds", () => {
    const found = referencedIds({
      model: "m",
      previous_response_id: "r1",
      conversation: { id: "c1" },
      metadata: { response_id: "free_text" },
      client_metadata: { id: "free_text" },
      input: [
        { type: "item_reference", id: "i1" },
        { id: "i2" },
        { id: "i3", type: null, role: null, content: null },
        { type: "item_reference", id: "i4", role: "user", content: "x" },
        { type: "reasoning", id: "m1", summary: [] },
        { id: "m2", role: "user", content: "hi" },
        { type: "mcp_approval_response", approval_request_id: "m3", approve: true },
        { role: "user", content: [{ type: "input_file", file_id: "m4" }] },
      ],
      tools: [
        { type: "code_interpreter", container: "m5" },
        { type: "code_interpreter", container: { type: "auto", file_ids: ["m6", "m7"] } },
        { type: "function", name: "f", parameters: { properties: { id: { type: "string" } } } },
      ],
      prompt: { id: "m8" },
    })
    const at = (param: string, ids: Array<string>) => ids.map((id) => ({ id, param }))
    assert.deepStrictEqual(found.references, [
      ...at("previous_response_id", ["r1"]),
      ...at("conversation", ["c1"]),
      ...at("input", ["i1", "i2", "i3", "i4"]),
    ])
    assert.sameDeepMembers(
      [...found.mentions],
      [...at("input", ["m1", "m2", "m3", "m4"]), ...at("tools", ["m5", "m6", "m7"]), ...at("prompt", ["m8"])],
    )
  })

  it("reads a conversation that is a plain id, an input that is one item, and the frames of a running turn", () => {
    assert.deepStrictEqual(referencedIds({ conversation: "c1" }).references, [{ id: "c1", param: "conversation" }])
    assert.deepStrictEqual(referencedIds({ input: { id: "i1" } }).references, [{ id: "i1", param: "input" }])
    assert.deepStrictEqual(referencedIds({ response_id: "r1" }).references, [{ id: "r1", param: "response_id" }])
  })

  it("finds nothing in what has not the shape of a request", () => {
    const nothing = { references: [], mentions: [] }
    for (const request of [
      undefined,
      null,
      [],
      "x",
      {},
      { input: "resp_a" },
      { input: [null, "x", { id: 1 }, { id: "" }] },
      { previous_response_id: null, conversation: null },
      { previous_response_id: 1, conversation: {} },
    ]) {
      assert.deepStrictEqual(referencedIds(request), nothing)
    }
  })

  it("survives any depth of nesting", () => {
    let nested: unknown = { type: "input_file", file_id: "deep" }
    for (let depth = 0; depth < 200_000; depth++) nested = depth % 2 === 0 ? [nested] : { content: nested }
    assert.deepStrictEqual(referencedIds({ input: [nested] }).mentions, [{ id: "deep", param: "input" }])
  })
})

describe("Ownership", () => {
  const places: ReadonlyArray<{
    readonly name: string
    readonly request: (id: string) => unknown
    readonly message: string
    readonly code: string | null
    readonly param: string
    readonly reference: boolean
  }> = [
    {
      name: "previous_response_id",
      request: (id) => ({ previous_response_id: id, input: "go on" }),
      message: "Previous response with id",
      code: "previous_response_not_found",
      param: "previous_response_id",
      reference: true,
    },
    {
      name: "conversation",
      request: (id) => ({ conversation: id }),
      message: "Conversation with id",
      code: null,
      param: "conversation",
      reference: true,
    },
    {
      name: "conversation object",
      request: (id) => ({ conversation: { id } }),
      message: "Conversation with id",
      code: null,
      param: "conversation",
      reference: true,
    },
    {
      name: "item_reference",
      request: (id) => ({
        input: [
          { role: "user", content: "x" },
          { type: "item_reference", id },
        ],
      }),
      message: "Item with id",
      code: null,
      param: "input",
      reference: true,
    },
    {
      name: "untyped reference",
      request: (id) => ({ input: [{ id }] }),
      message: "Item with id",
      code: null,
      param: "input",
      reference: true,
    },
    {
      name: "reference with null members",
      request: (id) => ({ input: [{ id, type: null, role: null, content: null }] }),
      message: "Item with id",
      code: null,
      param: "input",
      reference: true,
    },
    {
      name: "id of a full item",
      request: (id) => ({ input: [{ type: "reasoning", id, summary: [] }] }),
      message: "Item with id",
      code: null,
      param: "input",
      reference: false,
    },
    {
      name: "container inside an item",
      request: (id) => ({ input: [{ type: "code_interpreter_call", id: "own", container_id: id }] }),
      message: "Item with id",
      code: null,
      param: "input",
      reference: false,
    },
    {
      name: "container of a tool",
      request: (id) => ({ tools: [{ type: "code_interpreter", container: id }] }),
      message: "Container with id",
      code: null,
      param: "tools",
      reference: false,
    },
    {
      name: "container of a shell",
      request: (id) => ({
        tools: [{ type: "shell", environment: { type: "container_reference", container_id: id } }],
      }),
      message: "Container with id",
      code: null,
      param: "tools",
      reference: false,
    },
    {
      name: "files of a container",
      request: (id) => ({ tools: [{ type: "code_interpreter", container: { type: "auto", file_ids: ["own", id] } }] }),
      message: "Container with id",
      code: null,
      param: "tools",
      reference: false,
    },
  ]

  for (const place of places) {
    it.effect(`answers 404 to B for every id of A as ${place.name}, and lets A pass`, () =>
      Effect.gen(function* () {
        const ownership = yield* Ownership
        ownership.record("key:a", idsOf(answer))
        ownership.record("key:b", ["resp_b"])
        for (const id of idsOfAnswer) {
          const error = yield* refusal(ownership.check("key:b", place.request(id)))
          assert.deepStrictEqual(
            [error?.status, error?.message, error?.type, error?.code, error?.param],
            [404, `${place.message} '${id}' not found.`, "invalid_request_error", place.code, place.param],
          )
          assert.isUndefined(yield* refusal(ownership.check("key:a", place.request(id))))
        }
        const unknown = yield* refusal(ownership.check("key:b", place.request("never_seen")))
        assert.strictEqual(unknown?.message, place.reference ? `${place.message} 'never_seen' not found.` : undefined)
      }).pipe(Effect.provide(Ownership.layerMemory())),
    )
  }

  it.effect("answers for a response id in a path as the API does", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["resp_a"])
      assert.isUndefined(yield* refusal(ownership.checkResponseId("key:a", "resp_a")))
      for (const id of ["resp_a", "resp_x"]) {
        const error = yield* refusal(ownership.checkResponseId("key:b", id))
        assert.deepStrictEqual([error?.status, error?.message], [404, `Response with id '${id}' not found.`])
      }
    }).pipe(Effect.provide(Ownership.layerMemory())),
  )

  it.effect("finds one foreign id among many own ones", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["msg_a"])
      ownership.record("key:b", ["resp_b", "msg_b"])
      const input = [
        { type: "item_reference", id: "msg_b" },
        { type: "message", id: "msg_a", role: "assistant", content: [] },
      ]
      const error = yield* refusal(ownership.check("key:b", { previous_response_id: "resp_b", input }))
      assert.strictEqual(error?.message, "Item with id 'msg_a' not found.")
      assert.isUndefined(
        yield* refusal(ownership.check("key:b", { previous_response_id: "resp_b", input: [input[0]] })),
      )
    }).pipe(Effect.provide(Ownership.layerMemory())),
  )

  it.effect("leaves an id with the first scope it was recorded for", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["cntr_a"])
      ownership.record("key:b", ["cntr_a", "resp_b"])
      assert.isTrue(ownership.owns("key:a", "cntr_a"))
      assert.isFalse(ownership.owns("key:b", "cntr_a"))
      assert.isTrue(ownership.ownedByAnother("key:b", "cntr_a"))
      assert.isFalse(ownership.ownedByAnother("key:a", "cntr_a"))
      assert.isFalse(ownership.ownedByAnother("key:a", "never_seen"))
      assert.isTrue(ownership.owns("key:b", "resp_b"))
    }).pipe(Effect.provide(Ownership.layerMemory())),
  )

  it.effect("forgets the oldest above the count, and an id that is made again is young again", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["1", "2", "3"])
      ownership.record("key:a", ["1"])
      ownership.record("key:a", ["4"])
      assert.deepStrictEqual(
        ["1", "2", "3", "4"].map((id) => ownership.owns("key:a", id)),
        [true, false, true, true],
      )
      ownership.record("key:a", ["5", "6"])
      assert.deepStrictEqual(
        ["1", "2", "3", "4", "5", "6"].map((id) => ownership.owns("key:a", id)),
        [false, false, false, true, true, true],
      )
    }).pipe(Effect.provide(Ownership.layerMemory({ maxEntries: 3 }))),
  )

  it.effect("keeps nothing where nothing may be kept", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      for (const id of ["1", "2", "3"]) {
        ownership.record("key:a", [id])
        assert.isFalse(ownership.owns("key:a", id))
      }
    }).pipe(Effect.provide(Ownership.layerMemory({ maxEntries: 0 }))),
  )

  it.effect("forgets an id at its maximal age, to the millisecond, without any other traffic", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["1"])
      yield* TestClock.adjust("1 day")
      ownership.record("key:a", ["2"])
      yield* TestClock.adjust(29 * 86_400_000 - 1)
      assert.isTrue(ownership.owns("key:a", "1"))
      assert.isTrue(ownership.ownedByAnother("key:b", "1"))
      yield* TestClock.adjust(1)
      assert.isFalse(ownership.owns("key:a", "1"))
      assert.isFalse(ownership.ownedByAnother("key:b", "1"))
      assert.isTrue(ownership.owns("key:a", "2"))
      ownership.record("key:b", ["1"])
      assert.isTrue(ownership.owns("key:b", "1"))
    }).pipe(Effect.provide(Ownership.layerMemory())),
  )

  it.effect("allows everything and records nothing where it is off", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["resp_a"])
      assert.isUndefined(yield* refusal(ownership.check("key:b", { previous_response_id: "resp_a" })))
      assert.isUndefined(yield* refusal(ownership.checkResponseId("key:b", "resp_a")))
      assert.isTrue(ownership.owns("key:b", "resp_a"))
      assert.isFalse(ownership.ownedByAnother("key:b", "resp_a"))
    }).pipe(Effect.provide(Ownership.layerOff)),
  )
})

describe("Ownership.layer", () => {
  type Options = Parameters<typeof Ownership.layer>[0]

  /** One life of the proxy over a store that outlives it. */
  const start = Effect.fnUntraced(function* (store: KeyValueStore.KeyValueStore, options?: Options) {
    const scope = yield* Scope.make()
    const layer = Layer.fresh(Ownership.layer(options)).pipe(
      Layer.provide(Layer.succeed(KeyValueStore.KeyValueStore, store)),
    )
    const context = yield* Layer.buildWithScope(layer, scope)
    const ownership = yield* Effect.provide(Ownership, context)
    return { ...ownership, stop: Scope.close(scope, Exit.void) }
  })

  const memoryStore = Effect.map(Layer.build(Layer.fresh(KeyValueStore.layerMemory)), (context) =>
    Effect.provide(KeyValueStore.KeyValueStore, context),
  ).pipe(Effect.flatten)

  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `id_${from + index}`)

  const rowsIn = Effect.fnUntraced(function* (store: KeyValueStore.KeyValueStore) {
    const texts = yield* Effect.forEach(yield* store.keys, (key) => store.get(key))
    return texts.map((text) => JSON.parse(text ?? "[]").length as number).sort((a, b) => b - a)
  })

  it.effect("keeps owners over restarts, in files", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const open = Effect.gen(function* () {
        const context = yield* Layer.build(Layer.fresh(KeyValueStore.layerFileSystem(`${folder}/ids`)))
        return yield* start(yield* Effect.provide(KeyValueStore.KeyValueStore, context))
      })
      const first = yield* open
      first.record("key:a", range(0, 600))
      first.record("user:b", ["resp_b"])
      yield* first.stop
      const second = yield* open
      second.record("key:a", ["resp_later"])
      yield* second.stop
      const third = yield* open
      assert.isTrue([...range(0, 600), "resp_later"].every((id) => third.owns("key:a", id)))
      assert.isTrue(third.owns("user:b", "resp_b"))
      assert.strictEqual((yield* refusal(third.check("key:a", { previous_response_id: "resp_b" })))?.status, 404)
      assert.isUndefined(yield* refusal(third.check("key:a", { previous_response_id: "resp_later" })))
      yield* third.stop
    }).pipe(Effect.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer))),
  )

  it.effect("writes within a second, so that a crash loses no more", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const crashed = yield* start(store)
      crashed.record("key:a", ["resp_1"])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(yield* rowsIn(store), [])
      yield* TestClock.adjust("1 millis")
      crashed.record("key:a", ["resp_2"])
      const next = yield* start(store)
      assert.isTrue(next.owns("key:a", "resp_1"))
      assert.isFalse(next.owns("key:a", "resp_2"))
    }),
  )

  it.effect("fills segments of 256 rows, of which only the newest is ever replaced", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store)
      for (let second = 0; second < 10; second++) {
        ownership.record("key:a", range(second * 60, second * 60 + 60))
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(yield* rowsIn(store), [256, 256, 88])
      yield* ownership.stop
      const next = yield* start(store)
      next.record("key:a", range(600, 601))
      yield* next.stop
      assert.deepStrictEqual(yield* rowsIn(store), [256, 256, 89])
    }),
  )

  it.effect("drops the oldest segments by count, and never one whose rows still count", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store, { maxEntries: 512 })
      ownership.record("key:a", range(0, 256 * 8))
      yield* ownership.stop
      assert.deepStrictEqual(yield* rowsIn(store), [256, 256])
      const next = yield* start(store, { maxEntries: 512 })
      assert.isTrue(range(256 * 6, 256 * 8).every((id) => next.owns("key:a", id)))
      assert.isFalse(next.owns("key:a", `id_${256 * 6 - 1}`))
    }),
  )

  it.effect("drops segments that are too old, and knows the age of rows over a restart", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store)
      ownership.record("key:a", range(0, 256))
      yield* TestClock.adjust("10 days")
      ownership.record("key:a", range(256, 512))
      yield* ownership.stop
      yield* TestClock.adjust("20 days")
      const next = yield* start(store)
      assert.isFalse(next.owns("key:a", "id_0"))
      assert.isTrue(next.owns("key:a", "id_256"))
      next.record("key:a", ["resp_new"])
      yield* next.stop
      assert.deepStrictEqual(yield* rowsIn(store), [256, 1])
    }),
  )

  it.effect("skips a segment that cannot be read and keeps all others", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store)
      ownership.record("key:a", range(0, 600))
      yield* ownership.stop
      const [first] = [...(yield* store.keys)].sort()
      for (const text of ["", "{", '[{"scope":"key:b"}]', '[{"scope":"key:b","id":"id_0","at":"x"}]']) {
        yield* store.set(first ?? "", text)
        const next = yield* start(store)
        assert.isFalse(next.owns("key:a", "id_0"))
        assert.isFalse(next.owns("key:b", "id_0"))
        assert.isTrue(range(256, 600).every((id) => next.owns("key:a", id)))
        yield* next.stop
      }
    }),
  )

  it.effect("leaves alone what is not its own in the store", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      yield* store.set("other", "[]")
      const ownership = yield* start(store, { maxEntries: 1 })
      ownership.record("key:a", range(0, 1_000))
      yield* ownership.stop
      assert.strictEqual(yield* store.get("other"), "[]")
    }),
  )

  it.effect("does not keep what was not recorded", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store)
      ownership.record("key:a", ["cntr_a"])
      ownership.record("key:b", ["cntr_a"])
      yield* ownership.stop
      assert.deepStrictEqual(yield* rowsIn(store), [1])
    }),
  )

  it.effect("forgets by age first where segments of two lives crossed in time", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const row = (id: string, at: number) => JSON.stringify([{ scope: "key:a", id, at }])
      yield* store.set("ownership-segment-000000000001-x", row("younger", 2))
      yield* store.set("ownership-segment-000000000002-y", row("older", 1))
      yield* TestClock.adjust("1 second")
      const ownership = yield* start(store, { maxEntries: 1 })
      assert.isTrue(ownership.owns("key:a", "younger"))
      assert.isFalse(ownership.owns("key:a", "older"))
    }),
  )

  it.effect("knows over restarts which segments are the newest", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      for (const ids of [range(0, 512), range(512, 768)]) {
        const life = yield* start(store)
        life.record("key:a", ids)
        yield* life.stop
      }
      const life = yield* start(store, { maxEntries: 256 })
      life.record("key:a", ["resp_new"])
      yield* life.stop
      const last = yield* start(store)
      assert.isTrue(range(512, 768).every((id) => last.owns("key:a", id)))
      assert.isFalse(last.owns("key:a", "id_511"))
      assert.isTrue(last.owns("key:a", "resp_new"))
    }),
  )

  it.effect("finishes a write that has begun, and writes the rest, when it ends", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const slow: KeyValueStore.KeyValueStore = {
        ...store,
        set: (key, value) => Effect.andThen(Effect.sleep("5 seconds"), store.set(key, value)),
      }
      const ownership = yield* start(slow)
      ownership.record("key:a", ["resp_1"])
      yield* TestClock.adjust("2 seconds")
      ownership.record("key:a", ["resp_2"])
      const stopping = yield* Effect.forkChild(ownership.stop)
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* rowsIn(store), [1])
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(yield* rowsIn(store), [2])
    }),
  )

  it.effect("loses nothing when two lives overlap", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const draining = yield* start(store)
      draining.record("key:a", ["resp_1"])
      yield* TestClock.adjust("1 second")
      const next = yield* start(store)
      draining.record("key:a", ["resp_2"])
      next.record("key:b", ["resp_3"])
      yield* next.stop
      yield* draining.stop
      const last = yield* start(store)
      assert.isTrue(last.owns("key:a", "resp_1"))
      assert.isTrue(last.owns("key:a", "resp_2"))
      assert.isTrue(last.owns("key:b", "resp_3"))
    }),
  )

  it.effect("tries again when the store fails, serves meanwhile, and holds no more than it would keep", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      let broken = true
      const failing: KeyValueStore.KeyValueStore = {
        ...store,
        set: (key, value) =>
          broken
            ? Effect.fail(new KeyValueStore.KeyValueStoreError({ method: "set", message: "disk full" }))
            : store.set(key, value),
      }
      const ownership = yield* start(failing, { maxEntries: 20 })
      ownership.record("key:a", ["resp_1"])
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(ownership.owns("key:a", "resp_1"))
      assert.deepStrictEqual(yield* rowsIn(store), [])
      ownership.record("key:a", range(0, 50))
      yield* TestClock.adjust("1 second")
      broken = false
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* rowsIn(store), [20])
    }),
  )

  it.effect("does not read anything as younger than now after the clock was set back", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      yield* store.set("ownership-segment-000000000001-x", JSON.stringify([{ scope: "key:a", id: "resp_1", at: 1e15 }]))
      const ownership = yield* start(store)
      assert.isTrue(ownership.owns("key:a", "resp_1"))
      yield* TestClock.adjust("30 days")
      assert.isFalse(ownership.owns("key:a", "resp_1"))
    }),
  )
})
