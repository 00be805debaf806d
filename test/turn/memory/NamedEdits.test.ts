import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { checkpointOf } from "../../../src/turn/memory/Checkpoint.ts"
import { lineageOf } from "../../../src/turn/memory/Lineage.ts"
import { type Plan, plan } from "../../../src/turn/memory/Plan.ts"
import { toFrame } from "../../../src/wire/Frame.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
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

const compacted = (members: string) => `{"type":"compaction",${members}}`

/** What a hosted tool did. */
const hosted = (type: string, members: string) => `{"type":"${type}","id":"x_1",${members}}`

const callOutput = (type: string, members: string) => `{"type":"${type}","call_id":"c1","output":"a",${members}}`

const reference = (id: string, more = ',"more":"a"') => `{"type":"item_reference","id":"${id}"${more}}`

const parameters = (schema: string) =>
  `{"type":"additional_tools","tools":[{"type":"function","name":"f","parameters":{"properties":{"a":${schema}}}}]}`

/** The same in other words, once in arguments that are text, with half of a pair in them. */
const escaped = (args: string) => call(`"${args}"`)

type Row = readonly [what: string, before: ReadonlyArray<string>, after: ReadonlyArray<string>]

const same: ReadonlyArray<Row> = [
  [
    "arguments with other white space and key order",
    [call('{"a": 1, "b": {"c": [2]}}')],
    [call('{"b":{"c":[2]},"a":1}')],
  ],
  ["numbers in arguments that are equal", [call('{"a":1.0,"b":100,"c":-0}')], [call('{"a":1e0,"b":1E+2,"c":-0.0}')]],
  ["escapes in arguments", [call('{"a":"\\u00e9"}')], [call('{"a":"é"}')]],
  ["the case of an escape for half of a pair", [call('{"a":"\\ud83d"}')], [call('{"a":"\\uD83D"}')]],
  ["a pair in arguments and its escapes", [call('{"a":"\\ud83d\\ude00"}')], [call('{"a":"😀"}')]],
  ["a status that is completed", [call("{}")], [call("{}", ',"status":"completed"')]],
  ["an id beside a call's own", [call("{}")], [call("{}").replace('"id":"fc_1",', "")]],
  [
    "an id beside what is encrypted",
    [compacted('"encrypted_content":"E","id":"a"')],
    [compacted('"encrypted_content":"E"')],
  ],
  [
    "a null that the API declares",
    [hosted("local_shell_call", '"action":{"command":["a"],"user":null}')],
    [hosted("local_shell_call", '"action":{"command":["a"]},"error":null')],
  ],
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
  ["who wrote a reference that says more", [reference("a")], [reference("a", ',"more":"a","created_by":"b"')]],
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

const file = (more: string) => `{"role":"user","content":[{"type":"input_file","file_id":"a"${more}}]}`

/** By kind: a reading that takes one for the other has taken a history for another. */
const kinds: Readonly<Record<string, ReadonlyArray<Row>>> = {
  "the item that a reference with further members names": [
    ["with an unknown member", [reference("a")], [reference("b")]],
    ["with a status", [reference("a", ',"status":"failed"')], [reference("b", ',"status":"failed"')]],
    ["with a content", [reference("a", ',"content":"a"')], [reference("b", ',"content":"a"')]],
    ["with a role", [reference("a", ',"role":"assistant"')], [reference("b", ',"role":"assistant"')]],
    ["without a type", ['{"id":"a","more":1}'], ['{"id":"b","more":1}']],
    ["that says something else", [reference("a")], [reference("a", ',"more":"b"')]],
    ["by half of a pair", [reference("\\ud83d", "")], [reference("\\ude00", "")]],
    ["by a number", [reference("a").replace('"a"', "1")], [reference("a").replace('"a"', "2")]],
  ],
  "half of a pair, and its escape": [
    ["behind a backslash", [escaped('{\\"a\\":\\"\\\\\\ud83d\\"}')], [call('{"a":"\\\\ud83d"}')]],
    ["in arguments", [escaped('{\\"a\\":\\"\\ud83d\\"}')], [call('{"a":"\\ud83d"}')]],
    ["the second half", [escaped('{\\"a\\":\\"\\ude00\\"}')], [call('{"a":"\\ude00"}')]],
    ["before the other half", [escaped('{\\"a\\":\\"\\ud83d\\\\ude00\\"}')], [call('{"a":"😀"}')]],
    ["in a name", [escaped('{\\"\\ud83d\\":1}')], [call('{"\\ud83d":1}')]],
    ["in two texts that would make one", [message(text("\ud83d"), text("\ude00"))], [said("😀")]],
    ["in a phase", [said("a", ',"phase":"\\ud83d"')], [said("a", ',"phase":"\\ude00"')]],
    [
      "in an id",
      [hosted("mcp_call", "").replace("x_1", "\\ud83d").replace(",}", "}")],
      [hosted("mcp_call", "").replace("x_1", "\\ufffd").replace(",}", "}")],
    ],
    ["and a mark of the order of bytes", [call("{}")], [call('"\\ufeff{}"')]],
    ["and a space behind what no parser takes", [call('"\\ufeff{}"')], [call('"\\ufeff{} "')]],
  ],
  "a status that says more than that it is done": [
    [
      "of a patch",
      [callOutput("apply_patch_call_output", '"status":"failed"')],
      [callOutput("apply_patch_call_output", '"status":"completed"')],
    ],
    [
      "of a patch, and none",
      [callOutput("apply_patch_call_output", '"status":"completed"')],
      [callOutput("apply_patch_call_output", '"status":null')],
    ],
    [
      "of a function",
      [callOutput("function_call_output", '"status":"completed"')],
      [callOutput("function_call_output", '"status":"incomplete"')],
    ],
    [
      "of a shell",
      [callOutput("shell_call_output", '"status":"incomplete"')],
      [callOutput("shell_call_output", '"status":"completed"')],
    ],
    [
      "of a computer",
      [callOutput("computer_call_output", '"status":"failed"')],
      [callOutput("computer_call_output", '"name":null')],
    ],
    [
      "of a local shell",
      [callOutput("local_shell_call_output", '"status":"failed"')],
      [callOutput("local_shell_call_output", '"status":"completed"')],
    ],
    ["of a tool elsewhere", [hosted("mcp_call", '"status":"failed"')], [hosted("mcp_call", '"status":"completed"')]],
    [
      "of an image",
      [hosted("image_generation_call", '"status":"failed"')],
      [hosted("image_generation_call", '"status":"completed"')],
    ],
    [
      "of a program",
      [hosted("program_output", '"status":"incomplete"')],
      [hosted("program_output", '"status":"completed"')],
    ],
    ["of a message", [message(text("a"))], [message(text("a")).replace("completed", "incomplete")]],
    ["of reasoning", [thought(summary("a"))], [thought(`${summary("a")},"status":"incomplete"`)]],
    ["that is no text", [call("{}")], [call("{}", ',"status":1')]],
    ["of what is not known", [hosted("x_call", '"status":"completed"')], [hosted("x_call", '"status":null')]],
  ],
  "null where it is a value": [
    ["in a constant", [parameters('{"const":null}')], [parameters("{}")]],
    ["in a list of values", [parameters('{"enum":[null,"a"]}')], [parameters('{"enum":["a"]}')]],
    ["as a default", [parameters('{"type":"string","default":null}')], [parameters('{"type":"string"}')]],
    ["as an example", [parameters('{"examples":[{"b":null}]}')], [parameters('{"examples":[{}]}')]],
    [
      "in a tool that a server lists",
      [hosted("mcp_list_tools", '"tools":[{"input_schema":{"const":null}}]')],
      [hosted("mcp_list_tools", '"tools":[{"input_schema":{}}]')],
    ],
    [
      "in the environment of a command",
      [hosted("local_shell_call", '"action":{"env":{"A":null}}')],
      [hosted("local_shell_call", '"action":{"env":{}}')],
    ],
    [
      "in arguments that are no text",
      [hosted("tool_search_call", '"arguments":{"a":null}')],
      [hosted("tool_search_call", '"arguments":{}')],
    ],
    [
      "in what a function gave back",
      [callOutput("function_call_output", '"caller":{"a":null}')],
      [callOutput("function_call_output", '"caller":{}')],
    ],
    [
      "in a part of a message",
      ['{"role":"user","content":[{"type":"input_image","x":{"a":null}}]}'],
      ['{"role":"user","content":[{"type":"input_image","x":{}}]}'],
    ],
    [
      "in a summary",
      [thought('"summary":[{"type":"summary_text","text":"a","x":{"a":null}}]')],
      [thought('"summary":[{"type":"summary_text","text":"a","x":{}}]')],
    ],
  ],
  "an id by which the upstream finds the rest": [
    ...[
      "web_search_call",
      "file_search_call",
      "image_generation_call",
      "code_interpreter_call",
      "mcp_call",
      "mcp_list_tools",
    ]
      .concat("mcp_approval_request", "local_shell_call", "program", "tool_search_call", "a_call_of_next_year")
      .map((type): Row => [`of a ${type}`, [hosted(type, '"a":1')], [hosted(type, '"a":1').replace("x_1", "x_2")]]),
    [
      "that is left out",
      [hosted("web_search_call", '"a":1')],
      [hosted("web_search_call", '"a":1').replace('"id":"x_1",', "")],
    ],
    ["of a message without its content", ['{"role":"user","id":"a"}'], ['{"role":"user","id":"b"}']],
    ["of a message whose content is null", ['{"role":"user","id":"a","content":null}'], ['{"role":"user","id":"b"}']],
    ["of a compaction without its content", [compacted('"id":"a","x":1')], [compacted('"id":"b","x":1')]],
    [
      "of a call without a call's id",
      [call("{}").replace('"call_id":"c1",', "")],
      [call("{}").replace('"call_id":"c1",', "").replace("fc_1", "fc_2")],
    ],
    ["that is no text", [call("{}")], [call("{}").replace('"fc_1"', "1")]],
    [
      "of a container",
      [hosted("code_interpreter_call", '"container_id":"a"')],
      [hosted("code_interpreter_call", '"container_id":"b"')],
    ],
  ],
  "a number in arguments": [
    ["that is zero with a sign", [call('{"a":-0}')], [call('{"a":0}')]],
    ["with a sign and a fraction", [call('{"a":-0.0}')], [call('{"a":0.0}')]],
    ["with a sign and an exponent", [call('{"a":-0e5}')], [call('{"a":0e5}')]],
    ["in a list", [call('{"a":[1,-0]}')], [call('{"a":[1,0]}')]],
    ["in a value of a value", [call('{"a":{"b":-0}}')], [call('{"a":{"b":0}}')]],
    ["beyond every double", [call('{"a":1e400}')], [call('{"a":1e401}')]],
    ["below every double", [call('{"a":1e-400}')], [call('{"a":0}')]],
    ["beyond every double, with a sign", [call('{"a":-1e400}')], [call('{"a":1e400}')]],
    ["of many digits", [call('{"a":0.10000000000000000001}')], [call('{"a":0.1}')]],
  ],
  "a member that only one kind of item has": [
    [
      "annotations of what a user says",
      ['{"role":"user","content":[{"type":"input_text","text":"a","annotations":[1]}]}'],
      [asked("a")],
    ],
    ["what an SDK parsed, of no call", ['{"role":"user","content":"a","parsed_arguments":{}}'], [asked("a")]],
    ["who made it, as no text", [call("{}", ',"created_by":{}')], [call("{}")]],
    ["what is nothing in a part, of a file", [file(',"parsed":1')], [file("")]],
    ["log probabilities that are no list", [message('{"type":"output_text","text":"a","logprobs":1}')], [said("a")]],
  ],
}

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

  for (const [kind, rows] of Object.entries(kinds)) {
    for (const [what, before, after] of rows) {
      it(`is ${kind}: ${what}`, () => {
        for (const policy of policies) {
          for (const [one, other] of [
            [before, after],
            [after, before],
          ] as const) {
            assert.deepStrictEqual(afterAnswer(one, other, policy), rejected, `${policy}, in the last answer`)
            assert.deepStrictEqual(afterOwn(one, other, policy), rejected, `${policy}, further back`)
          }
        }
      })
    }
  }

  for (const [what, before, after] of editedAnswers) {
    it(`of the answer is ${what}`, () => {
      for (const policy of policies) assert.deepStrictEqual(afterAnswer(before, after, policy), rejected, policy)
    })
  }
})

describe("a string of more than 64 KiB", () => {
  const long = 'a\u00e9"/ '.repeat(20_000)
  const slashes = (item: string) => item.replaceAll("/", "\\/")
  const items: ReadonlyArray<readonly [what: string, item: (value: string) => string]> = [
    ["the text of a message", (value) => message(text(value))],
    ["a result", (value) => hosted("image_generation_call", `"result":${JSON.stringify(value)}`)],
    ["a call's arguments", (value) => call(JSON.stringify([value, 1]))],
    ["a call's input", (value) => `{"type":"custom_tool_call","call_id":"c1","input":${JSON.stringify(value)}}`],
    ["encrypted content", (value) => thought(`"summary":[],"encrypted_content":${JSON.stringify(value)}`)],
    ["a summary", (value) => thought(summary(value))],
  ]
  for (const [what, item] of items) {
    it(`counts to its last character, and in any spelling: ${what}`, () => {
      const same = slashes(item(long))
      assert.notStrictEqual(same, item(long))
      for (const policy of policies) {
        assert.strictEqual(afterAnswer([item(long)], [same], policy).reason, "continued", policy)
        assert.strictEqual(afterOwn([item(long)], [same], policy).reason, "continued", policy)
        for (const other of [`${long}b`, `b${long}`, long.slice(1), long.replace("é", "e"), `${long.slice(0, -1)}.`]) {
          assert.strictEqual(afterAnswer([item(long)], [item(other)], policy).reason, "history_changed", policy)
          assert.strictEqual(afterOwn([item(long)], [item(other)], policy).reason, "history_changed", policy)
        }
      }
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

  for (const anchor of ["1", "0", "-0", "true", "false", "[]", '["resp_1"]', "{}", '{"id":"resp_1"}']) {
    it(`is a history beside a previous response ${anchor}, which the upstream refuses`, () => {
      const known = checkpointOf(lineageFrom(body([asked("a")])), "resp_1", [], digester)
      const member = `"previous_response_id":${anchor}`
      const request = Result.getOrThrow(
        parseRequestBody(new TextEncoder().encode(`{"model":"m",${member},"input":[${asked("a")},${asked("b")}]}`)),
      )
      const lineage = lineageOf(request, digester)
      const planned = plan(lineage, known, "lenient")
      assert.strictEqual(planned.reason, "client_anchor")
      const frame = new TextDecoder().decode(toFrame(request, planned))
      assert.include(frame, member)
      assert.include(frame, `[${asked("a")},${asked("b")}]`)
      // What an upstream made of it, if it took it, is not known.
      assert.isUndefined(checkpointOf(lineage, "resp_2", [], digester).input)
    })
  }

  it("is a history beside a conversation of any type", () => {
    const known = checkpointOf(lineageFrom(body([asked("a")])), "resp_1", [], digester)
    for (const conversation of ["1", "0", "false", '""', "[]", "{}", '{"id":null}']) {
      const next = lineageFrom(`{"model":"m","conversation":${conversation},"input":[${asked("a")},${asked("b")}]}`)
      assert.strictEqual(plan(next, known, "lenient").reason, "conversation_bound", conversation)
    }
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
