import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { maxDepth, scanObject } from "../../src/wire/Json.ts"
import { textOf } from "../../src/wire/JsonString.ts"
import { Choices, damaged, drawObject, drawTree, numbers, spell } from "../support/JsonTexts.ts"
import { utf8 } from "../support/Bytes.ts"
import { runs } from "../support/Runs.ts"

const reasonOf = (bytes: Uint8Array): string => {
  const scanned = scanObject(bytes)
  return Result.isFailure(scanned) ? scanned.failure.reason : "object"
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** What `scanObject` must answer, by the platform's own decoder and parser. */
const expectedOf = (bytes: Uint8Array): string => {
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return "invalid_utf8"
  }
  try {
    return isObject(JSON.parse(text)) ? "object" : "not_object"
  } catch {
    return "not_json"
  }
}

const membersOf = (text: string, elementsOf?: string) =>
  Result.getOrThrow(scanObject(utf8(text), elementsOf === undefined ? {} : { elementsOf }))

const errorOf = (text: string) => Result.getOrThrow(Result.flip(scanObject(utf8(text))))

const nested = (levels: number): string => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`

describe("textOf", () => {
  it("takes nothing away from a piece of a text", () => {
    assert.strictEqual(textOf(utf8("x\ufeffay"), { start: 1, end: 5 }), "\ufeffa")
  })
})

describe("scanObject", () => {
  it("gives the span of each member's name and value", () => {
    const text = ' { "a" : 1.50 , "é":"x" ,"c":[ 1 , {"d":2} ] } '
    const bytes = utf8(text)
    const found = membersOf(text).map((member) => [
      member.key,
      textOf(bytes, { start: member.keyStart, end: member.keyEnd }),
      textOf(bytes, member),
    ])
    assert.deepStrictEqual(found, [
      ["a", '"a"', "1.50"],
      ["é", '"é"', '"x"'],
      ["c", '"c"', '[ 1 , {"d":2} ]'],
    ])
  })

  it("gives the spans of the elements of the one array that was asked for", () => {
    const text = '{"tools":[1],"input":[ {"a":[1,2]} , "two",3 , [] ],"store":false,"rest":{"input":[9]}}'
    const bytes = utf8(text)
    const members = membersOf(text, "input")
    assert.deepStrictEqual(
      members.map((member) => member.elements?.map((span) => textOf(bytes, span))),
      [undefined, ['{"a":[1,2]}', '"two"', "3", "[]"], undefined, undefined],
    )
    assert.deepStrictEqual(membersOf('{"input":[ ]}', "input")[0]?.elements, [])
    assert.isUndefined(membersOf('{"input":{"input":[1]}}', "input")[0]?.elements)
  })

  it("decodes names, so that an escaped spelling is no other name", () => {
    const escaped = '{"\\u0069nput":[1],"\\ud83d\\ude00":1,"a\\/b":2,"\ufeffinput":3}'
    assert.deepStrictEqual(
      membersOf(escaped, "input").map((member) => member.key),
      ["input", "😀", "a/b", "\ufeffinput"],
    )
    assert.strictEqual(membersOf(escaped, "input")[0]?.elements?.length, 1)
    const long = "k".repeat(500)
    assert.strictEqual(membersOf(`{"${long}":1}`)[0]?.key, long)
  })

  it("keeps duplicates, in their order", () => {
    assert.deepStrictEqual(
      membersOf('{"a":1,"b":2,"a":3}').map((member) => member.key),
      ["a", "b", "a"],
    )
  })

  it("scans a piece of a larger text and reads nothing beyond it", () => {
    const bytes = utf8('[{"a":1},{"b":12}]')
    const scan = (start: number, end: number) => scanObject(bytes, { start, end })
    assert.deepStrictEqual(
      Result.getOrThrow(scan(9, 17)).map((member) => member.key),
      ["b"],
    )
    for (let end = 9; end < 17; end++) assert.isTrue(Result.isFailure(scan(9, end)), `until ${end}`)
  })

  it("skips a byte order mark in front, and only there", () => {
    assert.strictEqual(reasonOf(utf8('\ufeff{"a":1}')), "object")
    assert.strictEqual(reasonOf(utf8('\ufeff\ufeff{"a":1}')), "not_json")
    assert.strictEqual(reasonOf(utf8('{\ufeff"a":1}')), "not_json")
    assert.strictEqual(reasonOf(utf8("\ufeff")), "not_json")
  })

  it("tells a text that is no object from one that is no JSON", () => {
    for (const text of ["[]", "1", '"a"', "null", " true ", '[{"a":1}]', "-0.5e-7"]) {
      assert.strictEqual(reasonOf(utf8(text)), "not_object", text)
    }
    for (const text of [
      "",
      " ",
      "{",
      "nul",
      "01",
      "1.",
      ".5",
      "+1",
      "1e",
      "-",
      "'a'",
      "NaN",
      "{} {}",
      "[1,]",
      "undefined",
    ]) {
      assert.strictEqual(reasonOf(utf8(text)), "not_json", text)
    }
  })

  it.each([
    '{"a":1,}',
    "{,}",
    '{"a"}',
    '{"a":}',
    '{"a" 1}',
    "{a:1}",
    '{"a":1 "b":2}',
    '{"a":1]',
    '{"a":[1}',
    '{"a":1}}',
    '{"a":[,1]}',
    '{"a":[1 2]}',
    '{"a":"\\x"}',
    '{"a":"\\u12g4"}',
    '{"a":"\\u123',
    '{"a":"\\',
    '{"a":"',
    '{"a":"\n"}',
    '{"a":"\u0000"}',
    '{"a":"plain text \u001f plain"}',
    '{"a":tru}',
    '{"a":truE}',
    '{"a":00}',
    '{"a":-01}',
    '{"a":1.e1}',
    '{"a":1e+}',
    '{"a":0x1}',
    '{"a":1,"b"',
    '{"a":[',
    "{/**/}",
    '{"a":\u000b1}',
    '{"a":\u00a01}',
    '{"a":"\\U0041"}',
  ])("refuses %j", (text) => {
    assert.throws(() => JSON.parse(text))
    assert.strictEqual(reasonOf(utf8(text)), "not_json")
  })

  it("says where the text stops fitting", () => {
    assert.include(errorOf('{"a":1,}'), { reason: "not_json", position: 7 })
    assert.include(errorOf('{"a":"\n"}'), { position: 6 })
    assert.include(errorOf('{"a":"\\x"}'), { position: 7 })
    assert.include(errorOf('{"a":12'), { position: 7, message: "The JSON text ends too early" })
  })

  it("allows nesting up to its bound and refuses one level more", () => {
    assert.strictEqual(reasonOf(utf8(nested(maxDepth))), "object")
    assert.strictEqual(reasonOf(utf8(nested(maxDepth + 1))), "too_deep")
    assert.strictEqual(reasonOf(utf8('{"a":'.repeat(100_000))), "too_deep")
    assert.strictEqual(reasonOf(utf8(`{"a":[${"[],{},".repeat(2000)}1]}`)), "object")
  })

  it("refuses bytes that are not UTF-8, wherever they are", () => {
    for (const bad of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe9], [0xf5, 0x80, 0x80, 0x80]]) {
      const bytes = Uint8Array.of(...utf8('{"a":"'), ...bad, ...utf8('"}'))
      assert.strictEqual(reasonOf(bytes), "invalid_utf8")
    }
  })

  // 1,200 runs of 24 damaged texts each: 28,800 comparisons, and 1,200 of sound ones.
  it.prop(
    "accepts exactly what JSON.parse accepts, damaged texts and bytes included",
    [numbers, numbers],
    ([forText, forDamage]) => {
      const choices = new Choices(forText)
      const text = spell(choices.below(8) === 0 ? drawTree(choices) : drawObject(choices), choices)
      assert.strictEqual(reasonOf(utf8(text)), expectedOf(utf8(text)), text)
      const damage = new Choices(forDamage)
      let broken = text
      for (let i = 0; i < 16; i++) {
        broken = i % 4 === 0 ? damaged(text, damage) : damaged(broken, damage)
        const bytes = utf8(broken)
        assert.strictEqual(reasonOf(bytes), expectedOf(bytes), broken)
      }
      for (let i = 0; i < 8; i++) {
        const bytes = utf8(text)
        bytes[damage.below(bytes.length)] = damage.below(256)
        assert.strictEqual(reasonOf(bytes), expectedOf(bytes), JSON.stringify([...bytes]))
      }
    },
    { arbitrary: { runs: runs(1200), size: 150 }, timeout: 120_000 },
  )

  it.prop(
    "gives spans whose texts are what JSON.parse finds there",
    [numbers],
    ([drawn]) => {
      const choices = new Choices(drawn)
      const text = spell(drawObject(choices), choices)
      const bytes = utf8(text)
      const parsed: unknown = JSON.parse(text)
      assert(isObject(parsed))
      const scanned = Result.getOrThrow(scanObject(bytes, { elementsOf: "input" }))
      const rebuilt = new Map<string, unknown>()
      for (const member of scanned) {
        const value: unknown = JSON.parse(textOf(bytes, member))
        assert.strictEqual(JSON.parse(textOf(bytes, { start: member.keyStart, end: member.keyEnd })), member.key)
        if (member.elements !== undefined) {
          assert.deepStrictEqual(
            member.elements.map((span) => JSON.parse(textOf(bytes, span)) as unknown),
            value,
          )
        }
        assert.strictEqual(member.elements !== undefined, member.key === "input" && Array.isArray(value))
        rebuilt.set(member.key, value)
      }
      assert.deepStrictEqual(Object.fromEntries(rebuilt), parsed)
    },
    { arbitrary: { runs: runs(1000), size: 150 }, timeout: 120_000 },
  )
})
