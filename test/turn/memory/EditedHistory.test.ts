import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import { make as makeBodyHeads } from "../../../src/turn/memory/BodyHeads.ts"
import { lineageOf } from "../../../src/turn/memory/Lineage.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import { converse, digester, inputOf } from "../../support/Chain.ts"
import { choicesFrom, drawConversation, exchanges, seeds } from "../../support/Conversation.ts"
import { edited } from "../../support/Edit.ts"
import { type Json, Num, write } from "../../support/JsonValue.ts"
import { styles } from "../../support/ReplayStyle.ts"
import { runs } from "../../support/Runs.ts"

/** No ids of a response, of every type. */
const anchors: ReadonlyArray<Json> = [new Num("0"), new Num("1"), false, true, [], ["resp_0"], {}, { id: "resp_0" }]

/** A bare number or word, which the upstream refuses as an item. */
const bare = (choices: ReturnType<typeof choicesFrom>) => choices.of(["1", "12", "-0", "1.5", "1e4", "true", "null"])

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
    { arbitrary: { runs: histories, size: 60, seed: 1 }, timeout: 300_000 },
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

  it.prop(
    "is judged by the upstream when a previous response is named that is no id",
    [exchanges, seeds, seeds],
    ([drawn, forStyle, forAnchor]) => {
      const conversation = drawConversation(drawn)
      const style = styles[forStyle % styles.length] ?? assert.fail("there are styles")
      const choices = choicesFrom(forAnchor)
      const when = choices.below(conversation.length)
      const anchor = choices.of(anchors)
      const results = converse(
        conversation,
        style,
        1,
        (input) => input,
        (turn) => (turn === when ? { previous_response_id: anchor } : {}),
      )
      for (const { frame, plan, turn } of results) {
        if (turn === when) assert.include(frame, `"previous_response_id":${write(anchor)}`)
        // Nor is it known what became of that turn.
        if (turn === when || turn === when + 1) assert.strictEqual(plan._tag, "Full")
      }
    },
    { arbitrary: { runs: 300, size: 60, seed: 3 }, timeout: 120_000 },
  )

  it.prop(
    "is read the same behind a known head, whatever its last item was and became",
    [seeds],
    ([seed]) => {
      const choices = choicesFrom(seed)
      const before = Array.from({ length: 1 + choices.below(3) }, () => bare(choices))
      const grown = `${before.at(-1) ?? ""}${choices.of(["", "2", ".5", "0", "e1", "2e1"])}`
      const after = [...before.slice(0, -1), grown, ...Array.from({ length: choices.below(3) }, () => bare(choices))]
      const heads = makeBodyHeads(new Uint8Array(16), 0)
      const bytesOf = (items: ReadonlyArray<string>) =>
        new TextEncoder().encode(`{"model":"m","input":[${items.join()}]}`)
      const first = Result.getOrThrow(parseRequestBody(bytesOf(before)))
      heads.record(1, "line", first, lineageOf(first, digester).prefixes.at(-1) ?? assert.fail("there is one"))
      const bytes = bytesOf(after)
      const whole = Result.map(parseRequestBody(bytes), (body) => lineageOf(body, digester).prefixes.at(-1))
      const known = heads.find("line", bytes)
      const behind = Result.map(parseRequestBody(bytes, known?.head), (body) =>
        lineageOf(body, digester, known?.prefix).prefixes.at(-1),
      )
      assert.deepStrictEqual(behind, whole)
    },
    { arbitrary: { runs: 1000, seed: 4 } },
  )
})
