import { describe, it } from "@effect/vitest"
import { schedules, thorough, verify } from "../../src/testing/Testing.ts"
import { subject } from "../support/FifoPool.ts"
import { runs } from "../support/Runs.ts"

describe("a pool that is not respool's", () => {
  it.effect.prop(
    "is checked by the same kit, with the same invariants and the same model under its own rules",
    [schedules({ keys: ["a1", "a2"], caps: ["total"], full: "wait" })],
    ([schedule]) => verify(subject, schedule),
    { arbitrary: thorough(runs(2_000)) },
  )
})
