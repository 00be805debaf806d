import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { makeDigester } from "../../src/wire/Digest.ts"
import { utf8 } from "../support/Bytes.ts"

const whole = (bytes: Uint8Array) => ({ start: 0, end: bytes.length })
const digester = makeDigester(utf8("test-key-a"))
const item = (text: string, of = digester) => of.item(utf8(text), whole(utf8(text)))

describe("makeDigester", () => {
  it("gives equal values one digest of 22 characters, and others another", () => {
    const digest = item('{"type":"message","content":"\\u00e9"}')
    assert.match(digest, /^[\w-]{22}$/)
    assert.strictEqual(item('{ "content" : "é", "type":"message" }'), digest)
    assert.notStrictEqual(item('{"type":"message","content":"e"}'), digest)
    assert.notStrictEqual(item("1.0"), item("1"))
    assert.notStrictEqual(item("9007199254740993"), item("9007199254740992"))
  })

  it("depends on the key, and is the same for the same key", () => {
    assert.notStrictEqual(item("{}", makeDigester(utf8("test-key-b"))), item("{}"))
    assert.strictEqual(item("{}", makeDigester(utf8("test-key-a"))), item("{}"))
    assert.notStrictEqual(item("{}"), createHash("sha256").update("{}").digest("base64url").slice(0, 22))
  })

  it("keeps items, other values and sequences apart", () => {
    const bytes = utf8('"x"')
    const digests = [
      digester.item(bytes, whole(bytes)),
      digester.value(bytes, whole(bytes)),
      digester.rolling(undefined, "x"),
      digester.rolling("", "x"),
      digester.rolling("x", ""),
      digester.root,
      digester.list(["x"]),
    ]
    assert.strictEqual(new Set(digests).size, digests.length)
  })

  it("knows where one part of a sequence ends", () => {
    assert.notStrictEqual(digester.rolling("ab", "c"), digester.rolling("a", "bc"))
    assert.notStrictEqual(digester.rolling("a:b", "c"), digester.rolling("a", "b:c"))
    assert.notStrictEqual(digester.rolling("1:a", "b"), digester.rolling(undefined, "3:1:a:b"))
  })

  it("digests a span and nothing around it", () => {
    const bytes = utf8('[{"a":1},{"a":1},{"a":2}]')
    const at = (start: number) => digester.item(bytes, { start, end: start + 7 })
    assert.strictEqual(at(1), item('{"a":1}'))
    assert.strictEqual(at(1), at(9))
    assert.notStrictEqual(at(9), at(17))
  })

  it("leaves out what a filter refuses", () => {
    const bytes = utf8('{"id":"x","a":1}')
    assert.strictEqual(
      digester.item(bytes, whole(bytes), (_, key) => key !== "id"),
      item('{"a":1}'),
    )
    assert.strictEqual(
      digester.value(bytes, whole(bytes), (_, key) => key !== "id"),
      digester.value(utf8('{"a":1}'), { start: 0, end: 7 }),
    )
  })

  it("knows where one text of a list ends", () => {
    const lists = [[], [""], ["", ""], ["ab", "c"], ["a", "bc"], ["abc"], ["1:a"], ["a", "1:a"]]
    assert.strictEqual(new Set(lists.map((texts) => digester.list(texts))).size, lists.length)
    assert.strictEqual(digester.list(["ab", "c"]), digester.list(["ab", "c"]))
  })

  it("remembers nothing of the value before", () => {
    const big = JSON.stringify({ text: "x".repeat(3_000_000) })
    const before = item('{"a":1}')
    item(big)
    assert.strictEqual(item('{"a":1}'), before)
    assert.notStrictEqual(item('{"a":1}'), item('{"a":11}'))
  })
})
