/**
 * Why a turn went up in full: the header and the log name the true cause, and what is another than before.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { Script } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { outputOf, way } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { user } from "../support/Items.ts"
import { TestProxy } from "../support/TestProxy.ts"

interface Asks {
  readonly session?: string | undefined
  readonly more?: JsonObject
}

const turn = (input: ReadonlyArray<JsonObject>, { more = {}, session }: Asks = {}) =>
  post(
    { store: false, input: [...input], ...more },
    session === undefined ? {} : { headers: { "session-id": session } },
  )

/** What the header says of the last turn, and its log line of what changed. */
const toldOf = (answer: Parameters<typeof way>[0]) =>
  Effect.map(TestProxy, ({ logged }) => {
    const line = logged.findLast((line) => line.includes("message=turn")) ?? ""
    const [input, reason] = way(answer, "input", "reason")
    assert.include(line, `reason=${reason}`)
    const changed = line.match(/changed\w+=\S+/g) ?? []
    return [input, reason, ...changed].join(" ")
  })

/** One round of a tool loop: what the client sent, and what it was answered, a call among it. */
const begin = Effect.fnUntraced(function* (asks: Asks) {
  // So long that the head of the body is known in the next turn.
  const sent = [{ role: "developer", content: "Rules ".repeat(500) }, user("Look it up, please.")]
  const first = yield* turn(sent, asks)
  const output = outputOf(first)
  const call = output.find((item) => item["type"] === "function_call") ?? assert.fail("there is a call")
  const result = { type: "function_call_output", call_id: call["call_id"] ?? "", output: "sunny" }
  const history: ReadonlyArray<JsonObject> = [...sent, ...output, result]
  const second = yield* turn(history, asks)
  assert.strictEqual(way(second, "reason")[0], "continued")
  const next = outputOf(second)
  const more = next.flatMap(({ call_id, type }) =>
    type === "function_call" ? [{ type: "function_call_output", call_id: call_id ?? "", output: "rainy" }] : [],
  )
  return { full: [...history, ...next, ...more], history, result: history.length - 1, answered: history.length }
})

type Begun = Effect.Success<ReturnType<typeof begin>>
type Edit = (begun: Begun) => readonly [input: ReadonlyArray<JsonObject>, told: string]

const changedAt = (item: number, kind: string) => `full history_changed changedItem=${item} changedKind=${kind}`

const edits: Readonly<Record<string, Edit>> = {
  "an edited text of the user": ({ full }) => [full.with(1, user("other")), changedAt(1, "user_message")],
  "edited rules": ({ full }) => [
    full.with(0, { role: "developer", content: "Others" }),
    changedAt(0, "developer_message"),
  ],
  "another output of a tool": ({ full, result }) => [
    full.with(result, { ...full[result], output: "other" }),
    changedAt(result, "function_call_output"),
  ],
  "a removed item": ({ full }) => [full.toSpliced(1, 1), changedAt(1, String(full[2]?.["type"]))],
  "an item put in": ({ answered, full }) => [
    full.toSpliced(answered, 0, user("by the way")),
    changedAt(answered, "user_message"),
  ],
  "two items in another order": ({ full }) => [
    [full[1] ?? {}, full[0] ?? {}, ...full.slice(2)],
    changedAt(0, "user_message"),
  ],
  "a history that ends early": ({ history }) => [history.slice(0, -1), changedAt(history.length - 1, "end")],
  "a turn that is asked for again": ({ answered, history }) => [history, changedAt(answered, "end")],
  "a compaction": () => [
    [{ type: "compaction", encrypted_content: "gAAAAA" }, user("Go on.")],
    changedAt(0, "compaction"),
  ],
  "another text of the model": ({ full }) => [
    [...full.slice(0, 2), { role: "assistant", content: "What I never said." }, user("What?")],
    changedAt(2, "assistant_message"),
  ],
}

const members: ReadonlyArray<readonly [more: JsonObject, told: string]> = [
  [{ model: "gpt-5.5-mini" }, "full members_changed changedMembers=model"],
  [{ store: true }, "full members_changed changedMembers=store"],
  [{ truncation: "auto" }, "full members_changed changedMembers=truncation"],
  [{ include: ["reasoning.encrypted_content"] }, "full members_changed changedMembers=include"],
  [{ model: "gpt-5.5-mini", store: true }, "full members_changed changedMembers=model,store"],
  [{ tools: [{ type: "web_search" }] }, "suffix continued"],
  [{ instructions: "Be long." }, "suffix continued"],
  [{ temperature: 0.5 }, "suffix continued"],
  [{ user: "another" }, "full affinity_changed"],
]

/** Calls a tool in every turn. */
const calling: Script = ({ index }) => ({
  output: [
    { _tag: "Reasoning", summary: [`thinking ${index}`] },
    { _tag: "FunctionCall", name: "look_up", arguments: { index } },
  ],
})

const proxied = TestProxy.layer({ simulator: { script: calling } })

describe("The reason of a turn whose history changed", () => {
  for (const [what, edit] of Object.entries(edits)) {
    it.effect(`is told for ${what}, with the place and kind of the first item that differs`, () =>
      Effect.gen(function* () {
        const [input, expected] = edit(yield* begin({ session: "named" }))
        const answer = yield* turn(input, { session: "named" })
        assert.strictEqual(yield* toldOf(answer), expected, answer.text)
        // Nothing of what was said.
        for (const line of (yield* TestProxy).logged) assert.notMatch(line, /sunny|rainy|other|please|Rules/)
      }).pipe(Effect.provide(proxied)),
    )
  }

  it.effect("is told without a session's name where the conversation opens alike", () =>
    Effect.gen(function* () {
      const { full, result } = yield* begin({})
      const answer = yield* turn(full.with(result, { ...full[result], output: "other" }))
      assert.strictEqual(yield* toldOf(answer), changedAt(result, "function_call_output"))
      const another = yield* turn(full.with(1, user("Another question")))
      assert.strictEqual(yield* toldOf(another), "full no_checkpoint")
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("is told to the openai SDK, and the next turn goes on from the edit", () =>
    Effect.gen(function* () {
      const { client } = yield* TestProxy
      const openai = client({ session: "sdk" })
      const create = (input: ReadonlyArray<JsonObject>) =>
        Effect.promise(async () => {
          const body = { model: "gpt-5.5", store: false, input: input as never }
          const { data, response } = await openai.responses.create(body).withResponse()
          return { output: data.output as unknown as ReadonlyArray<JsonObject>, headers: response.headers }
        })
      const first = yield* create([user("Hello")])
      const second = yield* create([user("Hello"), ...first.output, user("And?")])
      assert.strictEqual(yield* toldOf(second), "suffix continued")
      const edited = [user("Hello"), ...first.output, user("And then?")]
      const third = yield* create(edited)
      assert.strictEqual(yield* toldOf(third), changedAt(edited.length - 1, "user_message"))
      const fourth = yield* create([...edited, ...third.output, user("So?")])
      assert.strictEqual(yield* toldOf(fourth), "suffix continued")
    }).pipe(Effect.provide(TestProxy.layerBrief())),
  )
})

describe("The reason of a turn that was tried again", () => {
  it.effect("is that of the retry alone, whatever was changed", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { full } = yield* begin({ session: "named" })
      yield* simulator.failNext({ _tag: "Reset", at: 0 })
      const answer = yield* turn(full.with(1, user("other")), { session: "named" })
      assert.strictEqual(yield* toldOf(answer), "full upstream_closed")
    }).pipe(Effect.provide(proxied)),
  )
})

describe("The reason of a turn with another member", () => {
  for (const session of ["named", undefined]) {
    for (const [more, told] of members) {
      // Without a name nothing leads to a connection of another affinity.
      const expected = session === undefined && told.endsWith("affinity_changed") ? "full no_checkpoint" : told
      it.effect(`is ${expected} for ${JSON.stringify(more)}, ${session ?? "unnamed"}`, () =>
        Effect.gen(function* () {
          const { full } = yield* begin({ session })
          assert.strictEqual(yield* toldOf(yield* turn(full, { session, more })), expected)
        }).pipe(Effect.provide(proxied)),
      )
    }
  }
})

describe("The reason of a turn that could go on elsewhere", () => {
  it.effect("is that its session has another name", () =>
    Effect.gen(function* () {
      const { full } = yield* begin({ session: "one" })
      assert.strictEqual(yield* toldOf(yield* turn(full, { session: "two" })), "full session_changed")
      assert.strictEqual(yield* toldOf(yield* turn(full.slice(0, 2), { session: "three" })), "full no_checkpoint")
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("is that another turn is there, and nothing once it has gone on", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { full } = yield* begin({ session: "one" })
      yield* simulator.failNext({ _tag: "Hold", at: 0 })
      const branch = yield* Effect.forkChild(turn(full, { session: "one" }))
      yield* simulator.until(({ turns }) => turns.length === 3)
      assert.strictEqual(yield* toldOf(yield* turn(full, { session: "one" })), "full chain_busy")
      yield* simulator.release
      assert.strictEqual(way(yield* Fiber.join(branch), "reason")[0], "continued")
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("is another caller's, of which nothing is told", () =>
    Effect.gen(function* () {
      const { full } = yield* begin({ session: "one" })
      const answer = yield* post(
        { store: false, input: [...full] },
        { key: "test-key-b", headers: { "session-id": "one" } },
      )
      assert.strictEqual(yield* toldOf(answer), "full no_checkpoint")
    }).pipe(Effect.provide(proxied)),
  )
})

describe("The reason of a first turn", () => {
  for (const session of ["named", undefined]) {
    it.effect(`is that a cold connection was taken over, once there are eight, ${session ?? "unnamed"}`, () =>
      Effect.gen(function* () {
        const told: Array<string> = []
        for (let at = 0; at < 10; at++) told.push(yield* toldOf(yield* turn([user(`Question ${at}`)], { session })))
        const eight = Array.from({ length: 8 }, () => "full no_checkpoint")
        assert.deepStrictEqual(told, [...eight, "full cold_taken_over", "full cold_taken_over"])
      }).pipe(Effect.provide(TestProxy.layerBrief())),
    )
  }

  it.effect("is that a connection was taken over where there may be one only", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const one = [user("One")]
      const first = yield* turn(one, { session: "one" })
      told.push(yield* toldOf(first))
      told.push(yield* toldOf(yield* turn([user("Two")], { session: "two" })))
      told.push(yield* toldOf(yield* turn([...one, ...outputOf(first), user("More")], { session: "one" })))
      assert.deepStrictEqual(told, ["full no_checkpoint", "full cold_taken_over", "full cold_taken_over"])
    }).pipe(Effect.provide(TestProxy.layerBrief({ maxConnections: 1 }))),
  )

  it.effect("is that one session may have one connection, whose history it changes", () =>
    Effect.gen(function* () {
      const first = yield* turn([user("One")], { session: "one" })
      const edited = [user("Won"), ...outputOf(first), user("Two")]
      const answer = yield* turn(edited, { session: "one" })
      assert.strictEqual(yield* toldOf(answer), changedAt(0, "user_message"))
      assert.deepStrictEqual(way(answer, "connection"), ["reused"])
    }).pipe(Effect.provide(TestProxy.layerBrief({ busy: "http" }))),
  )
})
