import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { ofThePool, ofTheWhole, ofTurns } from "./Mutants.ts"
import { planted } from "./Plant.ts"

const mutants = [...ofTurns, ...ofThePool, ...ofTheWhole]

const place = (file: string) => new URL(`../../${file}`, import.meta.url)

describe("the mutants", () => {
  it.each(mutants)("$name can be planted in $file, and changes it", (mutant) => {
    const source = readFileSync(place(mutant.file), "utf8")
    const text = planted(mutant, source)
    assert.isDefined(text, "its text is not there once any more: write it anew, so that the tests still notice it")
    assert.notStrictEqual(text, source)
  })

  it("have names of their own", () => {
    const names = mutants.map(({ name }) => name)
    assert.deepStrictEqual([...new Set(names)], names)
  })

  it.each(ofTheWhole)("$name is noticed by tests that are there", ({ noticedBy }) => {
    assert.isNotEmpty(noticedBy)
    for (const file of noticedBy) assert.isTrue(existsSync(place(file)), file)
  })
})
