import { assert, describe, it } from "@effect/vitest"
import { isAnother } from "../../src/cli/Signals.ts"

describe("A signal behind another one", () => {
  for (const [after, isHandedOn, another] of [
    [0, true, false],
    [5, true, false],
    [199, true, false],
    [200, true, true],
    [5_000, true, true],
    [0, false, true],
    [199, false, true],
    [5_000, false, true],
  ] as const) {
    it(`is ${another ? "meant" : "the same once more"} after ${after} ms, handed on: ${isHandedOn}`, () => {
      assert.strictEqual(isAnother(after, isHandedOn), another)
    })
  }
})
