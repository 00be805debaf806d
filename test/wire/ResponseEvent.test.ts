import { assert, describe, it } from "@effect/vitest"
import { textAt } from "../../src/wire/Event.ts"
import {
  changed,
  memberTextIn,
  outputIn,
  readResponse,
  responseIdIn,
  type ResponseEvent,
  withoutAnchor,
} from "../../src/wire/ResponseEvent.ts"
import { Choices, drawObject, numbers, spell } from "../support/JsonTexts.ts"
import { runs } from "../support/Runs.ts"

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
    assert.strictEqual(changed(read(full), { output: ["{}"], withoutAnchor: false }), full)
  })
})

describe("a terminal event that leaves its output out", () => {
  const filled = (frame: string, items: ReadonlyArray<string>) =>
    changed(read(frame), { output: items, withoutAnchor: false })
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
      '{"type":"response.completed","response":{"output":[{"a":1},{"a":2}]}}',
      '{"type":"response.completed","response":{"output":[{"a":1},{"a":2},{"a":3}]}}',
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
    { arbitrary: { runs: runs(500), size: 80 } },
  )
})

describe("an answer to a request that went up with an anchor of respool's", () => {
  const ways = {
    "an event before the last": (frame: string) => withoutAnchor(frame, "resp_own"),
    "the last event": (frame: string) => changed(read(frame), { output: [], withoutAnchor: true }),
  }
  const created = (members: string) => `{"type":"response.created","response":{${members}},"n":1.0}`

  for (const [name, shown] of Object.entries(ways)) {
    it.each([
      ['"id":"a","previous_response_id":"resp_own","é":1', '"id":"a","previous_response_id":null,"é":1'],
      ['"previous_response_id" : "resp_own" ,"é":"😀"', '"previous_response_id" : null ,"é":"😀"'],
      // What a gateway made of the id is no more the client's than ours is.
      ['"previous_response_id":"resp_other"', '"previous_response_id":null'],
      [
        '"previous_response_id":"resp_own","previous_response_id":"b"',
        '"previous_response_id":null,"previous_response_id":null',
      ],
      [
        '"metadata":{"previous_response_id":"resp_own"},"previous_response_id":"resp_own"',
        '"metadata":{"previous_response_id":"resp_own"},"previous_response_id":null',
      ],
      [
        '"instructions":"\\"previous_response_id\\":\\"resp_own\\"","previous_response_id":"resp_own"',
        '"instructions":"\\"previous_response_id\\":\\"resp_own\\"","previous_response_id":null',
      ],
    ])(`${name} shows null in %s`, (members, expected) => {
      assert.strictEqual(shown(created(members)), created(expected))
    })

    it.each([
      '"id":"resp_own"',
      '"previous_response_id":null',
      '"previous_response_id":null,"metadata":{"previous_response_id":"resp_other"}',
      '"tools":[{"parameters":{"properties":{"previous_response_id":{"type":"string"}}}}]',
      '"instructions":"say \\"previous_response_id\\":\\"resp_own\\""',
    ])(`${name} stays as it is with %s`, (members) => {
      assert.strictEqual(shown(created(members)), created(members))
    })
  }

  it("fills the output in and shows null in one pass", () => {
    const event = read('{"response":{"output":[],"previous_response_id":"resp_own"}}')
    const filled = changed(event, { output: ["{}"], withoutAnchor: true })
    assert.strictEqual(filled, '{"response":{"output":[{}],"previous_response_id":null}}')
  })
})
