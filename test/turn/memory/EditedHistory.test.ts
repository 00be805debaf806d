import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { converse, inputOf } from "../../support/Chain.ts"
import { choicesFrom, drawConversation, exchanges, seeds } from "../../support/Conversation.ts"
import { edited } from "../../support/Edit.ts"
import { write } from "../../support/JsonValue.ts"
import { styles } from "../../support/ReplayStyle.ts"
import { runs } from "../../support/Runs.ts"

describe("a history that was edited", () => {
  const histories = runs(6000)
  let edits = 0
  let resent = 0

  // `converse` holds the law on every turn, the edited one and those after it; this only says what was tried.
  it.prop(
    "is never sent as a suffix that makes another context",
    [exchanges, seeds, seeds, seeds],
    ([drawn, forStyle, forSpelling, forEdit]) => {
      const conversation = drawConversation(drawn)
      const style = styles[forStyle % styles.length] ?? assert.fail("there are styles")
      const choices = choicesFrom(forEdit)
      const when = 1 + choices.below(conversation.length - 1)
      const honest = write(inputOf(conversation, when, style))
      const results = converse(conversation, style, forSpelling, (input, turn) =>
        turn === when || (turn > when && forEdit % 2 === 0) ? edited(input, choices) : input,
      )
      for (const { input, plan, turn } of results) {
        if (turn !== when || write(input) === honest) continue
        edits++
        if (plan._tag === "Full") resent++
      }
    },
    { arbitrary: { runs: histories, size: 60, seed: 1 }, timeout: 120_000 },
  )

  it("was one in most of those cases, and most were sent in full", () => {
    assert.isAbove(edits, histories)
    assert.isAbove(resent, edits / 2)
  })

  it.prop(
    "holds the law as well when a client goes back to an earlier point and asks something else",
    [Arbitrary.array(seeds, { minLength: 1, maxLength: 1 }), exchanges, exchanges, seeds],
    ([[at = 0], one, two, forStyle]) => {
      const first = drawConversation(one)
      const style = styles[forStyle % styles.length] ?? assert.fail("there are styles")
      const from = at % first.length
      const branch = drawConversation([...one.slice(0, from), ...two])
      // The chain knows the first conversation to its end; the client goes on with the branch.
      const input = inputOf(branch, from, style)
      converse(first, style, at, (own, turn) => (turn === first.length - 1 ? input : own))
    },
    { arbitrary: { runs: runs(600), size: 60, seed: 2 }, timeout: 120_000 },
  )
})
