import { assert, describe, it } from "@effect/vitest"
import { elements, isObject, members, stable } from "../../src/simulator/JsonText.ts"
import { isEdited, unitsOf } from "../../src/simulator/context/Compare.ts"

const texts = [
  "{}",
  ' { "a" : 1 , "b":[ ] }\n',
  '{"a\\"b":"x\\\\","c":"}","d":{"e":["]",{"f":"{"}]},"g":-1.50e+3,"h":null,"é":"\\u00e9"}',
  '{"a":"\\\\\\"","a":[[],{},"",0,true]}',
]

describe("Raw text of members and elements", () => {
  for (const text of texts) {
    it(`cuts ${JSON.stringify(text)} where JSON.parse does`, () => {
      const parsed: unknown = JSON.parse(text)
      assert(isObject(parsed))
      const found = members(text)
      assert.deepStrictEqual(new Set(found.map(({ name }) => name)), new Set(Object.keys(parsed)))
      for (const member of found
        .toReversed()
        .filter((one, index, all) => all.findIndex(({ name }) => name === one.name) === index)) {
        const raw = text.slice(member.valueStart, member.end)
        assert.strictEqual(raw, raw.trim())
        assert.deepStrictEqual(JSON.parse(raw), parsed[member.name])
        assert.deepStrictEqual(JSON.parse(`{${text.slice(member.start, member.end)}}`), {
          [member.name]: parsed[member.name],
        })
      }
    })
  }

  it("gives every element with its own spelling", () => {
    assert.deepStrictEqual(elements('[ 1.0 ,"a,]" , {"b" : [2]},[] ]', 0), ["1.0", '"a,]"', '{"b" : [2]}', "[]"])
    assert.deepStrictEqual(elements("[ ]", 0), [])
  })

  it("puts keys in order at every depth", () => {
    assert.strictEqual(stable({ b: [{ d: 1, c: null }], a: "x" }), '{"a":"x","b":[{"c":null,"d":1}]}')
  })
})

describe("The table of allowed differences", () => {
  const message = {
    type: "message",
    role: "assistant",
    status: "completed",
    phase: "commentary",
    id: "msg_1",
    content: [{ type: "output_text", text: "a", annotations: [], logprobs: [] }],
  }
  const call = {
    type: "function_call",
    id: "fc_1",
    call_id: "call_1",
    name: "f",
    arguments: '{"a": 1, "b": 2}',
    status: "completed",
  }

  it("allows what clients change in a replay", () => {
    assert.isFalse(isEdited(message, { role: "assistant", content: "a" }))
    assert.isFalse(
      isEdited(message, {
        id: "msg_1",
        type: "message",
        role: "assistant",
        content: [{ type: "output_text", text: "a", parsed: null }],
      }),
    )
    assert.isFalse(
      isEdited(call, {
        type: "function_call",
        call_id: "call_1",
        name: "f",
        arguments: '{"b":2,"a":1}',
        parsed_arguments: { a: 1 },
      }),
    )
  })

  it("sees what changes the meaning", () => {
    assert.isTrue(isEdited(message, { role: "assistant", content: "b" }))
    assert.isTrue(isEdited(message, { ...message, phase: "final_answer" }))
    assert.isTrue(isEdited(call, { ...call, arguments: '{"a":1}' }))
    assert.isTrue(isEdited(call, { ...call, name: "g" }))
  })

  for (const [what, one, other] of [
    [
      "an item that a longer reference names",
      { type: "item_reference", id: "a", more: 1 },
      { type: "item_reference", id: "b", more: 1 },
    ],
    [
      "half of a pair in arguments",
      { ...call, arguments: '{"a":"\\\ud83d"}' },
      { ...call, arguments: '{"a":"\\\\ud83d"}' },
    ],
    ["half of a pair in a text", { role: "user", content: "\ud83d" }, { role: "user", content: "\ude00" }],
    [
      "the outcome of a patch",
      { type: "apply_patch_call_output", call_id: "c", status: "failed" },
      { type: "apply_patch_call_output", call_id: "c", status: "completed" },
    ],
    ["a status", { ...call, status: "incomplete" }, call],
    [
      "null in a schema",
      { type: "additional_tools", tools: [{ parameters: { const: null } }] },
      { type: "additional_tools", tools: [{ parameters: {} }] },
    ],
    ["what a search found", { type: "web_search_call", id: "a" }, { type: "web_search_call", id: "b" }],
    ["a message without content", { role: "user", id: "a" }, { role: "user", id: "b" }],
    ["zero with a sign", { ...call, arguments: '{"a":-0}' }, { ...call, arguments: '{"a":0}' }],
    [
      "a large number",
      { ...call, arguments: '{"a":9007199254740993}' },
      { ...call, arguments: '{"a":9007199254740992}' },
    ],
    ["a number beyond every double", { ...call, arguments: '{"a":1e400}' }, { ...call, arguments: '{"a":null}' }],
  ] as const) {
    it(`sees ${what}`, () => {
      assert.isTrue(isEdited(one, other))
      assert.notDeepEqual(unitsOf(one), unitsOf(other))
    })
  }

  it("adds up the parts of a message that a client splits", () => {
    const both = {
      role: "assistant",
      content: [
        { type: "output_text", text: "a" },
        { type: "output_text", text: "b" },
      ],
    }
    assert.deepStrictEqual(unitsOf(both), [
      ...unitsOf({ role: "assistant", content: "a" }),
      ...unitsOf({ role: "assistant", content: "b" }),
    ])
  })
})
