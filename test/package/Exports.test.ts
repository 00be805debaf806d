import { assert, describe, it } from "@effect/vitest"
import { entries } from "./Exports.ts"

/** The page about releases explains them. */
const stabilities = ["stable", "experimental"]

describe("The package", () => {
  it("says of each export of each entry point how stable it is", () => {
    assert.deepStrictEqual(
      entries.map(({ name }) => name),
      ["respool", "respool/cluster", "respool/fetch", "respool/simulator", "respool/testing"],
    )
    for (const { exports, name } of entries) {
      const silent = exports.filter(({ stability = "" }) => !stabilities.includes(stability))
      assert.deepStrictEqual(
        silent.map((one) => `${name}: ${one.name}`),
        [],
      )
    }
  })

  it.each(entries)(
    "exports of $name what it has when it is loaded, and no more that a reader does not see",
    async (entry) => {
      const loaded: Record<string, unknown> = await import(`../../${entry.file}`)
      const names = entry.exports.map(({ name }) => name)
      assert.deepStrictEqual(names.length, new Set(names).size)
      for (const name of Object.keys(loaded)) assert.include(names, name)
    },
  )
})
