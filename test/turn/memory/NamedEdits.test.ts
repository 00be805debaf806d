import { assert, describe, it } from "@effect/vitest"
import { checkpointOf } from "../../../src/turn/memory/Checkpoint.ts"
import { type Plan, plan } from "../../../src/turn/memory/Plan.ts"
import { digester, lineageFrom, policies, type Policy } from "../../support/Chain.ts"
import { user } from "../../support/Items.ts"

const body = (items: ReadonlyArray<string>) => `{"model":"m","input":[${items.join()}]}`

const asked = (text: string) => JSON.stringify(user(text))

/** The plan of a turn that replays `replayed` for the answer `recorded`. */
const afterAnswer = (recorded: ReadonlyArray<string>, replayed: ReadonlyArray<string>, policy: Policy): Plan =>
  plan(
    lineageFrom(body([asked("a"), ...replayed, asked("b")])),
    checkpointOf(lineageFrom(body([asked("a")])), "resp_1", recorded, digester),
    policy,
  )

/** The plan of a turn that writes `after` where the turn before it wrote `before`, both from the client's own memory. */
const afterOwn = (before: ReadonlyArray<string>, after: ReadonlyArray<string>, policy: Policy): Plan => {
  const answer = ['{"id":"m9","type":"message","role":"assistant","content":[{"type":"output_text","text":"x"}]}']
  return plan(
    lineageFrom(body([...after, asked("a"), ...answer, asked("b")])),
    checkpointOf(lineageFrom(body([...before, asked("a")])), "resp_1", answer, digester),
    policy,
  )
}

const call = (args: string, more = "") =>
  `{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":${args.startsWith('"') ? args : JSON.stringify(args)}${more}}`

const message = (...parts: ReadonlyArray<string>) =>
  `{"id":"m1","type":"message","status":"completed","role":"assistant","content":[${parts.join()}]}`

const text = (value: string) => `{"type":"output_text","text":${JSON.stringify(value)},"annotations":[],"logprobs":[]}`

const said = (value: string, more = "") => `{"role":"assistant","content":${JSON.stringify(value)}${more}}`

const thought = (members: string) => `{"type":"reasoning","id":"rs_1",${members}}`

const summary = (value: string) => `"summary":[{"type":"summary_text","text":${JSON.stringify(value)}}]`

type Row = readonly [what: string, before: ReadonlyArray<string>, after: ReadonlyArray<string>]

const same: ReadonlyArray<Row> = [
  [
    "arguments with other white space and key order",
    [call('{"a": 1, "b": {"c": [2]}}')],
    [call('{"b":{"c":[2]},"a":1}')],
  ],
  ["numbers in arguments that are equal", [call('{"a":1.0,"b":100,"c":-0}')], [call('{"a":1e0,"b":1E+2,"c":0}')]],
  ["escapes in arguments", [call('{"a":"\\u00e9"}')], [call('{"a":"é"}')]],
  ["an escape in arguments for half of a pair", [call('"{\\"a\\":\\"\\ud83d\\"}"')], [call('{"a":"\\ud83d"}')]],
  ["members that are null", [call("{}", ',"namespace":null')], [call("{}", ',"caller":null')]],
  ["an empty list with a space in it", [thought('"summary":[]')], [thought('"summary":[ ]')]],
]

const sameAnswer: ReadonlyArray<Row> = [
  ["one message for two texts", [message(text("a"), text("b"))], [said("ab")]],
  ["two messages for two texts", [message(text("a"), text("b"))], [said("a"), said("b")]],
  ["two messages for two texts, one of them empty", [message(text("a"), text(""))], [said("a"), said("")]],
  ["a reference to a message", [message(text("a"))], ['{"type":"item_reference","id":"m1"}']],
  ["a reference without a type", [message(text("a"))], ['{"id":"m1"}']],
  ["reasoning that is known by its id", [thought(summary("a"))], ['{"type":"reasoning","id":"rs_1"}']],
  [
    "reasoning that is known by its encrypted content",
    [thought(`"encrypted_content":"E",${summary("a")}`)],
    ['{"type":"reasoning","encrypted_content":"E","summary":[]}'],
  ],
  ["reasoning that is known by its summary", [thought(summary("a"))], [`{"type":"reasoning",${summary("a")}}`]],
]

const edits: ReadonlyArray<Row> = [
  ["another argument", [call('{"a":1}')], [call('{"a":2}')]],
  ["an argument that is null, and none", [call('{"a":null}')], [call("{}")]],
  ["numbers in arguments beyond 2^53", [call('{"a":9007199254740993}')], [call('{"a":9007199254740992}')]],
  ["a number and its text in arguments", [call('{"a":1}')], [call('{"a":"1"}')]],
  ["halves of a pair in arguments", [call('"{\\"a\\":\\"\\ud83d\\"}"')], [call('"{\\"a\\":\\"\\ude00\\"}"')]],
  ["another call id", [call("{}")], [call("{}").replace("c1", "c2")]],
  ["another name", [call("{}")], [call("{}").replace('"f"', '"g"')]],
  ["another namespace", [call("{}", ',"namespace":"a"')], [call("{}", ',"namespace":"b"')]],
  ["a character of a text", [message(text("a"))], [message(text("á"))]],
  ["texts in another order", [message(text("a"), text("b"))], [message(text("b"), text("a"))]],
  ["a refusal for a text", [message(text("a"))], [message('{"type":"refusal","refusal":"a"}')]],
  ["a user for an assistant", [message(text("a"))], [message(text("a")).replace("assistant", "user")]],
  ["a phase that was not there", [message(text("a"))], [said("a", ',"phase":"commentary"')]],
  ["a phase that is no text", [message(text("a"))], [said("a", ',"phase":false')]],
  ["another phase", [said("a", ',"phase":"final_answer"')], [said("a", ',"phase":"commentary"')]],
  ["another encrypted content", [thought('"encrypted_content":"E"')], [thought('"encrypted_content":"F"')]],
  [
    "a summary",
    [thought(`"encrypted_content":"E",${summary("a")}`)],
    [thought(`"encrypted_content":"E",${summary("b")}`)],
  ],
  [
    "what was thought under the same summary",
    [thought(`${summary("a")},"content":[{"type":"reasoning_text","text":"a"}]`)],
    [thought(`${summary("a")},"content":[{"type":"reasoning_text","text":"b"}]`)],
  ],
  ["a member of reasoning that nobody knows", [thought(summary("a"))], [thought(`${summary("a")},"signature":"x"`)]],
  [
    "reasoning with another id and nothing else",
    [thought('"summary":[]')],
    [thought('"summary":[]').replace("rs_1", "rs_2")],
  ],
  [
    "another image that was generated",
    ['{"type":"image_generation_call","id":"ig_1"}'],
    ['{"type":"image_generation_call","id":"ig_2"}'],
  ],
  ["a reference to another item", ['{"type":"item_reference","id":"a"}'], ['{"type":"item_reference","id":"b"}']],
  [
    "the call that a local shell's output belongs to",
    ['{"type":"local_shell_call_output","id":"c1","output":"a"}'],
    ['{"type":"local_shell_call_output","id":"c2","output":"a"}'],
  ],
  ["a number of an item, as it is written", ['{"type":"x_call","n":1}'], ['{"type":"x_call","n":1.0}']],
  [
    "a compaction",
    ['{"type":"compaction","encrypted_content":"E"}'],
    ['{"type":"compaction","encrypted_content":"F"}'],
  ],
  [
    "an image",
    ['{"role":"user","content":[{"type":"input_image","image_url":"data:,a"}]}'],
    ['{"role":"user","content":[{"type":"input_image","image_url":"data:,b"}]}'],
  ],
]

const editedAnswers: ReadonlyArray<Row> = [
  ["nothing", [message(text("a"))], []],
  ["half of the texts", [message(text("a"), text("b"))], [said("a")]],
  ["one more text", [message(text("a"))], [said("a"), said("b")]],
  [
    "calls in another order",
    [call("{}"), call("{}").replace("c1", "c2")],
    [call("{}").replace("c1", "c2"), call("{}")],
  ],
  ["a call twice", [call("{}")], [call("{}"), call("{}")]],
  ["reasoning that shows what was not said", [thought('"summary":[]')], [thought(summary("a"))]],
  ["reasoning behind what it came before", [thought(summary("a")), call("{}")], [call("{}"), thought(summary("a"))]],
]

const rejected = { _tag: "Full", reason: "history_changed", fromItem: 0, previousResponseId: undefined } as const

describe("what says the same", () => {
  for (const [what, before, after] of same) {
    it(`is ${what}`, () => {
      for (const policy of policies) {
        assert.strictEqual(afterAnswer(before, after, policy).fromItem, 1 + after.length, policy)
        assert.strictEqual(afterOwn(before, after, policy).fromItem, after.length + 2, policy)
      }
    })
  }

  for (const [what, before, after] of sameAnswer) {
    it(`as the answer is ${what}`, () => {
      for (const policy of policies) assert.strictEqual(afterAnswer(before, after, policy).fromItem, 1 + after.length)
    })
  }

  it("is an answer without its reasoning, unless that is asked for", () => {
    const recorded = [thought(summary("a")), call("{}")]
    assert.strictEqual(afterAnswer(recorded, [call("{}")], "lenient").fromItem, 2)
    assert.deepStrictEqual(afterAnswer(recorded, [call("{}")], "strict"), rejected)
    assert.strictEqual(afterOwn(recorded, [call("{}")], "lenient").fromItem, 3)
    assert.deepStrictEqual(afterOwn(recorded, [call("{}")], "strict"), rejected)
  })
})

describe("an edit", () => {
  for (const [what, before, after] of edits) {
    it(`is ${what}`, () => {
      for (const policy of policies) {
        assert.deepStrictEqual(afterAnswer(before, after, policy), rejected, `${policy}, in the last answer`)
        assert.deepStrictEqual(afterOwn(before, after, policy), rejected, `${policy}, further back`)
      }
    })
  }

  for (const [what, before, after] of editedAnswers) {
    it(`of the answer is ${what}`, () => {
      for (const policy of policies) assert.deepStrictEqual(afterAnswer(before, after, policy), rejected, policy)
    })
  }
})

describe("what a plan does not begin with", () => {
  it("is a checkpoint that nothing is asked after", () => {
    const answer = [message(text("a"))]
    const known = checkpointOf(lineageFrom(body([asked("a")])), "resp_1", answer, digester)
    assert.strictEqual(plan(lineageFrom(body([asked("a"), ...answer])), known, "lenient").reason, "nothing_new")
  })

  it("is a checkpoint of an input that ended in reasoning, since nothing marks its end", () => {
    const input = [asked("a"), thought(summary("a"))]
    const known = checkpointOf(lineageFrom(body(input)), "resp_1", [call("{}")], digester)
    for (const own of [input, [asked("a")]]) {
      const next = lineageFrom(body([...own, call("{}"), asked("b")]))
      assert.strictEqual(plan(next, known, "strict").reason, "history_changed")
    }
  })

  it("is an anchor that the connection does not hold", () => {
    const known = checkpointOf(lineageFrom(body([asked("a")])), "resp_1", [], digester)
    const anchored = (id: string) => lineageFrom(`{"previous_response_id":"${id}","input":[${asked("b")}]}`)
    assert.strictEqual(plan(anchored("resp_2"), known, "lenient").reason, "client_anchor")
    assert.strictEqual(plan(anchored("resp_1"), undefined, "lenient").reason, "client_anchor")
    assert.deepStrictEqual(plan(anchored("resp_1"), known, "lenient"), {
      _tag: "Suffix",
      reason: "client_chain",
      previousResponseId: undefined,
      fromItem: 0,
    })
  })

  it("is anything, for an input that is neither a list nor a text", () => {
    const known = checkpointOf(lineageFrom(body([asked("a")])), "resp_1", [], digester)
    assert.strictEqual(plan(lineageFrom('{"input":{"a":1}}'), known, "lenient").reason, "input_not_a_list")
  })

  it("is a delta of the client's own chain, which shows only its end", () => {
    const delta = lineageFrom(`{"previous_response_id":"resp_0","input":[${asked("b")}]}`)
    const known = checkpointOf(delta, "resp_1", [], digester)
    assert.strictEqual(plan(lineageFrom(body([asked("b"), asked("c")])), known, "lenient").reason, "history_changed")
  })
})
