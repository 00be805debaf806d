import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FileSystem, Layer, Result, Scope } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { idsOf } from "../../../src/downstream/tenants/OwnedIds.ts"
import type { ApiError } from "../../../src/downstream/ApiError.ts"
import { Ownership } from "../../../src/downstream/tenants/Ownership.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import { utf8 } from "../../support/Bytes.ts"

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

/** A request with this body. */
const sent = (body: unknown) => ({ body: Result.getOrThrow(parseRequestBody(utf8(JSON.stringify(body)))) })

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

describe("Ownership", () => {
  const places: ReadonlyArray<{
    readonly name: string
    readonly request: (id: string) => unknown
    readonly message: string
    readonly code: string | null
    readonly param: string
  }> = [
    {
      name: "previous_response_id",
      request: (id) => ({ previous_response_id: id, input: "go on" }),
      message: "Previous response with id",
      code: "previous_response_not_found",
      param: "previous_response_id",
    },
    {
      name: "conversation",
      request: (id) => ({ conversation: id }),
      message: "Conversation with id",
      code: null,
      param: "conversation",
    },
    {
      name: "conversation object",
      request: (id) => ({ conversation: { id } }),
      message: "Conversation with id",
      code: null,
      param: "conversation",
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
    },
    {
      name: "untyped reference",
      request: (id) => ({ input: [{ id }] }),
      message: "Item with id",
      code: null,
      param: "input",
    },
    {
      name: "reference with null members",
      request: (id) => ({ input: [{ id, type: null, role: null, content: null }] }),
      message: "Item with id",
      code: null,
      param: "input",
    },
    {
      name: "id of a full item",
      request: (id) => ({ input: [{ type: "reasoning", id, summary: [] }] }),
      message: "Item with id",
      code: null,
      param: "input",
    },
    {
      name: "container inside an item",
      request: (id) => ({ input: [{ type: "code_interpreter_call", id: "own", container_id: id }] }),
      message: "Item with id",
      code: null,
      param: "input",
    },
    {
      name: "container of a tool",
      request: (id) => ({ tools: [{ type: "code_interpreter", container: id }] }),
      message: "Container with id",
      code: null,
      param: "tools",
    },
    {
      name: "container of a shell",
      request: (id) => ({
        tools: [{ type: "shell", environment: { type: "container_reference", container_id: id } }],
      }),
      message: "Container with id",
      code: null,
      param: "tools",
    },
    {
      name: "files of a container",
      request: (id) => ({ tools: [{ type: "code_interpreter", container: { type: "auto", file_ids: ["own", id] } }] }),
      message: "Container with id",
      code: null,
      param: "tools",
    },
  ]

  for (const place of places) {
    it.effect(`answers 404 to B for every id of A as ${place.name}, and lets A pass`, () =>
      Effect.gen(function* () {
        const ownership = yield* Ownership
        ownership.record("key:a", idsOf(answer))
        ownership.record("key:b", ["resp_b"])
        for (const id of idsOfAnswer) {
          const error = yield* refusal(ownership.check("key:b", sent(place.request(id))))
          assert.deepStrictEqual(
            [error?.status, error?.message, error?.type, error?.code, error?.param],
            [404, `${place.message} '${id}' not found.`, "invalid_request_error", place.code, place.param],
          )
          assert.isUndefined(yield* refusal(ownership.check("key:a", sent(place.request(id)))))
        }
        const unknown = yield* refusal(ownership.check("key:b", sent(place.request("never_seen"))))
        assert.strictEqual(unknown?.message, `${place.message} 'never_seen' not found.`)
      }).pipe(Effect.provide(Ownership.layerMemory({ shared: ["own"] }))),
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
      const error = yield* refusal(ownership.check("key:b", sent({ previous_response_id: "resp_b", input })))
      assert.strictEqual(error?.message, "Item with id 'msg_a' not found.")
      assert.isUndefined(
        yield* refusal(ownership.check("key:b", sent({ previous_response_id: "resp_b", input: [input[0]] }))),
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
      yield* TestClock.adjust("1 hour")
      ownership.record("key:a", ["1"])
      ownership.record("key:a", ["4"])
      assert.deepStrictEqual(
        ["1", "2", "3", "4"].map((id) => ownership.owns("key:a", id)),
        [true, false, true, true],
      )
      ownership.record("key:a", ["5", "6"])
      assert.deepStrictEqual(
        ["1", "2", "3", "4", "5", "6"].map((id) => ownership.owns("key:a", id)),
        [true, false, false, false, true, true],
      )
    }).pipe(Effect.provide(Ownership.layerMemory({ maxEntries: 3 }))),
  )

  it.effect("lets no scope push out another's ids, whatever it makes", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      const victims = ["resp_1", "cntr_1", "msg_1"]
      ownership.record("key:victim", victims)
      ownership.record(
        "key:flood",
        Array.from({ length: 100_000 }, (_, index) => `flood_${index}`),
      )
      assert.isTrue(victims.every((id) => ownership.owns("key:victim", id)))
      assert.isTrue(victims.every((id) => ownership.ownedByAnother("key:flood", id)))
      assert.isTrue(ownership.owns("key:flood", "flood_0"))
      ownership.record("key:flood", ["flood_last"])
      assert.isFalse(ownership.owns("key:flood", "flood_0"))
      assert.isTrue(ownership.owns("key:flood", "flood_1"))
    }).pipe(Effect.provide(Ownership.layerMemory())),
  )

  it.effect("takes from whoever holds most where all together hold too many", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      const idsOfScope = (scope: string, count: number) =>
        Array.from({ length: count }, (_, index) => `${scope}_${index}`)
      ownership.record("small", idsOfScope("small", 3))
      for (const scope of ["flood0", "flood1", "flood2"]) ownership.record(scope, idsOfScope(scope, 100))
      ownership.record("late", idsOfScope("late", 3))
      const kept = (scope: string, count: number) =>
        idsOfScope(scope, count).filter((id) => ownership.owns(scope, id)).length
      assert.strictEqual(kept("small", 3), 3)
      assert.strictEqual(kept("late", 3), 3)
      const floods = ["flood0", "flood1", "flood2"].map((scope) => kept(scope, 100))
      assert.strictEqual(
        floods.reduce((sum, count) => sum + count, 0),
        24,
      )
      assert.isAtMost(Math.max(...floods) - Math.min(...floods), 1)
    }).pipe(Effect.provide(Ownership.layerMemory({ maxEntries: 20, maxTotal: 30 }))),
  )

  it.effect("gives no id to another scope while its record lasts, nor to anybody who only names it afterwards", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["cntr_1"])
      ownership.record("key:a", ["cntr_2", "cntr_3"])
      for (const scope of ["key:a", "key:b"]) {
        const container = (id: string) => sent({ tools: [{ type: "code_interpreter", container: id }] })
        const answers = yield* Effect.forEach(["cntr_1", "cntr_2", "cntr_3"], (id) =>
          refusal(ownership.check(scope, container(id))),
        )
        const isOwner = scope === "key:a"
        assert.deepStrictEqual(
          answers.map((answer) => answer?.status),
          [404, isOwner ? undefined : 404, isOwner ? undefined : 404],
        )
      }
    }).pipe(Effect.provide(Ownership.layerMemory({ maxEntries: 2 }))),
  )

  it.effect("lets everybody use what is shared, unless it was made for somebody", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["vs_made", "pmpt_shared", "file_x1"])
      const uses = (id: string) => refusal(ownership.check("key:b", sent({ vector_store_ids: [id] })))
      for (const id of ["vs_made", "vs_shared", "pmpt_shared", "file_x1", "file_x2", "file_"]) {
        assert.isUndefined(yield* uses(id), id)
      }
      for (const id of ["vs_", "vs_shared2", "xfile_x1", ""]) {
        assert.strictEqual((yield* uses(id))?.status, id === "" ? undefined : 404, id)
      }
      assert.strictEqual((yield* refusal(ownership.checkResponseId("key:b", "vs_shared")))?.status, 404)
    }).pipe(Effect.provide(Ownership.layerMemory({ shared: ["vs_shared", "vs_made", "pmpt_*", "file_*"] }))),
  )

  it.effect("refuses an id of another in a query or a header", () =>
    Effect.gen(function* () {
      const ownership = yield* Ownership
      ownership.record("key:a", ["msg_of_a"])
      ownership.record("key:b", ["msg_of_b"])
      const foreign: ReadonlyArray<Parameters<typeof ownership.check>[1]> = [
        { query: "?after=msg_of_a" },
        { query: "?msg_of_a" },
        { query: "?x=msg_of_b&y=msg_of_a" },
        { query: "?after=%6dsg_of_a" },
        { query: "?after=%256dsg%255fof_a" },
        { query: "?after=[msg_of_a]" },
        { headers: { "x-conversation": "msg_of_a" } },
        { headers: { "session-id": " a/msg_of_a;x " } },
      ]
      for (const sent of foreign) {
        assert.strictEqual((yield* refusal(ownership.check("key:b", sent)))?.status, 404, JSON.stringify(sent))
      }
      for (const sent of [{ query: "?after=msg_of_b" }, { query: "?after=unknown" }, { headers: { a: undefined } }]) {
        assert.isUndefined(yield* refusal(ownership.check("key:b", sent)))
      }
    }).pipe(Effect.provide(Ownership.layerMemory())),
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
      assert.isUndefined(yield* refusal(ownership.check("key:b", sent({ previous_response_id: "resp_a" }))))
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
      assert.strictEqual((yield* refusal(third.check("key:a", sent({ previous_response_id: "resp_b" }))))?.status, 404)
      assert.isUndefined(yield* refusal(third.check("key:a", sent({ previous_response_id: "resp_later" }))))
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

  it.effect("drops no segment of one scope for what another makes", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store, { maxEntries: 512 })
      ownership.record("key:victim", ["resp_1", "cntr_1"])
      yield* TestClock.adjust("1 second")
      for (let second = 0; second < 5; second++) {
        ownership.record("key:flood", range(second * 512, second * 512 + 512))
        ownership.record("key:victim", [`resp_${second + 2}`])
        yield* TestClock.adjust("1 second")
      }
      yield* ownership.stop
      assert.deepStrictEqual(yield* rowsIn(store), [256, 256, 7])
      const next = yield* start(store, { maxEntries: 512 })
      assert.isTrue(["resp_1", "cntr_1", "resp_6"].every((id) => next.owns("key:victim", id)))
      assert.isTrue(range(2048, 2560).every((id) => next.owns("key:flood", id)))
    }),
  )

  it.effect("writes segments of several scopes, as older versions did, anew for each", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const row = (scope: string, id: string) => ({ scope, id, at: 0 })
      const mixed = Array.from({ length: 256 }, (_, index) => row(index % 2 === 0 ? "key:a" : "key:b", `id_${index}`))
      yield* store.set("ownership-segment-000000000001-x", JSON.stringify(mixed))
      yield* store.set("ownership-segment-000000000002-x", JSON.stringify([row("key:b", "id_b"), row("key:c", "id_c")]))
      const first = yield* start(store)
      assert.isTrue(first.owns("key:a", "id_0"))
      yield* first.stop
      assert.deepStrictEqual(yield* rowsIn(store), [129, 128, 1])
      const next = yield* start(store)
      assert.isTrue(next.owns("key:a", "id_254"))
      assert.isTrue(next.owns("key:b", "id_255"))
      assert.isTrue(next.owns("key:b", "id_b"))
      assert.isTrue(next.owns("key:c", "id_c"))
    }),
  )

  it.effect("keeps nothing of a scope whose ids are all too old", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store)
      ownership.record("key:gone", ["resp_1", "resp_2"])
      yield* TestClock.adjust("30 days")
      ownership.record("key:a", ["resp_3"])
      yield* ownership.stop
      assert.deepStrictEqual(yield* rowsIn(store), [1])
    }),
  )

  it.effect("writes an id once, however many events repeat it", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const ownership = yield* start(store)
      for (let event = 0; event < 100; event++) ownership.record("key:a", ["resp_1"])
      yield* ownership.stop
      assert.deepStrictEqual(yield* rowsIn(store), [1])
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
