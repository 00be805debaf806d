import { assert, describe, it } from "@effect/vitest"
import { CanonicalWriter, type MemberFilter } from "../../src/wire/Canonical.ts"
import { changed, Choices, drawTree, hasDuplicate, numbers, same, spell } from "../support/JsonTexts.ts"
import { utf8 } from "../support/Bytes.ts"
import { runs } from "../support/Runs.ts"

/** The span of a JSON text without the white space around it. */
const spanOf = (text: string) => {
  const before = utf8(text.slice(0, text.length - text.trimStart().length)).length
  return { start: before, end: before + utf8(text.trim()).length }
}

const writer = new CanonicalWriter()

const canonical = (text: string, keep?: MemberFilter): string => {
  writer.reset()
  writer.value(utf8(text), spanOf(text), keep)
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(writer.bytes.subarray(0, writer.length))
}

const hasDuplicateMember = (text: string): boolean => {
  canonical(text)
  return writer.hasDuplicateMember
}

describe("CanonicalWriter", () => {
  it("sorts members at every depth and drops white space", () => {
    assert.strictEqual(
      canonical('{ "b" : [ 2 , { "d" : 1 , "c" : { } } , [ ] ] , "a" : "x y" , "" : null }'),
      '{"":null,"a":"x y","b":[2,{"c":{},"d":1},[]]}',
    )
  })

  it("writes every character in one way", () => {
    for (const text of ['"é/\\n\\u0000"', '"\\u00e9\\/\\u000A\\u0000"', '"\\u00E9\\u002f\\n\\u0000"']) {
      assert.strictEqual(canonical(text), '"é/\\n\\u0000"')
    }
    assert.strictEqual(canonical('"\\u0022\\u005C\\u0008\\u000c\\u000d\\u0009\\u007f"'), '"\\"\\\\\\b\\f\\r\\t\u007f"')
    assert.strictEqual(
      canonical('"\\u6f22\\ud83d\\uDE00\\u00FF\\u07ff\\u0800\\udbff\\udfff"'),
      '"漢😀ÿ\u07ff\u0800\u{10ffff}"',
    )
  })

  it("keeps lone surrogates apart from each other and from what stands for them elsewhere", () => {
    assert.strictEqual(canonical('"\\uD83D"'), '"\\ud83d"')
    assert.strictEqual(canonical('"\\ud83d\\ud83d\\ude00"'), '"\\ud83d😀"')
    assert.strictEqual(canonical('"\\ude00\\ud83d"'), '"\\ude00\\ud83d"')
    assert.strictEqual(canonical('"\\ud83dx\\ude00"'), '"\\ud83dx\\ude00"')
    assert.notStrictEqual(canonical('"\\ud83d"'), canonical('"\\ufffd"'))
    assert.notStrictEqual(canonical('"\\ud83d"'), canonical('"\\\\ud83d"'))
  })

  it("leaves numbers as they are written", () => {
    for (const number of ["1.0", "1", "9007199254740993", "-0", "1E5", "1e400"])
      assert.strictEqual(canonical(number), number)
  })

  it("takes names by what they say", () => {
    assert.strictEqual(canonical('{"b":1,"\\u0061":2,"\\u0062\\/":3}'), '{"a":2,"b":1,"b/":3}')
  })

  it("keeps a name that appears twice, in order of appearance, and says so", () => {
    assert.strictEqual(canonical('{"b":0,"a":2,"\\u0061":1}'), '{"a":2,"a":1,"b":0}')
    assert.isTrue(hasDuplicateMember('[{"x":{"a":1,"b":2,"a":1}}]'))
    assert.isFalse(hasDuplicateMember('[{"a":1},{"a":1,"b":{"a":1}}]'))
    assert.notStrictEqual(canonical('{"a":1,"a":1}'), canonical('{"a":1}'))
    const many = Array.from({ length: 40 }, (_, i) => `"k${i % 39}":${i}`).join(",")
    assert.isTrue(hasDuplicateMember(`{${many}}`))
    assert.include(canonical(`{${many}}`), '"k0":0,"k0":39,"k1":1')
  })

  it("drops the members that a filter refuses, by depth, name and value", () => {
    const seen: Array<string> = []
    const text = '{"id":"x","a":{"id":1,"n":null},"l":[{"id":2,"n":3}],"\\u006eull":null}'
    const result = canonical(text, (depth, key, bytes, start, end) => {
      seen.push(`${depth} ${key} ${new TextDecoder().decode(bytes.subarray(start, end))}`)
      return !(depth === 0 && key === "id") && bytes[start] !== 0x6e
    })
    assert.strictEqual(result, '{"a":{"id":1},"l":[{"id":2,"n":3}]}')
    assert.deepStrictEqual(seen, [
      '0 id "x"',
      '0 a {"id":1,"n":null}',
      '0 l [{"id":2,"n":3}]',
      "0 null null",
      "1 id 1",
      "1 n null",
    ])
  })

  it("writes behind what it is told to keep, and grows as it must", () => {
    const big = `"${"é".repeat(1_000_000)}"`
    const one = new CanonicalWriter()
    one.raw(utf8("head"))
    one.value(utf8(big), spanOf(big))
    assert.strictEqual(one.length, 4 + 2_000_002)
    one.reset(4)
    one.value(utf8("[1, 2]"), { start: 0, end: 6 })
    assert.strictEqual(new TextDecoder().decode(one.bytes.subarray(0, one.length)), "head[1,2]")
    assert.isAtMost(one.bytes.length, 1 << 20)
  })

  it("does work by the text's length, not by that times its depth", () => {
    // A writer that looked for the end of every object would read the inmost string 500 times.
    const depth = 500
    const text = `${'{"b":1,"a":'.repeat(depth)}"${"x".repeat(300_000)}"${"}".repeat(depth)}`
    let reads = 0
    const counted = new Proxy(utf8(text), {
      get: (target, property) => {
        if (typeof property === "string" && property >= "0" && property <= "99999999") reads++
        const value: unknown = Reflect.get(target, property, target)
        return typeof value === "function" ? value.bind(target) : value
      },
    })
    writer.reset()
    writer.value(counted, { start: 0, end: text.length })
    assert.isAtMost(reads, 2 * text.length)
    assert.strictEqual(writer.length, text.length)
  })

  it.prop(
    "gives equal bytes to equal values and to no others",
    [numbers, numbers, numbers],
    ([forTree, forSpelling, forChange]) => {
      const spelling = new Choices(forSpelling)
      const tree = drawTree(new Choices(forTree))
      const text = spell(tree, spelling)
      const written = canonical(text)
      assert.strictEqual(canonical(spell(tree, spelling, true)), written, text)
      assert.strictEqual(hasDuplicateMember(text), hasDuplicate(tree), text)
      // The form is JSON, says the same, and is its own canonical form.
      assert.deepStrictEqual(JSON.parse(written), JSON.parse(text))
      assert.strictEqual(canonical(written), written)
      const change = new Choices(forChange)
      for (let i = 0; i < 8; i++) {
        const other = changed(tree, change)
        const otherText = spell(other, spelling, true)
        assert.strictEqual(canonical(otherText) === written, same(other, tree), `${text} against ${otherText}`)
      }
    },
    { arbitrary: { runs: runs(2500), size: 150 }, timeout: 120_000 },
  )

  it("sorts up to 2^20 tokens, and writes a larger value as it is, unable to tell what stands twice", () => {
    const ones = (count: number) => Array(count).fill("1").join(", ")
    // The object, two names and the list are four tokens of their own.
    const largest = `{"b": [${ones((1 << 20) - 5)}], "a": 1}`
    assert.isTrue(canonical(largest).startsWith(`{"a":1,"b":[1,1,`))
    assert.isFalse(hasDuplicateMember(largest))
    const larger = `{"b": [${ones((1 << 20) - 4)}], "a": 1}`
    assert.isTrue(canonical(larger) === larger)
    assert.isTrue(hasDuplicateMember(larger))
    assert.strictEqual(canonical(`{"b":1,"a":2}`), `{"a":2,"b":1}`)
  })

  it("writes the deepest value there is, which a recursion would not reach the end of", () => {
    const deep = `${"[".repeat(100_000)}1${"]".repeat(100_000)}`
    assert.isTrue(canonical(deep) === deep)
  })
})
