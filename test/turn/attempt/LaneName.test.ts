import { assert, describe, it } from "@effect/vitest"
import { laneIn } from "../../../src/turn/attempt/LaneName.ts"

/** The events, and the name that each is of. */
const named: ReadonlyArray<readonly [what: string, event: string, name: string]> = [
  ["behind everything", '{"type":"x","sequence_number":1,"delta":"a","stream_id":"r1"}', "r1"],
  ["behind the type", '{"type":"response.output_text.delta","stream_id":"r1","delta":"a","n":1.0}', "r1"],
  ["before the type", '{"stream_id":"r1","type":"x","delta":"a"}', "r1"],
  ["in the middle", '{"type":"x","response":{"id":"resp_1"},"stream_id":"r1","sequence_number":2}', "r1"],
  ["with blanks", '{ "type": "x", "stream_id" : "r1" }', "r1"],
  ["alone", '{"stream_id":"r1"}', "r1"],
  [
    "beside one of its own kind in metadata",
    '{"type":"x","response":{"metadata":{"stream_id":"r9"}},"stream_id":"r1"}',
    "r1",
  ],
  ["before one in metadata", '{"type":"x","stream_id":"r1","response":{"metadata":{"a":1,"stream_id":"r9"}}}', "r1"],
  ["beside a text that looks like one", '{"type":"x","delta":",\\"stream_id\\":\\"r9\\"}","stream_id":"r1"}', "r1"],
  ["before a text that looks like one", '{"type":"x","stream_id":"r1","delta":",\\"stream_id\\":\\"r9\\"}"}', "r1"],
  ["with an escape", '{"type":"x","a":1,"stream_id":"r\\u0031","b":2}', "r1"],
  ["of the longest name", `{"type":"x","stream_id":"${"n".repeat(256)}"}`, "n".repeat(256)],
]

const unnamed: ReadonlyArray<readonly [what: string, event: string]> = [
  ["an event without", '{"type":"x","delta":"a"}'],
  ["one only in metadata", '{"type":"x","response":{"metadata":{"a":1,"stream_id":"r1"}}}'],
  ["one only in metadata, last", '{"type":"x","response":{"stream_id":"r1"}}'],
  ["one only in a text", '{"type":"x","delta":",\\"stream_id\\":\\"r1\\"}"}'],
  ["one that is null", '{"type":"x","stream_id":null}'],
  ["one that is a number", '{"type":"x","stream_id":1}'],
  ["a text that is not JSON", '{"type":"x","stream_id":"r1"'],
  ["a list", '["stream_id","r1"]'],
  ["nothing", ""],
]

describe("laneIn", () => {
  for (const [what, event, name] of named) {
    it(`reads a name ${what}, and leaves the rest as it was`, () => {
      const found = laneIn(event)
      assert.strictEqual(found?.name, name)
      const { stream_id: _, ...rest } = JSON.parse(event) as Record<string, unknown>
      assert.deepStrictEqual(JSON.parse(found?.text ?? ""), rest)
      assert.notInclude(Object.keys(JSON.parse(found?.text ?? "") as object), "stream_id")
    })
  }

  for (const [what, event] of unnamed) {
    it(`finds none in ${what}`, () => {
      assert.isUndefined(laneIn(event))
    })
  }

  it("leaves numbers and escapes as they were written", () => {
    const text = '{"type":"x","a":1.50,"b":"\\u00e9é","c":{"d":1e3}'
    for (const event of [`${text},"stream_id":"r1"}`, `{"stream_id":"r1",${text.slice(1)}}`]) {
      assert.strictEqual(laneIn(event)?.text, `${text}}`)
    }
    assert.strictEqual(
      laneIn('{"type":"x","stream_id":"r1","a":1.50,"b":"\\u00e9é"}')?.text,
      '{"type":"x","a":1.50,"b":"\\u00e9é"}',
    )
  })
})
