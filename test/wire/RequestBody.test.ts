import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { textOf } from "../../src/wire/JsonString.ts"
import { memberSpan, memberText, parseRequestBody, readMember } from "../../src/wire/RequestBody.ts"
import { toFrame } from "../../src/wire/Frame.ts"
import { Choices, drawBody, numbers, spell } from "../support/JsonTexts.ts"
import { utf8 } from "../support/Bytes.ts"
import { runs } from "../support/Runs.ts"
import { ownMembers } from "../support/OwnMembers.ts"

const parse = (text: string) => Result.getOrThrow(parseRequestBody(utf8(text)))
const errorOf = (bytes: Uint8Array) => Result.getOrThrow(Result.flip(parseRequestBody(bytes)))
const frameOf = (text: string, fromItem = 0, previousResponseId?: string): string =>
  new TextDecoder().decode(toFrame(parse(text), { fromItem, previousResponseId }))

describe("parseRequestBody", () => {
  it("finds the input items", () => {
    const body = parse('{"model":"m","input":[{"role":"user"} , "x"],"input2":[1]}')
    assert.strictEqual(body.inputKind, "array")
    assert.deepStrictEqual(
      body.items?.map((span) => textOf(body.bytes, span)),
      ['{"role":"user"}', '"x"'],
    )
  })

  it("tells the kinds of input apart", () => {
    assert.strictEqual(parse('{"input":"hi"}').inputKind, "string")
    assert.strictEqual(parse('{"input":{"a":[1]}}').inputKind, "other")
    assert.strictEqual(parse('{"input":null}').inputKind, "other")
    assert.strictEqual(parse("{}").inputKind, "absent")
    assert.strictEqual(parse('{"input":[]}').inputKind, "array")
    assert.deepStrictEqual(parse('{"input":[]}').items, [])
    assert.isUndefined(parse('{"input":"hi"}').items)
  })

  it("reads members by their decoded name", () => {
    const body = parse('{"mod\\u0065l":"\\u00e9\\n","store":false,"n":9007199254740993,"o":{ "a" : 1.0 },"nil":null}')
    assert.strictEqual(readMember(body, "model"), "é\n")
    assert.strictEqual(readMember(body, "store"), false)
    // Nobody looks into a list or an object, which may be huge: it comes empty.
    assert.deepStrictEqual(readMember(body, "o"), {})
    assert.isNull(readMember(body, "nil"))
    assert.isUndefined(readMember(body, "absent"))
    assert.strictEqual(memberText(body, "n"), "9007199254740993")
    assert.strictEqual(memberText(body, "o"), '{ "a" : 1.0 }')
    assert.isUndefined(memberText(body, "absent"))
    assert.isUndefined(memberSpan(body, "toString"))
  })

  it("refuses a member that appears twice, however it is spelled", () => {
    const error = errorOf(utf8('{"model":1,"input":[],"\\u006dodel":2}'))
    assert.include(error, { reason: "duplicate_member", member: "model", position: 22 })
    assert.include(error.message, '"model"')
  })

  it("lets members inside of values repeat", () => {
    assert.strictEqual(parse('{"a":{"b":1,"b":2},"input":[{"c":1,"c":1}]}').items?.length, 1)
  })

  it("passes on why a body is no request", () => {
    assert.strictEqual(errorOf(utf8("[1]")).reason, "not_object")
    assert.strictEqual(errorOf(utf8("{")).reason, "not_json")
    assert.strictEqual(errorOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)).reason, "invalid_utf8")
    assert.strictEqual(errorOf(utf8(`{"a":${"[".repeat(600)}${"]".repeat(600)}}`)).reason, "too_deep")
  })
})

describe("toFrame", () => {
  it("keeps numbers, order, escapes and unknown members to the byte", () => {
    const members =
      '"z":1.0,"seed":9007199254740993,"\\u0061b":"\\u00e9\\/","input":[ {"b":1,"a":2} ],"x":{ "y" : -0.0e+1 }'
    assert.strictEqual(frameOf(`{${members}}`), `{"type":"response.create",${members}}`)
  })

  it("drops white space around names only, and a byte order mark", () => {
    assert.strictEqual(frameOf('\ufeff { "a" :\n[ 1 ] , "b" : 2 } '), '{"type":"response.create","a":[ 1 ],"b":2}')
    assert.strictEqual(frameOf("{ }"), '{"type":"response.create"}')
  })

  it("removes the members that are respool's, in every spelling", () => {
    const smuggled =
      '{"type":"response.cancel","stre\\u0061m":true,"background":false,"background\\u005foptions":null,"stream_id":"x","\\u0067enerate":false,"stream_options":{"a":1},"model":"m"}'
    assert.strictEqual(frameOf(smuggled), '{"type":"response.create","stream_options":{"a":1},"model":"m"}')
  })

  it("removes nothing of the same name inside of a value", () => {
    assert.strictEqual(
      frameOf('{"input":[{"type":"message"}]}'),
      '{"type":"response.create","input":[{"type":"message"}]}',
    )
  })

  it("sends the items from the first new one, behind the response they continue", () => {
    const text =
      '{"model":"m","previous_response_id":"resp_old","input":[ {"a":1} , {"b": 2},\n{"c":3} ],"store":false}'
    assert.strictEqual(
      frameOf(text, 1, 'resp_"1'),
      '{"type":"response.create","previous_response_id":"resp_\\"1","model":"m","input":[{"b": 2},\n{"c":3}],"store":false}',
    )
    assert.strictEqual(
      frameOf(text, 3, "resp_1"),
      '{"type":"response.create","previous_response_id":"resp_1","model":"m","input":[],"store":false}',
    )
  })

  it("leaves the client's own anchor alone unless there is another, and drops a null one", () => {
    assert.strictEqual(
      frameOf('{"previous_response_id":"resp_1","input":"x"}'),
      '{"type":"response.create","previous_response_id":"resp_1","input":"x"}',
    )
    assert.strictEqual(frameOf('{"previous_response_id":null,"input":"x"}'), '{"type":"response.create","input":"x"}')
    assert.strictEqual(
      frameOf('{"previous_response\\u005fid":"resp_1","input":"x"}', 0, "resp_2"),
      '{"type":"response.create","previous_response_id":"resp_2","input":"x"}',
    )
  })

  it("dies on a place that the input does not have", () => {
    assert.throws(() => frameOf('{"input":[1,2]}', 3), RangeError)
    assert.throws(() => frameOf('{"input":[1,2]}', -1), RangeError)
    assert.throws(() => frameOf('{"input":"text"}', 1), RangeError)
    assert.throws(() => frameOf("{}", 1), RangeError)
  })

  it.prop(
    "says what the body says, without the members that are respool's and with the items from the first new one",
    [numbers],
    ([drawn]) => {
      const choices = new Choices(drawn)
      const tree = drawBody(choices)
      const text = spell(tree, choices)
      const body = parse(text)
      const fromItem = body.items === undefined ? 0 : choices.below(body.items.length + 1)
      const previousResponseId = choices.below(2) === 0 ? undefined : "resp_1"
      const frame = new TextDecoder("utf-8", { fatal: true }).decode(toFrame(body, { fromItem, previousResponseId }))

      const expected: Record<string, unknown> = { type: "response.create" }
      if (previousResponseId !== undefined) expected["previous_response_id"] = previousResponseId
      const order: Array<string> = []
      for (const [name] of tree.members) {
        const value: unknown = JSON.parse(memberText(body, name) ?? "")
        if (ownMembers.includes(name)) continue
        if (name === "previous_response_id" && (previousResponseId !== undefined || value === null)) continue
        expected[name] = name === "input" && Array.isArray(value) ? value.slice(fromItem) : value
        order.push(name)
        // Every value is there as the client wrote it, so numbers beyond a double and odd escapes survive.
        if (name !== "input" || fromItem === 0) assert.include(frame, `:${memberText(body, name)}`)
      }
      for (const item of body.items?.slice(fromItem) ?? []) assert.include(frame, textOf(body.bytes, item))
      const parsed = JSON.parse(frame) as Record<string, unknown>
      assert.deepStrictEqual(parsed, expected)
      assert.deepStrictEqual(
        [...Result.getOrThrow(parseRequestBody(utf8(frame))).members.keys()],
        ["type", ...(previousResponseId === undefined ? [] : ["previous_response_id"]), ...order],
      )
    },
    { arbitrary: { runs: runs(2000), size: 150 }, timeout: 120_000 },
  )

  it("tells an input's items apart up to 65,536 of them and 2^19 values, and carries a larger one as it is", () => {
    const items = (count: number, item: string) => `[${Array(count).fill(item).join(",")}]`
    for (const [input, told] of [
      [items(65_536, "1"), 65_536],
      [items(65_537, "1"), undefined],
      // A list, seven elements: 65,536 times eight values.
      [items(65_536, "[1,1,1,1,1,1,1]"), 65_536],
      [`[${items(65_535, "[1,1,1,1,1,1,1]").slice(1, -1)},[1,1,1,1,1,1,1,1]]`, undefined],
      [`[[${items(1 << 19, "1")}],1]`, undefined],
    ] as const) {
      const body = parse(`{"input":${input},"x":[1],"y":1}`)
      assert.strictEqual(body.items?.length, told)
      assert.strictEqual(body.inputKind, "array")
      assert.deepStrictEqual([...body.members.keys()], ["input", "x", "y"])
      assert.include(new TextDecoder().decode(toFrame(body, { fromItem: 0 })), `"input":${input}`)
    }
  })

  it("takes a thousand members and refuses one more, wherever the rest of the text leads", () => {
    const members = (count: number) => Array.from({ length: count }, (_, i) => `"m${i}":${i}`).join(",")
    assert.strictEqual(parse(`{${members(1000)}}`).members.size, 1000)
    for (const text of [`{${members(1001)}}`, `{${members(1001)}`]) {
      const refused = Result.getOrThrow(Result.flip(parseRequestBody(utf8(text))))
      assert.strictEqual(refused.reason, "too_many_members")
    }
    // Only the request's own members are counted.
    assert.strictEqual(parse(`{"metadata":{${members(2000)}},"input":[{${members(2000)}}]}`).items?.length, 1)
    assert.isTrue(Result.isSuccess(parseRequestBody(utf8(`{"input":[${members(1001).replaceAll(/"m\d+":/g, "")}]}`))))
  })

  it("does not repeat a long name in its refusal", () => {
    const twice = (length: number) =>
      Result.getOrThrow(Result.flip(parseRequestBody(utf8(`{"${"x".repeat(length)}":1,"${"x".repeat(length)}":1}`))))
    assert.strictEqual(twice(256).member, "x".repeat(256))
    const refused = twice(100_000)
    assert.strictEqual(refused.reason, "duplicate_member")
    assert.isUndefined(refused.member)
    assert.isBelow(refused.message.length, 100)
  })
})
