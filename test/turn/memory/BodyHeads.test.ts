import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result, Scope } from "effect"
import { BodyHeads, make } from "../../../src/turn/memory/BodyHeads.ts"
import { lineageOf, type Prefix } from "../../../src/turn/memory/Lineage.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import { digester } from "../../support/Chain.ts"
import { user } from "../../support/Items.ts"
import { utf8 } from "../../support/Bytes.ts"

const bytesOf = (input: ReadonlyArray<unknown>, model = "m") => utf8(JSON.stringify({ model, input, store: false }))

const read = (bytes: Uint8Array) => {
  const body = Result.getOrThrow(parseRequestBody(bytes))
  const { prefixes } = lineageOf(body, digester)
  const prefix: Prefix = prefixes.at(-1) ?? prefixes[0]
  return { body, prefix }
}

const recorded = (input: ReadonlyArray<unknown>, line = "line") => {
  const heads = make(new Uint8Array(16), 0)
  const { body, prefix } = read(bytesOf(input))
  heads.record(1, line, body, prefix)
  return { heads, prefix }
}

const long = "x".repeat(200)

describe("the memory of heads", () => {
  it("finds a body that goes on behind what was recorded, up to the end of its last item", () => {
    const { heads, prefix } = recorded([user("a"), user(long)])
    const found = heads.find("line", bytesOf([user("a"), user(long), user("new")]))
    assert.deepStrictEqual(found?.prefix, prefix)
    assert.strictEqual(found?.head.items, 2)
  })

  it("finds nothing where a byte differs, wherever it lies", () => {
    const { heads } = recorded([user("a"), user(long)])
    const next = bytesOf([user("a"), user(long), user("new")])
    const length = bytesOf([user("a"), user(long)]).length - `],"store":false}`.length
    for (let at = 0; at < length; at++) {
      const edited = next.slice()
      edited[at] = (edited[at] ?? 0) ^ 1
      assert.isUndefined(heads.find("line", edited), `byte ${at}`)
    }
    assert.isDefined(heads.find("line", next))
  })

  it("recognises a long head that grew turn by turn, and only with every byte of every turn", () => {
    const heads = make(new Uint8Array(16), 0)
    const turns = Array.from({ length: 20 }, (_, turn) => user(`${turn} `.repeat(8_000)))
    for (let count = 1; count < turns.length; count++) {
      const bytes = bytesOf(turns.slice(0, count))
      const known = heads.find("line", bytes)
      assert.strictEqual(known?.head.items, count === 1 ? undefined : count - 1)
      const { body, prefix } = read(bytes)
      heads.record(1, "line", body, prefix, known)
      const next = bytesOf(turns.slice(0, count + 1))
      const end = body.items?.at(-1)?.end ?? 0
      for (const at of [0, 1, end >> 1, end - 8_000, end - 100, end - 1]) {
        const edited = next.slice()
        edited[at] = (edited[at] ?? 0) ^ 1
        assert.isUndefined(heads.find("line", edited), `byte ${at} of ${count} turns`)
      }
    }
  })

  it("keeps nothing that ends in what may go on: a number or a word", () => {
    for (const [last, grown] of [
      ["1", "12"],
      ["1", "1.5"],
      ["1", "1e5"],
      ["-0", "-0.5"],
      ["1.5", "1.55"],
      ["1e1", "1e10"],
      ["true", "true"],
      ["null", "null"],
    ] as const) {
      const bytesWith = (item: string) => utf8(`{"model":"m","input":[{"role":"user"},${item}]}`)
      const heads = make(new Uint8Array(16), 0)
      const { body, prefix } = read(bytesWith(last))
      heads.record(1, "line", body, prefix)
      const bytes = bytesWith(grown)
      const known = heads.find("line", bytes)
      assert.isUndefined(known, `${last}, then ${grown}`)
      assert.isTrue(Result.isSuccess(parseRequestBody(bytes, known)))
    }
  })

  it("keeps none whose members' names take more than a chain is worth", () => {
    const many = (count: number, name: (index: number) => string) =>
      Array.from({ length: count }, (_, index) => `${JSON.stringify(name(index))}:1`).join(",")
    for (const [what, members, kept] of [
      ["the API's", many(40, (index) => `a_member_of_the_api_${index}`), 1],
      ["one long name", `"${"a".repeat(1 << 20)}":1`, 1],
      ["names of 8 KB", many(8, (index) => `${index}${"a".repeat(1_020)}`), 0],
      ["a thousand names", many(990, (index) => `${index}`), 0],
      ["a thousand long names", many(990, (index) => `${index}${"a".repeat(900)}`), 0],
      ["names of escapes", many(200, (index) => `${index}${"\u0001".repeat(150)}`), 0],
      ["names of other scripts", many(200, (index) => `${index}${"漢".repeat(300)}`), 0],
      ["two hundred names over 1 KiB", many(200, (index) => `${index}${"a".repeat(2_000)}`), 0],
    ] as const) {
      const heads = make(new Uint8Array(16), 0)
      const { body, prefix } = read(utf8(`{${members},"input":[{"role":"user","content":"a"}]}`))
      heads.record(1, "line", body, prefix)
      assert.strictEqual(heads.size(), kept, what)
    }
  })

  it("finds nothing for another line, nor for a body that is shorter or ends there", () => {
    const { heads } = recorded([user("a"), user(long)])
    assert.isUndefined(heads.find("other", bytesOf([user("a"), user(long), user("new")])))
    assert.isUndefined(heads.find("line", bytesOf([user("a")])))
  })

  it("finds the longest of several, and what an owner said last", () => {
    const { heads } = recorded([user("a")])
    const second = read(bytesOf([user("a"), user(long)]))
    heads.record(2, "line", second.body, second.prefix)
    const next = bytesOf([user("a"), user(long), user("new")])
    assert.strictEqual(heads.find("line", next)?.head.items, 2)
    const other = read(bytesOf([user("b")]))
    heads.record(2, "line", other.body, other.prefix)
    assert.strictEqual(heads.find("line", next)?.head.items, 1)
    assert.strictEqual(heads.size(), 2)
  })

  it("keeps the latest 256 of a line", () => {
    const heads = make(new Uint8Array(16), 0)
    for (let owner = 0; owner < 300; owner++) {
      const { body, prefix } = read(bytesOf([user(`${owner}`)]))
      heads.record(owner, "line", body, prefix)
    }
    assert.strictEqual(heads.size(), 256)
    assert.isUndefined(heads.find("line", bytesOf([user("43"), user("new")])))
    assert.isDefined(heads.find("line", bytesOf([user("44"), user("new")])))
    assert.isDefined(heads.find("line", bytesOf([user("299"), user("new")])))
  })

  it.effect("forgets with the owner's scope", () =>
    Effect.gen(function* () {
      const heads = yield* BodyHeads
      const scope = yield* Scope.make()
      yield* heads.attach(7).pipe(Scope.provide(scope))
      const { body, prefix } = read(bytesOf([user(long.repeat(11))]))
      heads.record(7, "line", body, prefix)
      assert.strictEqual(heads.size(), 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(heads.size(), 0)
      assert.isUndefined(heads.find("line", bytesOf([user(long.repeat(11)), user("new")])))
      // A short head is not worth remembering.
      const short = read(bytesOf([user(long)]))
      heads.record(7, "line", short.body, short.prefix)
      assert.strictEqual(heads.size(), 0)
    }).pipe(Effect.provide(BodyHeads.layer)),
  )
})
