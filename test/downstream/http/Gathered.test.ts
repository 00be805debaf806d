import { assert, describe, it } from "@effect/vitest"
import { Gathered } from "../../../src/downstream/http/Gathered.ts"
import { runs } from "../../support/Runs.ts"

const stepsOf = (gathered: Gathered) => {
  const steps = gathered.whole()
  for (let count = 1; ; count++) {
    const { done, value } = steps.next()
    if (done === true) return { blocks: count, whole: value }
  }
}

const bytes = Uint8Array.from({ length: runs(3_000_000, 300_000) }, (_, index) => index * 7)

/** The bytes in parts of these sizes, again and again; with memory of their own, or cut out of one piece. */
const gatheredBy = (sizes: ReadonlyArray<number>, own: boolean) => {
  const gathered = new Gathered()
  for (let at = 0, next = 0; at < bytes.length; next++) {
    const end = Math.min(bytes.length, at + (sizes[next % sizes.length] ?? 1))
    gathered.add(own ? bytes.slice(at, end) : bytes.subarray(at, end))
    at = end
  }
  return gathered
}

describe("Bytes that come in parts", () => {
  it("are the same in the end, in few blocks, whatever the parts' size", () => {
    for (const sizes of [
      [1],
      [2],
      [3, 0, 1],
      [7],
      [1_000],
      [65_535],
      [65_536],
      [1, 65_536],
      [200_000, 1],
      [4_000_000],
    ]) {
      for (const own of [true, false]) {
        const gathered = gatheredBy(sizes, own)
        assert.strictEqual(gathered.size, bytes.length)
        const { blocks, whole } = stepsOf(gathered)
        assert.isTrue(Buffer.from(whole).equals(bytes), `${sizes}`)
        // A block for each large part, and one between two of them; else some that grow to 1 MiB.
        assert.isAtMost(blocks, 2 * Math.ceil(bytes.length / 65_536) + 12, `${sizes}`)
      }
    }
  })

  it("may be none", () => {
    assert.strictEqual(stepsOf(new Gathered()).whole.length, 0)
  })
})
