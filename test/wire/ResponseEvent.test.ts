import { assert, describe, it } from "@effect/vitest"
import { textAt } from "../../src/wire/Event.ts"
import {
  fillOutput,
  memberTextIn,
  outputIn,
  readResponse,
  responseIdIn,
  type ResponseEvent,
} from "../../src/wire/ResponseEvent.ts"
import { Choices, drawObject, numbers, spell } from "../support/JsonTexts.ts"

const read = (frame: string): ResponseEvent => {
  const event = readResponse(frame)
  if (event === undefined) throw new Error(`no response in ${frame}`)
  return event
}

describe("readResponse", () => {
  it("reads nothing but a whole JSON object with a response that is an object", () => {
    for (const frame of [
      '{"type":"response.completed","response":null}',
      '{"type":"response.completed","response":"x"}',
      '{"type":"response.completed"}',
      '{"type":"response.completed","response":{"output":[]}',
      '{"type":"response.completed","response":{}} {}',
      "[]",
      "",
    ]) {
      assert.isUndefined(readResponse(frame), frame)
    }
  })

  it("gives the id, the members and the items as they are written", () => {
    const event = read('{"é":1,"response":{"id":"resp_\\u0031","output":[ {"n":1.0} ,{"s":"é"}],"error":null}}')
    assert.strictEqual(responseIdIn(event), "resp_1")
    assert.deepStrictEqual(outputIn(event), ['{"n":1.0}', '{"s":"é"}'])
    assert.strictEqual(memberTextIn(event, "error"), "null")
    assert.isUndefined(memberTextIn(event, "status"))
    assert.isUndefined(responseIdIn(read('{"response":{"id":1}}')))
    assert.deepStrictEqual(outputIn(read('{"response":{"output":{}}}')), [])
    assert.deepStrictEqual(outputIn(read('{"response":{}}')), [])
  })

  it("takes the last of two members of one name", () => {
    const event = read('{"response":{"id":"a"},"response":{"id":"b","id":"c"}}')
    assert.strictEqual(responseIdIn(event), "c")
    const full = '{"type":"response.completed","response":{"output":null,"output":[1]}}'
    assert.strictEqual(fillOutput(read(full), ["{}"]), full)
  })
})

describe("fillOutput", () => {
  const filled = (frame: string, items: ReadonlyArray<string>) => fillOutput(read(frame), items)
  const items = ['{"n":1.0}', '{"s":"é"}']
  const list = '"output":[{"n":1.0},{"s":"é"}]'

  it.each([
    [
      '{"type":"response.completed","é":"😀","response":{"id":"é"},"n":1.0}',
      `{"type":"response.completed","é":"😀","response":{"id":"é",${list}},"n":1.0}`,
    ],
    ['{"type":"response.completed","response":{}}', `{"type":"response.completed","response":{${list}}}`],
    [
      '{"type":"response.incomplete","response":{ "output" : null , "id":"x"} }',
      `{"type":"response.incomplete","response":{ "output" : [{"n":1.0},{"s":"é"}] , "id":"x"} }`,
    ],
    ['{"response":{"output":[ ]},"type":"response.failed"}', `{"response":{${list}},"type":"response.failed"}`],
  ])("puts the items into %s", (frame, expected) => {
    assert.strictEqual(filled(frame, items), expected)
  })

  it("leaves every other event as it is", () => {
    for (const frame of [
      '{"type":"response.completed","response":{"output":[{"a":1}]}}',
      '{"type":"response.completed","response":{"output":"x"}}',
    ]) {
      assert.strictEqual(filled(frame, items), frame)
    }
    const empty = '{"type":"response.completed","response":{"output":null}}'
    assert.strictEqual(filled(empty, []), empty)
  })

  it.prop(
    "changes the output and nothing else",
    [numbers],
    ([drawn]) => {
      const choices = new Choices(drawn)
      const rest = drawObject(choices).members.filter(([name]) => name !== "output")
      const before = spell({ _tag: "Object", members: rest }, choices)
      const frame = `{"x":${spell(drawObject(choices), choices)},"type":"response.completed","response":${before},"y":1.0}`
      const full = filled(frame, items)
      assert.strictEqual(full.replace(new RegExp(`,?${list.replaceAll(/[[\]{}.]/g, "\\$&")}`), ""), frame)
      assert.strictEqual(textAt(full, ["response", "output"]), `[${items.join(",")}]`)
    },
    { arbitrary: { runs: 500, size: 80 } },
  )
})
