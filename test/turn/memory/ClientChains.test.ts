/**
 * What is remembered of a conversation that its client continues by ids, so that a whole history can go on from there.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Checkpoint } from "../../../src/turn/memory/Checkpoint.ts"
import { checkpointOf } from "../../../src/turn/memory/Checkpoint.ts"
import { planned } from "../../../src/turn/memory/Lineage.ts"
import { digester, lineageFrom } from "../../support/Chain.ts"
import { drawConversation, exchanges } from "../../support/Conversation.ts"
import type { JsonObject } from "../../support/JsonValue.ts"
import { write } from "../../support/JsonValue.ts"
import { runs } from "../../support/Runs.ts"

const idOf = (turn: number) => `resp_${turn}`

const body = (input: ReadonlyArray<JsonObject>, previous?: string) =>
  write({ model: "m", store: false, ...(previous === undefined ? {} : { previous_response_id: previous }), input })

const remembered = (text: string, turn: number, answer: ReadonlyArray<JsonObject>, parent?: Checkpoint | "unknown") =>
  checkpointOf(
    lineageFrom(text),
    idOf(turn),
    answer.map((item) => write(item)),
    digester,
    parent,
  )

const message = (content: string): JsonObject => ({ role: "user", content })
const thought: JsonObject = { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAA" }

describe("a client's own chain", () => {
  let compared = 0
  it.prop(
    "is remembered as if the client had said all of it each time, word by word",
    [exchanges],
    ([drawn]) => {
      const history: Array<JsonObject> = []
      let chain: Checkpoint | undefined
      for (const [turn, { answer, ask }] of drawConversation(drawn).entries()) {
        history.push(...ask)
        const whole = remembered(body(history), turn, answer)
        chain = remembered(body(ask, turn === 0 ? undefined : idOf(turn - 1)), turn, answer, chain)
        if (chain.input !== undefined) {
          compared++
          assert.deepStrictEqual(chain, whole)
        }
        history.push(...answer)
      }
    },
    { arbitrary: { runs: runs(2_000), size: 60, seed: 1 } },
  )

  it("is compared in most turns", () => assert.isAbove(compared, 100))

  const first = remembered(body([message("one")]), 0, [message("answer")])
  for (const [what, text, parent] of [
    ["another parent", body([message("two")], "resp_other"), first],
    ["no parent that is known", body([message("two")], idOf(0)), undefined],
    ["a parent of which nothing is known", body([message("two")], idOf(0)), { ...first, input: undefined }],
    ["more said than it tells", body([message("two")], idOf(0)), "unknown" as const],
    ["news that end in reasoning", body([message("two"), thought], idOf(0)), first],
    [
      "no news, and a parent that ends in reasoning",
      body([], idOf(0)),
      { ...first, output: remembered(body([]), 0, [thought]).output },
    ],
    ["an input that is neither list nor text", `{"model":"m","previous_response_id":"resp_0","input":7}`, first],
  ] as const) {
    it(`with ${what} is remembered by its id only`, () => {
      const { input, responseId } = remembered(text, 1, [message("answer")], parent)
      assert.deepStrictEqual([input, responseId], [undefined, idOf(1)])
    })
  }

  for (const [count, isRemembered] of [
    [1, true],
    [100, true],
    [350, true],
    [600, false],
    [5_000, false],
  ] as const) {
    it(`with ${count} new items is remembered ${isRemembered ? "as a whole" : "by its id only"} once it is planned`, () => {
      const news = Array.from({ length: count }, (_, index) => message(`news ${index}`))
      const lineage = lineageFrom(body(news, idOf(0)))
      const kept = planned(lineage)
      assert.isAtMost(kept.items.length, 512)
      const next = checkpointOf(kept, idOf(1), [], digester, first)
      const whole = remembered(body([message("one"), message("answer"), ...news]), 1, [])
      assert.deepStrictEqual(next, isRemembered ? whole : { ...whole, input: undefined })
    })
  }
})
