import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../src/simulator/JsonText.ts"
import type { Script } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { outputOf, way } from "../support/Ask.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"

/** Compacts where the request asks the server to, or an item does. */
const script: Script = ({ context, index, request }) => ({
  output: [
    ...("context_management" in request || context.at(-1)?.["type"] === "compaction_trigger"
      ? [{ _tag: "Compaction" as const }]
      : []),
    { _tag: "Message", text: `Answer ${index}` },
  ],
})

const proxied = TestProxy.layer({ simulator: { script } })

const management = { context_management: [{ type: "compaction", compact_threshold: 1000 }] }

/** Sends a turn; the answer is right if the model saw what the client sent. */
const turn = Effect.fnUntraced(function* (input: ReadonlyArray<JsonObject>, members: JsonObject = {}) {
  const answer = yield* post({ store: false, input: [...input], ...members })
  assert.strictEqual(answer.status, 200, answer.text)
  const { turns } = yield* Simulator
  assert.deepStrictEqual(
    turns.at(-1)?.context.map((item): unknown => JSON.parse(item)),
    [...input],
  )
  return {
    way: way(answer, "connection", "input").join(" "),
    output: outputOf(answer),
  }
})

describe("A history", () => {
  it.effect("that comes back compacted from /responses/compact begins a new chain, which is continued", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* turn([user("One")])
      const second = [user("One"), ...first.output, user("Two")]
      const { output } = yield* turn(second)
      const compacted = yield* post({ input: [...second, ...output] }, { path: "/responses/compact" })
      assert.strictEqual(compacted.status, 200, compacted.text)
      const window = compacted.json?.["output"]
      if (!isArray(window)) throw new Error("no window")
      const items = window.filter(isObject)
      assert.strictEqual(items.at(-1)?.["type"], "compaction")
      const upgrades = simulator.counters.upgrades

      const third = [...items, user("Three")]
      const after = yield* turn(third)
      assert.match(after.way, / full$/)
      const fourth = yield* turn([...third, ...after.output, user("Four")])
      assert.strictEqual(fourth.way, "reused suffix")
      // Nor was the chain before it lost by that.
      assert.strictEqual((yield* turn([...second, ...output, user("Or else")])).way, "reused suffix")
      assert.isAtMost(simulator.counters.upgrades, upgrades + 1)
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("that the server compacts keeps its chain, as long as the client sends all of it", () =>
    Effect.gen(function* () {
      let history: ReadonlyArray<JsonObject> = [user("One")]
      const ways: Array<string> = []
      for (const next of ["Two", "Three", "Four"]) {
        const { output, way } = yield* turn(history, management)
        ways.push(way)
        assert.strictEqual(output[0]?.["type"], "compaction")
        history = [...history, ...output, user(next)]
      }
      assert.deepStrictEqual(ways, ["new full", "reused suffix", "reused suffix"])
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("that the client cuts before the compaction begins a new chain, which is continued", () =>
    Effect.gen(function* () {
      const first = yield* turn([user("One")], management)
      const cut = [...first.output, user("Two")]
      const second = yield* turn(cut, management)
      assert.match(second.way, / full$/)
      const third = yield* turn([...cut, ...second.output, user("Three")], management)
      assert.strictEqual(third.way, "reused suffix")
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("that ends in a compaction_trigger is continued with it, and begins anew from what came of it", () =>
    Effect.gen(function* () {
      const first = yield* turn([user("One")])
      const asked = yield* turn([user("One"), ...first.output, { type: "compaction_trigger" }])
      assert.strictEqual(asked.way, "reused suffix")
      assert.strictEqual(asked.output[0]?.["type"], "compaction")
      const anew = [...asked.output.slice(0, 1), user("Two")]
      const second = yield* turn(anew)
      assert.match(second.way, / full$/)
      assert.strictEqual((yield* turn([...anew, ...second.output, user("Three")])).way, "reused suffix")
    }).pipe(Effect.provide(proxied)),
  )
})
