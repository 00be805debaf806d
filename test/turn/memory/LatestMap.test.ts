import { assert, describe, it } from "@effect/vitest"
import { LatestMap } from "../../../src/turn/memory/LatestMap.ts"

const filled = (most: number, keys: Iterable<string>) => {
  const map = new LatestMap<string, number>(most)
  let value = 0
  for (const key of keys) map.set(key, value++)
  return map
}

describe("a map of the latest", () => {
  it("keeps no more than it may, and forgets what was set longest ago", () => {
    assert.deepStrictEqual([...filled(3, "abcde").keys()], ["c", "d", "e"])
    assert.deepStrictEqual([...filled(1, "ab")], [["b", 1]])
    assert.strictEqual(filled(3, "ab").size, 2)
  })

  it("takes what is set anew for the latest, and forgets nothing for it", () => {
    assert.deepStrictEqual(
      [...filled(3, "abca")],
      [
        ["b", 1],
        ["c", 2],
        ["a", 3],
      ],
    )
    assert.deepStrictEqual([...filled(3, "abcad").keys()], ["c", "a", "d"])
  })

  it("is not touched by a look, and has room for what was deleted", () => {
    const map = filled(3, "abc")
    assert.strictEqual(map.get("a"), 0)
    map.set("d", 9)
    assert.isFalse(map.has("a"))
    map.delete("c")
    map.set("e", 9).set("f", 9)
    assert.deepStrictEqual([...map.keys()], ["d", "e", "f"])
  })

  it("forgets an undefined key as well", () => {
    const map = new LatestMap<undefined | string, number>(1)
    map.set(undefined, 1).set("a", 2)
    assert.deepStrictEqual([...map.keys()], ["a"])
  })

  it("has 1,024 entries where nothing else is said", () => {
    const map = new LatestMap<number, number>()
    for (let at = 0; at <= 1024; at++) map.set(at, at)
    assert.deepStrictEqual([map.size, map.has(0), map.has(1)], [1024, false, true])
  })
})
