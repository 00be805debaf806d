import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { checkpointOf } from "../../../src/turn/memory/Checkpoint.ts"
import type { Because } from "../../../src/turn/memory/Near.ts"
import { becauseOf } from "../../../src/turn/memory/Near.ts"
import { plan } from "../../../src/turn/memory/Plan.ts"
import { type RecallKey, TurnMemory } from "../../../src/turn/memory/TurnMemory.ts"
import { digester, lineageFrom, type Policy } from "../../support/Chain.ts"

const says = (role: string, text: string) => `{"role":"${role}","content":"${text}"}`
const asked = (text: string) => says("user", text)
const said = (text: string) => says("assistant", text)
const call = (id: string, args = "{}") =>
  `{"type":"function_call","call_id":"${id}","name":"look_up","arguments":${JSON.stringify(args)}}`
const output = (id: string, text: string) =>
  `{"type":"function_call_output","call_id":"${id}","output":${JSON.stringify(text)}}`
const thought = (text: string) => `{"type":"reasoning","id":"rs_${text}","encrypted_content":"${text}","summary":[]}`

const body = (input: ReadonlyArray<string>, members: string) => `{${members},"input":[${input.join()}]}`

const here: RecallKey = { affinity: "here", session: "session" }
const members = '"model":"m","store":false'

/** What the client said in its last turn, and what it was answered. */
const before = [
  says("developer", "rules"),
  asked("a"),
  thought("first"),
  call("c1"),
  output("c1", "one"),
  said("b"),
  asked("c"),
]
const answer = [thought("second"), call("c2"), call("c3")]
const next = [...before, ...answer, output("c2", "two"), output("c3", "three")]

interface Case {
  readonly remembered?: RecallKey
  readonly was?: string
  readonly asks?: RecallKey
  readonly now?: string
  readonly policy?: Policy
  /** True: the turn was given a connection that had a conversation. */
  readonly tookOver?: boolean
}

/** The reason that is told where the connection that the turn got can't go on. */
const reasonOf = (
  input: ReadonlyArray<string>,
  { asks = here, now = members, policy = "lenient", remembered = here, tookOver = false, was = members }: Case = {},
): Effect.Effect<Because, never, TurnMemory> =>
  Effect.gen(function* () {
    const memory = yield* TurnMemory
    memory.record(1, remembered, checkpointOf(lineageFrom(body(before, was)), "resp_1", answer, digester))
    const lineage = lineageFrom(body(input, now))
    const planned = plan(lineage, undefined, policy)
    return becauseOf(planned, () => memory.near(asks, lineage, policy), tookOver)
  })

const edited = (at: number, ...items: ReadonlyArray<string>) => next.toSpliced(at, items.length, ...items)
const unnamed: RecallKey = { affinity: "here", session: undefined }

const history = (item: number, kind: string): Because => ({ reason: "history_changed", changed: { item, kind } })

const edits: ReadonlyArray<readonly [what: string, input: ReadonlyArray<string>, Because]> = [
  ["the text of the user's first message", edited(1, asked("other")), history(1, "user_message")],
  ["the text of the user's last message", edited(6, asked("other")), history(6, "user_message")],
  ["the developer's message", edited(0, says("developer", "other")), history(0, "developer_message")],
  ["the developer's role", edited(0, says("system", "rules")), history(0, "system_message")],
  ["what the model said", edited(5, said("other")), history(5, "assistant_message")],
  ["what a tool gave", edited(4, output("c1", "other")), history(4, "function_call_output")],
  ["the arguments of a call", edited(3, call("c1", '{"a":1}')), history(3, "function_call")],
  ["a call of the last answer", edited(8, call("c2", '{"a":1}')), history(8, "function_call")],
  ["the reasoning", edited(2, thought("other")), history(2, "reasoning")],
  ["the reasoning of the last answer", edited(7, thought("other")), history(7, "reasoning")],
  ["an item that is left out", next.toSpliced(5, 1), history(5, "user_message")],
  ["a call that is left out with its output", next.toSpliced(3, 2), history(3, "assistant_message")],
  ["a message that was put in", next.toSpliced(5, 0, asked("new")), history(5, "user_message")],
  ["an answer of another model behind all of it", [...next, said("of another")], history(12, "assistant_message")],
  ["two calls in another order", edited(8, call("c3"), call("c2")), history(8, "function_call")],
  ["two messages in another order", edited(5, asked("c"), said("b")), history(5, "user_message")],
  ["a history that ends early", next.slice(0, 6), history(6, "end")],
  ["a history without the last answer", before, history(7, "end")],
  [
    "a history that lost its beginning",
    next.slice(5),
    { reason: "history_changed", changed: { item: 0, kind: "assistant_message" } },
  ],
  [
    "a compaction",
    ['{"type":"compaction","encrypted_content":"x"}', asked("d")],
    { reason: "history_changed", changed: { item: 0, kind: "compaction" } },
  ],
  ["an item of a type that is not known", edited(3, '{"type":"secret","x":1}'), history(3, "item")],
  ["a role that is not known", edited(1, says("secret", "a")), history(1, "message")],
  ["what is no item", edited(1, '"a"'), history(1, "item")],
]

describe("a history that is remembered otherwise", () => {
  for (const [what, input, expected] of edits) {
    it.effect(`differs in ${what}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* reasonOf(input), expected)
      }).pipe(Effect.provide(TurnMemory.layer)),
    )
  }

  it.effect("is one of the same caller without a name, where it opens alike", () =>
    Effect.gen(function* () {
      const alike = { remembered: unnamed, asks: unnamed }
      assert.deepStrictEqual(
        yield* reasonOf(edited(4, output("c1", "other")), alike),
        history(4, "function_call_output"),
      )
      assert.deepStrictEqual(yield* reasonOf(before, alike), history(7, "end"))
      // It may be anybody's of many.
      assert.deepStrictEqual(yield* reasonOf(edited(1, asked("other")), alike), { reason: "no_checkpoint" })
      assert.deepStrictEqual(yield* reasonOf(next.slice(5), alike), { reason: "no_checkpoint" })
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("differs where reasoning is left out that must not be", () =>
    Effect.gen(function* () {
      const without = next.filter((item) => !item.includes('"reasoning"'))
      assert.deepStrictEqual(yield* reasonOf(without, { policy: "strict" }), history(2, "function_call"))
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("differs where only some of the reasoning is left out", () =>
    Effect.gen(function* () {
      const memory = yield* TurnMemory
      const known = [asked("a"), thought("1"), call("c1"), output("c1", ""), thought("2"), said("b"), asked("c")]
      memory.record(1, here, checkpointOf(lineageFrom(body(known, members)), "resp_1", [said("d")], digester))
      const nearTo = (input: ReadonlyArray<string>) =>
        memory.near(here, lineageFrom(body([...input, said("d"), asked("e")], members)), "lenient")
      assert.deepStrictEqual(nearTo(known.toSpliced(1, 1)), history(1, "function_call"))
      assert.deepStrictEqual(nearTo(known.toSpliced(4, 1)), history(4, "assistant_message"))
      const without = known.toSpliced(4, 1).toSpliced(1, 1)
      assert.deepStrictEqual(nearTo(without), { reason: "chain_busy" })
      // All of it may be left out, so what else was edited tells more.
      assert.deepStrictEqual(nearTo(without.with(4, asked("other"))), history(4, "user_message"))
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("is told by the one that shares most with it", () =>
    Effect.gen(function* () {
      const memory = yield* TurnMemory
      for (const [chain, length] of [2, 6, 4].entries()) {
        const known = lineageFrom(body(before.slice(0, length), members))
        memory.record(10 + chain, here, checkpointOf(known, `resp_${chain}`, [said("nothing like it")], digester))
      }
      const lineage = lineageFrom(body([...before, said("x"), asked("y")], members))
      assert.deepStrictEqual(memory.near(here, lineage, "lenient"), history(6, "user_message"))
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("is told without a place where that lies behind all that is marked", () =>
    Effect.gen(function* () {
      const memory = yield* TurnMemory
      const long = Array.from({ length: 5000 }, (_, index) => asked(`${index}`))
      memory.record(1, here, checkpointOf(lineageFrom(body(long, members)), "resp_1", [said("a")], digester))
      const nearTo = (input: ReadonlyArray<string>) =>
        memory.near(here, lineageFrom(body([...input, said("a"), asked("b")], members)), "lenient")
      assert.deepStrictEqual(nearTo(long.with(4095, asked("x"))), history(4095, "user_message"))
      assert.deepStrictEqual(nearTo(long.with(4096, asked("x"))), { reason: "history_changed", changed: undefined })
    }).pipe(Effect.provide(TurnMemory.layer)),
  )
})

const memberChanges: ReadonlyArray<readonly [was: string, now: string, names: ReadonlyArray<string>]> = [
  ['"model":"m"', '"model":"n"', ["model"]],
  ['"store":true', '"store":false', ["store"]],
  ['"a":1', '"store":false', ["store"]],
  ['"truncation":"auto"', '"truncation":"disabled"', ["truncation"]],
  ['"include":["reasoning.encrypted_content"]', '"include":[]', ["include"]],
  ['"prompt":{"id":"a"}', '"prompt":{"id":"b"}', ["prompt"]],
  ['"context_management":[{"type":"compaction"}]', '"context_management":[]', ["context_management"]],
  ['"conversation":"c"', '"conversation":null', ["conversation"]],
  ['"model":"m","store":true', '"model":"n","store":false', ["model", "store"]],
]

describe("a member that is remembered otherwise", () => {
  for (const [was, now, names] of memberChanges) {
    for (const key of [here, unnamed]) {
      it.effect(`is ${names.join(" and ")}: ${was} and ${now}, ${key.session ?? "unnamed"}`, () =>
        Effect.gen(function* () {
          const because = yield* reasonOf(next, { remembered: key, asks: key, was, now })
          assert.deepStrictEqual(because, { reason: "members_changed", changed: { members: names } })
        }).pipe(Effect.provide(TurnMemory.layer)),
      )
    }
  }

  it.effect("is none of those that may change, and the edit where both are", () =>
    Effect.gen(function* () {
      const now = `${members},"tools":[],"instructions":"other","temperature":1`
      assert.deepStrictEqual(yield* reasonOf(edited(6, asked("x")), { now }), history(6, "user_message"))
      const both = yield* reasonOf(edited(6, asked("x")), { now: '"model":"n"' })
      assert.deepStrictEqual(both, history(6, "user_message"))
    }).pipe(Effect.provide(TurnMemory.layer)),
  )
})

describe("what is remembered elsewhere", () => {
  it.effect("is in another session of the caller", () =>
    Effect.gen(function* () {
      const asks = { affinity: "here", session: "other" }
      assert.deepStrictEqual(yield* reasonOf(next, { asks }), { reason: "session_changed" })
      const remembered = { affinity: "here", session: undefined }
      assert.deepStrictEqual(yield* reasonOf(next, { remembered, asks }), { reason: "session_changed" })
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("is in the session, on a connection of another affinity", () =>
    Effect.gen(function* () {
      const asks = { affinity: "there", session: "session" }
      assert.deepStrictEqual(yield* reasonOf(next, { asks }), { reason: "affinity_changed", changed: undefined })
      // Of a conversation that has nothing in common with it nothing follows.
      const another = [asked("x"), said("y"), asked("z")]
      assert.deepStrictEqual(yield* reasonOf(another, { asks }), { reason: "no_checkpoint" })
      const edit = edited(5, said("other"))
      assert.deepStrictEqual(yield* reasonOf(edit, { asks }), history(5, "assistant_message"))
      const now = '"model":"n","store":false'
      const changed = { reason: "members_changed", changed: { members: ["model"] } } as const
      assert.deepStrictEqual(yield* reasonOf(next, { asks, now }), changed)
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("is a connection that another turn uses", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* reasonOf(next), { reason: "chain_busy" })
    }).pipe(Effect.provide(TurnMemory.layer)),
  )

  it.effect("is in another affinity and session, so that nothing is known of it", () =>
    Effect.gen(function* () {
      const asks = { affinity: "there", session: "other" }
      assert.deepStrictEqual(yield* reasonOf(next, { asks }), { reason: "no_checkpoint" })
      const none = { affinity: "there", session: undefined }
      assert.deepStrictEqual(yield* reasonOf(next, { asks: none }), { reason: "no_checkpoint" })
    }).pipe(Effect.provide(TurnMemory.layer)),
  )
})

describe("a first turn", () => {
  const firsts: ReadonlyArray<readonly [what: string, input: ReadonlyArray<string>]> = [
    ["with another question", [asked("other")]],
    ["with the same question", before.slice(0, 2)],
    ["with the same opening and more", [...before.slice(0, 2), asked("more")]],
    ["with several messages", [says("developer", "rules"), asked("x"), asked("y")]],
    ["without any item", []],
  ]
  for (const [what, input] of firsts) {
    for (const key of [here, unnamed]) {
      it.effect(`${what} has nothing to continue, ${key.session ?? "unnamed"}`, () =>
        Effect.gen(function* () {
          const where = { remembered: key, asks: key }
          assert.deepStrictEqual(yield* reasonOf(input, where), { reason: "no_checkpoint" })
          const taken = yield* reasonOf(input, { ...where, tookOver: true })
          assert.deepStrictEqual(taken, { reason: "cold_taken_over" })
        }).pipe(Effect.provide(TurnMemory.layer)),
      )
    }
  }

  it.effect("has nothing near once the conversation is forgotten", () =>
    Effect.gen(function* () {
      const memory = yield* TurnMemory
      yield* reasonOf(next)
      memory.forget(1)
      const edit = lineageFrom(body(edited(6, asked("x")), members))
      assert.isUndefined(memory.near(here, edit, "lenient"))
      assert.isUndefined(memory.near(unnamed, edit, "lenient"))
    }).pipe(Effect.provide(TurnMemory.layer)),
  )
})
