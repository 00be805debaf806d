import { assert, describe, it } from "@effect/vitest"
import { converse, headsFound } from "../../support/Chain.ts"
import { drawConversation, type Exchange, exchanges, seeds } from "../../support/Conversation.ts"
import { type JsonObject, write } from "../../support/JsonValue.ts"
import { type ReplayStyle, styles } from "../../support/ReplayStyle.ts"
import { sameContext } from "../../support/SameContext.ts"
import { runs } from "../../support/Runs.ts"

const shown = ["id", "encrypted_content", "summary", "content"]

/** Reasoning that shows nothing could be anybody's. */
const showsSomething = (item: JsonObject) =>
  item["type"] !== "reasoning" || shown.some((name) => !["null", "[]"].includes(write(item[name] ?? null)))

const inTheModelsName = ({ role, type }: JsonObject) =>
  role === "assistant" || ["item_reference", "web_search_call", "compaction"].includes(String(type))

/** Whether the client says of the last answer what the model said, and adds nothing in the model's name. */
const isHonest = (conversation: ReadonlyArray<Exchange>, turn: number, style: ReplayStyle, leftOut: boolean) => {
  const answer = conversation[turn - 1]?.answer ?? []
  const replayed = answer.flatMap((item, index) => style.replay(item, { turn: turn - 1, index, now: turn }))
  const known = new Map(answer.map((item) => [String(item["id"]), item]))
  return (
    sameContext(answer, replayed, known, leftOut) &&
    replayed.every(showsSomething) &&
    conversation[turn]?.ask.every((item) => !inTheModelsName(item))
  )
}

describe("the law: the upstream's context is the client's", () => {
  // Other tests share the count.
  const before = headsFound
  const full = 670
  assert.isAtLeast(styles.length * full, 10_000)

  for (const [seed, style] of styles.entries()) {
    let continued = 0
    let turns = 0
    it.prop(
      `holds for ${style.name}, and every turn after the first is continued`,
      [exchanges, seeds],
      ([drawn, spelling]) => {
        const conversation = drawConversation(drawn)
        for (const { plan, policy, turn } of converse(conversation, style, spelling)) {
          if (turn === 0) {
            assert.strictEqual(plan.reason, "no_checkpoint")
            continue
          }
          turns++
          if (!isHonest(conversation, turn, style, policy === "lenient")) continue
          continued++
          assert.strictEqual(
            plan.reason,
            "continued",
            `${policy}, turn ${turn}: ${write(conversation.map(({ ask, answer }) => [...ask, ...answer]))}`,
          )
        }
      },
      { arbitrary: { runs: runs(full), size: 80, seed }, timeout: 120_000 },
    )

    it(`continues most turns of ${style.name} at all`, () => {
      // A strict turn is not continued without its reasoning, nor one in which the client speaks for the model.
      assert.isAbove(continued, turns / 3)
    })
  }

  it("was held for bodies whose head was known, too", () => {
    assert.isAbove(headsFound - before, runs(full))
  })
})
