import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import type { Checkpoint } from "../../../src/turn/memory/Checkpoint.ts"
import type { Lineage, Prefix } from "../../../src/turn/memory/Lineage.ts"
import type { RecallKey } from "../../../src/turn/memory/TurnMemory.ts"
import { noTrail } from "../../../src/turn/memory/Trail.ts"
import { TurnMemory } from "../../../src/turn/memory/TurnMemory.ts"
import { choicesFrom, seeds } from "../../support/Conversation.ts"
import { runs } from "../../support/Runs.ts"

/** What is done to a chain: it completes a turn, of an affinity, a session or none, a prefix and a response; or is forgotten. */
const stepOf = (drawn: number) => {
  const from = choicesFrom(drawn)
  return [from.below(4), from.below(2), from.below(3), from.below(4), from.below(4), from.below(6)] as const
}

const steps = Arbitrary.array(Arbitrary.map(seeds, stepOf), { maxLength: 40 })

const keyOf = (affinity: number, session: number): RecallKey => ({
  affinity: `affinity ${affinity}`,
  session: session === 0 ? undefined : `session ${session}`,
})

const prefixOf = (at: number): Prefix => ({
  digest: `prefix ${at}`,
  count: at,
  end: at,
  reasoning: undefined,
  opening: `opening ${at >> 1}`,
  trail: noTrail,
})

const checkpointOf = (prefix: number, response: number): Checkpoint => ({
  responseId: `resp_${response}`,
  // One in four can be found by its response alone.
  input: prefix === 0 ? undefined : prefixOf(prefix),
  output: [],
  members: "",
})

/** A request that goes on from each prefix, with one item of the user's behind it. */
const lineage: Lineage = {
  chains: false,
  anchor: undefined,
  comparable: true,
  costly: false,
  items: [1, 2, 3].map((form) => ({
    kind: "message",
    name: "user_message",
    fromModel: false,
    form: `${form}`,
    id: undefined,
    message: undefined,
    reasoning: undefined,
  })),
  count: 3,
  lastSaid: -1,
  firstItem: 0,
  prefixes: [{ ...prefixOf(0), digest: "" }, ...[1, 2, 3].map(prefixOf)],
  conversation: false,
  members: "",
}

describe("What the chains remember", () => {
  it.effect.prop(
    "is found as a list that is searched would find it, after any steps",
    [steps],
    ([done]) =>
      Effect.gen(function* () {
        const memory = yield* TurnMemory
        const known = new Map<number, { readonly key: RecallKey; readonly checkpoint: Checkpoint }>()
        const latest = new Map<string, number>()
        for (const [chain, affinity, session, prefix, response, forgets] of done) {
          if (forgets === 0) {
            memory.forget(chain)
            known.delete(chain)
          } else {
            const [key, checkpoint] = [keyOf(affinity, session), checkpointOf(prefix, response)]
            memory.record(chain, key, checkpoint)
            known.set(chain, { key, checkpoint })
            latest.set(`${key.affinity} ${checkpoint.responseId}`, chain)
          }
          assert.strictEqual(memory.size(), known.size)
          for (const affinity of [0, 1]) {
            for (const response of [0, 1, 2, 3]) {
              const name = `${keyOf(affinity, 0).affinity} resp_${response}`
              const holder = latest.get(name)
              const held = holder === undefined ? undefined : known.get(holder)
              const isHeld = held !== undefined && `${held.key.affinity} ${held.checkpoint.responseId}` === name
              assert.strictEqual(
                memory.holderOf(keyOf(affinity, 0).affinity, `resp_${response}`),
                isHeld ? holder : undefined,
              )
            }
            for (const session of [0, 1, 2]) {
              const key = keyOf(affinity, session)
              const found = [...known].filter(
                ([, { checkpoint, key: of }]) =>
                  checkpoint.input !== undefined &&
                  of.affinity === key.affinity &&
                  (session === 0 || of.session === key.session),
              )
              const recalled = memory.recall(key, lineage, "strict")
              assert.deepStrictEqual([...recalled].sort(), found.map(([chain]) => chain).sort())
              const counts = recalled.map((chain) => known.get(chain)?.checkpoint.input?.count ?? 0)
              assert.deepStrictEqual(
                counts,
                counts.toSorted((a, b) => b - a),
                "the longest come first",
              )
            }
          }
        }
      }).pipe(Effect.provide(TurnMemory.layer, { local: true })),
    { arbitrary: { runs: runs(2_000, 100) } },
  )
})
