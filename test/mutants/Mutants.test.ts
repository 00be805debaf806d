import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { ofThePool, ofTurns } from "./Mutants.ts"
import { planted } from "./Plant.ts"

const mutants = [...ofTurns, ...ofThePool]

const sourceOf = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8")

describe("the mutants", () => {
  it.each(mutants)("$name can be planted in $file, and changes it", (mutant) => {
    const source = sourceOf(mutant.file)
    const text = planted(mutant, source)
    assert.isDefined(text, "its text is not there once any more: write it anew, so that the tests still notice it")
    assert.notStrictEqual(text, source)
  })

  it("have names of their own", () => {
    const names = mutants.map(({ name }) => name)
    assert.deepStrictEqual([...new Set(names)], names)
  })
})
