import { assert, describe, it } from "@effect/vitest"
import { Namings } from "../../../src/turn/attempt/Naming.ts"

const clocked = () => {
  const time = { now: 0 }
  return { time, namings: new Namings(() => time.now) }
}

describe("Namings", () => {
  it("knows of each affinity only what its own turns have shown", () => {
    const { namings } = clocked()
    namings.of("a").sawResponseAgain()
    namings.of("b").sawItemAgain()
    namings.of("c").sawLate(7)
    const known = ["a", "b", "c", "d"].map((affinity) => {
      const { itemsRepeat, late, responsesRepeat } = namings.of(affinity)
      return [responsesRepeat, itemsRepeat, late]
    })
    assert.deepStrictEqual(known, [
      [true, false, undefined],
      [false, true, undefined],
      [false, false, 7],
      [false, false, undefined],
    ])
  })

  it("lets an upstream that was mended be continued again after an hour", () => {
    const { namings, time } = clocked()
    namings.of("a").sawResponseAgain()
    time.now = 60 * 60 * 1000 - 1
    assert.isTrue(namings.of("a").responsesRepeat)
    time.now++
    assert.isFalse(namings.of("a").responsesRepeat)
  })

  it("forgets the oldest of more than 1,024 affinities", () => {
    const { namings } = clocked()
    for (let at = 0; at <= 1024; at++) namings.of(`${at}`).sawItemAgain()
    assert.isFalse(namings.of("0").itemsRepeat)
    assert.isTrue(namings.of("1").itemsRepeat)
    assert.isTrue(namings.of("1024").itemsRepeat)
  })
})
